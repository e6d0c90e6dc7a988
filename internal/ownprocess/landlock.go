//go:build linux

package ownprocess

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// The numbers of Landlock are those of linux/landlock.h. They are the same on
// all architectures.
const (
	sysCreateRuleset = 444
	sysAddRule       = 445
	sysRestrictSelf  = 446

	createVersion   = 1
	rulePathBeneath = 1

	mayExecute  = 1 << 0
	mayReadFile = 1 << 2
	mayReadDir  = 1 << 3
	// Rights that came with later versions.
	mayTruncate = 1 << 14
	mayIoctl    = 1 << 15

	scopeAbstractSockets = 1 << 0
	scopeSignals         = 1 << 1

	openPath = 0x200000 // O_PATH
)

// rights are all rights on files, by version.
func rights(version int) uint64 {
	all := uint64(1<<13 - 1)
	if version >= 2 {
		all |= 1 << 13
	}
	if version >= 3 {
		all |= mayTruncate
	}
	if version >= 5 {
		all |= mayIoctl
	}
	return all
}

// Landlock returns the version of Landlock that the kernel has; 0 is none.
func Landlock() int {
	version, _, errno := syscall.RawSyscall(sysCreateRuleset, 0, 0, createVersion)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// readable is what programs need to run, and to reach hosts.
var readable = []string{
	"/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/nix/store",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf",
	"/etc/localtime", "/etc/passwd", "/etc/group", "/etc/mime.types", "/etc/gitconfig", "/etc/ld.so.cache",
	"/dev/urandom", "/dev/random", "/dev/zero",
}

// confine lets this thread, and what it executes, write only below some
// folders, and read only those and some others. It cannot look into processes
// outside, or signal them, either. Without Landlock it does nothing.
func confine(write, read []string) error {
	version := Landlock()
	if version == 0 {
		return nil
	}
	all := rights(version)
	attr := struct{ files, net, scoped uint64 }{files: all}
	size := uintptr(8)
	if version >= 4 {
		size = 16
	}
	if version >= 6 {
		size, attr.scoped = 24, scopeSignals|scopeAbstractSockets
	}
	set, _, errno := syscall.RawSyscall(sysCreateRuleset, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("confine the process: %w", errno)
	}
	ruleset := os.NewFile(set, "landlock")
	defer ruleset.Close()
	allow := func(path string, what uint64) error {
		fd, err := syscall.Open(path, openPath|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer syscall.Close(fd) //nolint:errcheck // nothing was written
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			return err
		}
		if stat.Mode&syscall.S_IFMT != syscall.S_IFDIR { // of a file, only rights on files may be named
			what &= mayExecute | 1<<1 | mayReadFile | mayTruncate | mayIoctl
		}
		var rule [12]byte // packed: rights, descriptor
		*(*uint64)(unsafe.Pointer(&rule[0])) = what & all
		*(*int32)(unsafe.Pointer(&rule[8])) = int32(fd) //nolint:gosec // a descriptor is small
		if _, _, errno := syscall.RawSyscall6(sysAddRule, ruleset.Fd(), rulePathBeneath, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	const see = mayExecute | mayReadFile | mayReadDir
	for _, path := range append(append([]string{self}, readable...), read...) {
		if err := allow(path, see); err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("let the process read %s: %w", path, err)
		}
	}
	for _, path := range append([]string{"/dev/null"}, write...) {
		if err := allow(path, all); err != nil {
			return fmt.Errorf("let the process write to %s: %w", path, err)
		}
	}
	if _, _, errno := syscall.RawSyscall(sysRestrictSelf, ruleset.Fd(), 0, 0); errno != 0 {
		return fmt.Errorf("confine the process: %w", errno)
	}
	return nil
}
