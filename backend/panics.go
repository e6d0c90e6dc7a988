package backend

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// PanicError is a panic that was recovered: code of a plugin, module, service
// or hook panicked, and the rest of the backend went on.
type PanicError struct {
	Where  string // what ran, such as "init of plugin \"catalog\""
	Plugin string // id of the plugin, empty outside of plugins
	Value  any    // what was panicked with
	Stack  []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in %s: %v", e.Where, e.Value) }

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errExited is the failure of a function that ended its goroutine.
var errExited = errors.New("the function ended its goroutine with runtime.Goexit, as t.FailNow does")

// protect runs fn and turns a panic into a *PanicError, which it passes to
// caught. If fn ends the goroutine, the deferred exited is told so, because
// there is no return to the caller.
func protect(where, plugin string, caught func(*PanicError), fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{Where: where, Plugin: plugin, Value: v, Stack: debug.Stack()}
			if caught != nil {
				caught(p)
			}
			err = p
		}
	}()
	return fn()
}
