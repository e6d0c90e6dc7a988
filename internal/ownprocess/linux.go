//go:build linux

package ownprocess

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Supported reports nil where processes of their own work.
func Supported() error { return nil }

// self is the program that runs, even if its file was replaced.
const self = "/proc/self/exe"

// system is the part of a process that only one system knows.
type system struct {
	cmd *exec.Cmd
	pid int
}

// start starts the process, and a goroutine that waits for its end.
func (p *process) start() error {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	own, theirs := os.NewFile(uintptr(ends[0]), "backend"), os.NewFile(uintptr(ends[1]), "errand")
	defer theirs.Close()
	defer own.Close()
	conn, err := net.FileConn(own)
	if err != nil {
		return err
	}
	p.channel, p.exited, p.said.tell = &channel{conn: conn}, make(chan struct{}), p.Said
	r := restrictions{Limits: p.Limits, Confine: p.Confine, Writable: []string{p.Dir}, Readable: p.Readable}
	if r.Limits.Processes > 0 && p.User == nil {
		r.Limits.Processes += tasksOfUser(os.Getuid())
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(self, os.Args[1:]...)
	p.cmd.Args[0] = os.Args[0]
	p.cmd.Dir, p.cmd.ExtraFiles = p.Dir, []*os.File{theirs}
	p.cmd.Env = append(p.variables(), marker+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = &p.said, &p.said, time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.User != nil {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.User.UID, Gid: p.User.GID, Groups: []uint32{}}
	}
	started := make(chan error, 1)
	go func() {
		// The system takes the end of this thread for that of the backend.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		if p.User != nil && errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; the user %d has to be able to enter %s and the folders around it, and to execute the program", err, p.User.UID, p.Dir)
		}
		if err == nil {
			p.pid = p.cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		awaitExit(p.pid)
		p.signal() // what is left of its group, before its number is free again
		_ = p.cmd.Wait()
		// What it wrote last is still to be read. Who has left its group may hold
		// the other end open.
		_ = conn.SetDeadline(time.Now().Add(exitTime))
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

// awaitExit waits for the end of a process and leaves it to be waited for.
func awaitExit(pid int) {
	const exited, leave = 4, 0x1000000 // WEXITED, WNOWAIT
	var info [128]byte                 // siginfo_t
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, 1 /* P_PID */, uintptr(pid), uintptr(unsafe.Pointer(&info)), exited|leave, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

func (p *process) signal() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }

// how is how a process ended.
type how struct {
	code   int
	signal string
	cpu    bool
	memory bool
}

func (p *process) how() (h how) {
	state := p.cmd.ProcessState
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok {
		return how{code: state.ExitCode()}
	}
	h.code = status.ExitStatus()
	if used, ok := state.SysUsage().(*syscall.Rusage); ok && h.code == 2 { // the code of a crash in the runtime of Go
		h.memory = p.Limits.Memory > 0 && used.Maxrss*1024 >= p.Limits.Memory*3/4
	}
	if status.Signaled() {
		h.signal = status.Signal().String()
		h.cpu = status.Signal() == syscall.SIGXCPU ||
			status.Signal() == syscall.SIGKILL && p.Limits.CPUTime > 0 && state.UserTime()+state.SystemTime() >= p.Limits.CPUTime*3/4 // the system counts in ticks
	}
	return h
}

// tasksOfUser counts the processes and threads of a user.
func tasksOfUser(uid int) (n int64) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != uid && stat.Uid != 0 {
			continue // those that hide belong to root here
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err != nil {
			continue
		}
		owner, threads := -1, int64(0)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			switch {
			case len(fields) < 2:
			case fields[0] == "Uid:":
				owner, _ = strconv.Atoi(fields[1])
			case fields[0] == "Threads:":
				threads, _ = strconv.ParseInt(fields[1], 10, 64)
			}
		}
		if owner == uid {
			n += threads
		}
	}
	return n
}

// allocated is what a file takes on disk, in bytes.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}

const (
	prSetDumpable    = 4
	prSetNoNewPrivs  = 38
	rlimitProcesses  = 6
	inheritedChannel = 3
)

// Hide keeps other processes of the same user out of the memory, the open
// files and the environment of this one.
func Hide() error { return hide() }

func hide() error {
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return fmt.Errorf("hide the process from others: %w", errno)
	}
	return nil
}

// inherited is the end of the socket pair that the process was given.
func inherited() (net.Conn, error) {
	file := os.NewFile(inheritedChannel, "backend")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("%s is not for people: unset it: %w", marker, err)
	}
	return conn, nil
}

func killOwnGroup() { _ = syscall.Kill(0, syscall.SIGKILL) }

// restrict puts restrictions on this process. It executes the program again,
// and returns only if it fails.
func restrict(r restrictions) error {
	runtime.LockOSThread() // some of it holds for a thread, and the execution makes that the process
	set := func(what string, which int, n int64) error {
		if n <= 0 {
			return nil
		}
		limit := syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}
		var now syscall.Rlimit
		if err := syscall.Getrlimit(which, &now); err == nil && now.Max < limit.Max {
			limit = syscall.Rlimit{Cur: now.Max, Max: now.Max}
		}
		if err := syscall.Setrlimit(which, &limit); err != nil {
			return fmt.Errorf("limit the %s: %w", what, err)
		}
		return nil
	}
	core := syscall.Rlimit{}
	err := errors.Join(
		set("memory", syscall.RLIMIT_DATA, r.Limits.Memory),
		set("CPU time", syscall.RLIMIT_CPU, int64((r.Limits.CPUTime+time.Second-1)/time.Second)),
		set("size of files", syscall.RLIMIT_FSIZE, r.Limits.FileSize),
		set("open files", syscall.RLIMIT_NOFILE, r.Limits.OpenFiles),
		set("processes", rlimitProcesses, r.Limits.Processes),
		syscall.Setrlimit(syscall.RLIMIT_CORE, &core),
	)
	if err != nil {
		return err
	}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("give up new privileges: %w", errno)
	}
	if r.Confine {
		if err := confine(r.Writable, r.Readable); err != nil {
			return err
		}
	}
	r.Done = true
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.Setenv(marker, string(text)); err != nil {
		return err
	}
	return fmt.Errorf("execute the program again: %w", syscall.Exec(self, os.Args, os.Environ()))
}
