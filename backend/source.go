package backend

import (
	"runtime"
	"strconv"
	"strings"
)

// callerPC returns the program counter of the caller of the exported function
// that calls it, skip frames further up. Resolving it to a file and line is
// left to [sourceOf], since most positions are never shown.
func callerPC(skip int) uintptr {
	var pc [1]uintptr
	runtime.Callers(3+skip, pc[:])
	return pc[0]
}

// sourceOf renders a position as "dir/file.go:line".
func sourceOf(pc uintptr) string {
	if pc == 0 {
		return "unknown position"
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	if frame.File == "" {
		return "unknown position"
	}
	return shortFile(frame.File) + ":" + strconv.Itoa(frame.Line)
}

// shortFile keeps the last two elements of a path: enough to find the file,
// and the same on every machine.
func shortFile(file string) string {
	file = strings.ReplaceAll(file, `\`, "/")
	i := strings.LastIndexByte(file, '/')
	if i < 0 {
		return file
	}
	if j := strings.LastIndexByte(file[:i], '/'); j >= 0 {
		return file[j+1:]
	}
	return strings.TrimPrefix(file, "/")
}
