package ownprocess

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Limits bound a process. Zero is no limit.
type Limits struct {
	// Memory is what a process may have of data, in bytes. Each process of the
	// group has as much.
	Memory int64 `json:"memory,omitempty"`
	// CPUTime is how long a process may compute, rounded up to seconds.
	CPUTime time.Duration `json:"cpuTime,omitempty"`
	// Time is how long it may last.
	Time time.Duration `json:"-"`
	// FileSize is the size of the largest file that it may write, in bytes.
	FileSize int64 `json:"fileSize,omitempty"`
	// OpenFiles is how many files a process may have open.
	OpenFiles int64 `json:"openFiles,omitempty"`
	// Processes is how many processes and threads it may have. The system counts
	// those of a user, and exempts root: without a user of its own, it is that
	// many more than the user has at the start.
	Processes int64 `json:"processes,omitempty"`
	// Disk is what all files in its folder may take, in bytes. It is looked
	// after every second.
	Disk int64 `json:"-"`
}

// maxFiles bounds the files of a process, if Limits.Disk is set.
const maxFiles = 1_000_000

// User is whom a process runs as. Only root can choose.
type User struct{ UID, GID uint32 }

// Work is an errand with all that its process gets.
type Work struct {
	// Plugin does the errand of that name.
	Plugin, Errand string
	// Input is what it is given, as JSON, and Config its whole configuration.
	Input  any
	Config map[string]any
	// Dir is the working directory, and the home. It has to exist, and a folder
	// tmp in it, too.
	Dir string
	// Confine lets it read only programs, certificates and what Readable names,
	// and write only below Dir, where the kernel knows Landlock.
	Confine  bool
	Readable []string
	// Environment names the variables that it gets beside the path, the
	// language, the time zone and where certificates are.
	Environment []string
	Limits      Limits
	User        *User
	// Grace is how long it has after it was cancelled; 10 seconds if zero.
	Grace time.Duration
	// Serve answers its calls, one after the other.
	Serve func(ctx context.Context, method string, params json.RawMessage) (any, error)
	// Said is told the lines that it writes to its standard error; a thousand
	// at most. It may be nil.
	Said func(line string)
}

// environment are the variables that processes get.
var environment = []string{"PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// Ended is the error of a process that ended without a result.
type Ended struct{ Reason string }

func (e *Ended) Error() string { return e.Reason }

const (
	// gracePeriod is Work.Grace by default.
	gracePeriod = 10 * time.Second
	// exitTime is how long a process may live on that hung up.
	exitTime = 5 * time.Second
	// watchEvery is how often the files of a process are looked after.
	watchEvery = time.Second
)

// Do runs the errand and returns its result. The error of the errand has the
// name that it had in the process; an [*Ended] tells that the process broke
// down. When work ends, the process is told its cause, and killed if it does
// not end soon; when ctx ends, it is killed at once.
func (w Work) Do(ctx, work context.Context) (json.RawMessage, error) {
	p := &process{Work: w}
	if err := p.start(); err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	var background sync.WaitGroup
	background.Go(func() { p.watch(ctx, work) })
	end, err := p.converse(ctx)
	switch {
	case end != nil:
		p.kill("") // its result is there; it has nothing more to do
	case err != nil:
		p.kill("it broke the rules of its messages: " + err.Error())
	default:
		timer := time.NewTimer(exitTime)
		select {
		case <-p.exited:
		case <-timer.C:
			p.kill("it hung up")
		}
		timer.Stop()
	}
	<-p.exited
	background.Wait()
	_ = p.channel.conn.Close()
	switch {
	case end != nil && end.Error != nil:
		return nil, end.Error.err()
	case end != nil:
		return end.Result, nil
	case context.Cause(ctx) != nil && p.why() == "":
		return nil, context.Cause(ctx)
	}
	return nil, &Ended{p.reason()}
}

// process is a running process, as the backend sees it.
type process struct {
	Work
	channel *channel
	said    lines
	exited  chan struct{} // closed when it is gone, and all of its group
	system

	mu     sync.Mutex
	cause  string // why it was killed
	killed bool
}

// converse answers until the result is there or the process is gone. The error
// is nil if it just went.
func (p *process) converse(ctx context.Context) (*answer, error) {
	input, err := json.Marshal(p.Input)
	if err != nil {
		return nil, err
	}
	if err := p.channel.write(message{Hello: &hello{version, p.Plugin, p.Errand, p.Config, input}}); err != nil {
		return nil, nil //nolint:nilerr // it is gone before it began, and why is known then
	}
	for {
		m, err := p.channel.read()
		switch {
		case errors.Is(err, errTooLong):
			return nil, err
		case err != nil:
			return nil, nil //nolint:nilerr // it is gone
		case m.End != nil:
			return m.End, nil
		case m.Call != nil:
			result, err := p.Serve(ctx, m.Call.Method, m.Call.Params)
			if p.channel.write(message{Answer: answerOf(m.Call.ID, result, err)}) != nil {
				return nil, nil
			}
		default:
			return nil, errors.New("a message has no meaning")
		}
	}
}

// watch kills the process when it has to end.
func (p *process) watch(ctx, work context.Context) {
	var late, over <-chan time.Time
	if p.Limits.Time > 0 {
		timer := time.NewTimer(p.Limits.Time)
		defer timer.Stop()
		over = timer.C
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	cancelled := work.Done()
	for {
		select {
		case <-p.exited:
			return
		case <-ctx.Done():
			p.kill("")
			return
		case <-cancelled:
			cancelled = nil
			text := context.Cause(work).Error()
			if p.channel.write(message{Cancel: &text}) != nil {
				p.kill("")
			}
			timer := time.NewTimer(cmp.Or(p.Grace, gracePeriod))
			defer timer.Stop()
			late = timer.C
		case <-late:
			p.kill("it did not end after it was cancelled")
		case <-over:
			p.kill(fmt.Sprintf("it ran for longer than %s", p.Limits.Time))
		case <-tick.C:
			if problem := p.overfull(); problem != "" {
				p.kill(problem)
			}
		}
	}
}

var errFull = errors.New("full")

// overfull tells if the files of the process are too many or too large.
func (p *process) overfull() (problem string) {
	if p.Limits.Disk == 0 {
		return ""
	}
	size, files := int64(0), 0
	_ = filepath.WalkDir(p.Dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is being removed
		}
		if files++; files > maxFiles {
			problem = fmt.Sprintf("it made more than %d files", maxFiles)
			return errFull
		}
		if info, err := entry.Info(); err == nil {
			size += allocated(info)
		}
		if size > p.Limits.Disk {
			problem = fmt.Sprintf("its files take more than %s", Size(p.Limits.Disk))
			return errFull
		}
		return nil
	})
	return problem
}

