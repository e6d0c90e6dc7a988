package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// SignalError says that a second signal ended a stop at once.
type SignalError struct{ Signal os.Signal }

func (e *SignalError) Error() string {
	return fmt.Sprintf("ended at once by a second signal (%s)", e.Signal)
}

// Run starts the backend, waits for SIGINT, SIGTERM or the end of ctx, and
// stops it. A signal during the start gives the start up. A second signal
// makes Run return at once, while things may still be stopping. Pass the error
// to [ExitCode].
func (b *Backend) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	return b.runUntil(ctx, signals)
}

func (b *Backend) runUntil(ctx context.Context, signals <-chan os.Signal) error {
	startCtx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	started := make(chan error, 1)
	go func() { started <- b.Start(startCtx) }()

	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case s := <-signals:
		cause := fmt.Errorf("received %s", s)
		giveUp(cause)
		select {
		case err := <-started:
			var failed *StartupError
			if errors.As(err, &failed) && failed.Cause == cause {
				return failed.Stop // it was asked for, so it is no failure
			}
			if err != nil {
				return err
			}
		case s := <-signals:
			return &SignalError{s}
		}
		return b.stopUntil(signals)
	}
	select {
	case s := <-signals:
		b.log().Info("stopping", "signal", s.String())
	case <-ctx.Done():
		b.log().Info("stopping", "cause", context.Cause(ctx).Error())
	}
	return b.stopUntil(signals)
}

func (b *Backend) stopUntil(signals <-chan os.Signal) error {
	stopped := make(chan error, 1)
	go func() { stopped <- b.Stop(context.Background()) }()
	select {
	case err := <-stopped:
		return err
	case s := <-signals:
		return &SignalError{s}
	}
}

// ExitCode returns the code with which a process should exit after
// [Backend.Run] returned err: 0 for nil, 1 for a failed start or any other
// error, 2 for invalid wiring, 3 for a stop that was not clean, and 130 or 143
// when a second SIGINT or SIGTERM ended it.
func ExitCode(err error) int {
	var (
		sig     *SignalError
		invalid *ValidationError
		start   *StartupError
		stop    *StopError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &sig):
		if s, ok := sig.Signal.(syscall.Signal); ok {
			return 128 + int(s)
		}
		return 130
	case errors.As(err, &invalid):
		return 2
	case errors.As(err, &start):
		return 1
	case errors.As(err, &stop):
		return 3
	}
	return 1
}
