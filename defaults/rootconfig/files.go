package rootconfig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxFile bounds the size of configuration files and of included files.
const maxFile = 16 << 20

// files reads files and remembers which, so that they can be watched.
type files struct {
	fs fs.FS // nil is the operating system's

	mu   sync.Mutex
	used map[string]stamp
}

// stamp is what tells a file from its earlier self.
type stamp struct {
	info fs.FileInfo // nil where there is no file
}

func (s stamp) equal(other stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == other.info
	}
	return s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime()) && os.SameFile(s.info, other.info)
}

func (f *files) stat(name string) stamp {
	var info fs.FileInfo
	var err error
	if f.fs != nil {
		info, err = fs.Stat(f.fs, fsName(name))
	} else {
		info, err = os.Stat(name)
	}
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

// fsName makes an absolute slash path the name of a file in an fs.FS.
func fsName(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "/"); name != "" {
		return name
	}
	return "."
}

// resolve returns the path of a file named in another one.
func (f *files) resolve(from, name string) string {
	if f.fs != nil {
		if path.IsAbs(name) {
			return path.Clean(name)
		}
		return path.Join(path.Dir(from), name)
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(from), name)
}

// exists reports whether there is a file, and remembers the question.
func (f *files) exists(name string) bool {
	s := f.stat(name)
	f.remember(name, s)
	return s.info != nil && !s.info.IsDir()
}

func (f *files) remember(name string, s stamp) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.used == nil {
		f.used = map[string]stamp{}
	}
	if _, ok := f.used[name]; !ok { // the oldest state, so that a change while loading is noticed
		f.used[name] = s
	}
}

// forget begins a new load. It returns the files of the last one.
func (f *files) forget() map[string]stamp {
	f.mu.Lock()
	defer f.mu.Unlock()
	used := f.used
	f.used = nil
	return used
}

// names returns the files that were asked for.
func (f *files) names() map[string]stamp {
	f.mu.Lock()
	defer f.mu.Unlock()
	used := make(map[string]stamp, len(f.used))
	maps.Copy(used, f.used)
	return used
}

// read returns the content of a file. An empty file is read once more after
// a moment, because editors truncate before they write.
func (f *files) read(ctx context.Context, name string) ([]byte, error) {
	f.remember(name, f.stat(name))
	data, err := f.readOnce(name)
	if err != nil || len(data) > 0 || f.fs != nil {
		return data, err
	}
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return f.readOnce(name)
	}
}

func (f *files) readOnce(name string) ([]byte, error) {
	var file fs.File
	var err error
	if f.fs != nil {
		file, err = f.fs.Open(fsName(name))
	} else {
		file, err = os.Open(name)
	}
	if err != nil {
		return nil, plain(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("it is a directory")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, plain(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return data, nil
}

// plain drops the operation and the path of an error, which messages name
// already.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