// kill kills the group. The first cause counts; "" is none.
func (p *process) kill(cause string) {
	p.mu.Lock()
	if !p.killed {
		p.killed, p.cause = true, cause
	}
	p.mu.Unlock()
	p.signal()
}

func (p *process) why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// reason says why the process ended.
func (p *process) reason() string {
	if why := p.why(); why != "" {
		return "its process was ended: " + why
	}
	text := p.said.tail()
	switch how := p.how(); {
	case how.cpu:
		return fmt.Sprintf("its process was ended: it used more than %s of CPU time", p.Limits.CPUTime)
	case how.memory || strings.Contains(text, "out of memory") || strings.Contains(text, "cannot allocate memory"):
		if p.Limits.Memory > 0 {
			return fmt.Sprintf("its process ran out of memory; it may have %s", Size(p.Limits.Memory))
		}
		return "its process ran out of memory"
	case strings.Contains(text, "failed to create new OS thread"):
		return fmt.Sprintf("its process started more than %d processes and threads", p.Limits.Processes)
	case how.signal == "killed":
		return "its process was killed, by the system for want of memory or by somebody"
	case how.signal != "":
		return "its process was ended by the signal " + how.signal
	default:
		return fmt.Sprintf("its process exited with code %d%s", how.code, crash(text))
	}
}

// crash returns the line that tells most of what a process said last.
func crash(text string) string {
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "SIG") {
			return ": " + line
		}
		if line != "" {
			last = line
		}
	}
	if last == "" {
		return ""
	}
	return ": " + last
}

// Size writes a number of bytes for people.
func Size(n int64) string {
	for _, unit := range []struct {
		of   int64
		name string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "kB"}} {
		if n >= unit.of && n%unit.of == 0 {
			return fmt.Sprintf("%d %s", n/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

const (
	// maxLines bounds the lines that are told, maxLine each of them, and maxTail
	// what is kept of the end, in bytes.
	maxLines = 1000
	maxLine  = 8 << 10
	maxTail  = 16 << 10
)

// lines takes what a process writes to its standard error.
type lines struct {
	mu   sync.Mutex
	tell func(string)
	told int
	line []byte
	kept []byte
}

// Write implements [io.Writer].
func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept = append(l.kept, text...); len(l.kept) > 2*maxTail {
		// The beginning of a crash tells more than its end: what every goroutine did.
		l.kept = append(l.kept[:maxTail:maxTail], l.kept[len(l.kept)-maxTail:]...)
	}
	for rest := text; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(l.line) < maxLine {
			l.line = append(l.line, part[:min(len(part), maxLine-len(l.line))]...)
		}
		if rest = after; whole {
			if l.told++; l.tell != nil && l.told <= maxLines && len(l.line) > 0 {
				l.tell(string(l.line))
			}
			l.line = l.line[:0]
		}
	}
	return len(text), nil
}

func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.kept)
}

// variables are the environment of the process.
func (w Work) variables() []string {
	env := []string{"HOME=" + w.Dir, "TMPDIR=" + filepath.Join(w.Dir, "tmp")}
	for _, name := range append(append([]string{}, environment...), w.Environment...) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if w.Limits.Memory > 0 {
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%d", w.Limits.Memory/4*3))
	}
	return env
}
