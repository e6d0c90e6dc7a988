//go:build !linux

package ownprocess

import (
	"errors"
	"io/fs"
	"net"
	"runtime"
)

// Supported reports nil where processes of their own work.
func Supported() error {
	return errors.New("processes with limits of their own work on Linux only, not on " + runtime.GOOS)
}

// Landlock returns the version of Landlock that the kernel has; 0 is none.
func Landlock() int { return 0 }

// Hide does nothing here.
func Hide() error { return nil }

type system struct{}

type how struct {
	code   int
	signal string
	cpu    bool
	memory bool
}

func (p *process) start() error        { return Supported() }
func (p *process) signal()             {}
func (p *process) how() how            { return how{} }
func allocated(info fs.FileInfo) int64 { return info.Size() }
func hide() error                      { return nil }
func inherited() (net.Conn, error)     { return nil, Supported() }
func killOwnGroup()                    {}
func restrict(restrictions) error      { return Supported() }
