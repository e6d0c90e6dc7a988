package backend

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// PanicError is a panic that was recovered: code of a plugin, module, service
// or hook panicked, and the rest of the backend went on.
type PanicError struct {
	Where  string // what ran, such as "init of plugin \"catalog\""
	Plugin string // id of the plugin, empty outside of plugins
	Value  any    // what was panicked with
	Stack  []byte // of the goroutine that panicked
	Source string // where it panicked, as "dir/file.go:line"
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in %s at %s: %v", e.Where, e.Source, e.Value)
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errExited is the failure of a function that ended its goroutine.
var errExited = errors.New("the function ended its goroutine with runtime.Goexit, as t.FailNow does")

// protect runs fn and turns a panic into a *PanicError, which it also passes
// to caught.
func protect(where, plugin string, caught func(*PanicError), fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{Where: where, Plugin: plugin, Value: v, Stack: debug.Stack(), Source: panicSource()}
			if caught != nil {
				caught(p)
			}
			err = p
		}
	}()
	return fn()
}

// panicSource returns where the panic that is being recovered began: the first
// frame below the runtime's own, and below the getters of this package, whose
// panics are about their caller.
func panicSource() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic" || f.Function == "runtime.sigpanic":
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime.") && !isGetter(f.Function):
			return shortFile(f.File) + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return "unknown position"
		}
	}
}

// isGetter reports whether a function is one through which declare functions
// enter this package.
func isGetter(function string) bool {
	name, ok := strings.CutPrefix(function, "github.com/flytower/flytower/backend.")
	if !ok {
		return false
	}
	for _, entry := range []string{"(*declaration).", "(*value[", "(*values[", "extraGetter[", "needService", "needPoint", "addOffer"} {
		if strings.HasPrefix(name, entry) {
			return true
		}
	}
	return strings.Contains(name, "ServiceRef[") || strings.Contains(name, "ExtensionPoint[")
}
