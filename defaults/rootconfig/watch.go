package rootconfig

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A burst of changes is waited out: until nothing changed for quiet, but not
// longer than patience.
const (
	quiet    = 50 * time.Millisecond
	patience = 500 * time.Millisecond
)

// Watch follows the files of the configuration until ctx ends: the files
// themselves, those that they include, and those that could be added. It
// watches their directories, so files that are replaced, swapped by symbolic
// links as Kubernetes does, or deleted and written anew are noticed. A
// configuration without files is not watched.
func (r *Root) Watch(ctx context.Context) error {
	if r.loader == nil || r.loader.files.fs != nil {
		<-ctx.Done()
		return nil
	}
	var events chan fsnotify.Event
	var failures chan error
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		r.tell(func(log *slog.Logger) {
			log.Warn("The operating system does not report changes of files; the configuration is looked at periodically", "interval", r.loader.poll, "error", err)
		})
	} else {
		defer notify.Close()
		events, failures = notify.Events, notify.Errors
	}
	poll := time.NewTicker(r.loader.poll)
	defer poll.Stop()

	r.catchUp(ctx, notify) // what changed since it was loaded
	var wait <-chan time.Time
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
		case _, ok := <-failures: // events may have been lost
			if !ok {
				failures = nil
				continue
			}
		case <-poll.C:
			r.catchUp(ctx, notify)
			continue
		case <-wait:
			wait, since = nil, time.Time{}
			r.catchUp(ctx, notify)
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		wait = time.After(max(0, min(quiet, patience-time.Since(since))))
	}
}

// maxRounds bounds how often the files are looked at in a row: those that
// change all the time are looked at with the next event.
const maxRounds = 4

// catchUp reloads what changed. What that includes for the first time is
// watched then, and looked at again: it may have changed before it was.
func (r *Root) catchUp(ctx context.Context, notify *fsnotify.Watcher) {
	follow(notify, r.loader.files)
	for range maxRounds {
		if !r.check(ctx) {
			return
		}
		follow(notify, r.loader.files)
	}
}

// check reloads if a file differs from what was loaded, and reports whether.
func (r *Root) check(ctx context.Context) bool {
	for name, before := range r.loader.files.names() {
		if !before.equal(r.loader.files.stat(name)) {
			_ = r.Reload(ctx) // it has logged what is broken
			return true
		}
	}
	return false
}

// follow watches the directories of all files, and of the files that
// symbolic links lead to. Directories that do not exist are watched through
// the nearest one that does.
func follow(notify *fsnotify.Watcher, f *files) {
	if notify == nil {
		return
	}
	want := map[string]bool{}
	for name := range f.names() {
		want[existing(filepath.Dir(name))] = true
		if real, err := filepath.EvalSymlinks(name); err == nil {
			want[filepath.Dir(real)] = true
		}
	}
	for _, dir := range notify.WatchList() {
		if !want[dir] {
			_ = notify.Remove(dir) // it is gone already, or an event too many does no harm
		}
	}
	for dir := range want {
		_ = notify.Add(dir) // polling finds what cannot be watched
	}
}

func existing(dir string) string {
	for {
		if (&files{}).stat(dir).info != nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return dir
		}
		dir = parent
	}
}
