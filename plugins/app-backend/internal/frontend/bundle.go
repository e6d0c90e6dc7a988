package frontend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/flytower/flytower/plugins/app-backend/internal/frontendconfig"
	"github.com/flytower/flytower/plugins/app-backend/internal/indextemplate"
)

// Options say what to serve.
type Options struct {
	// Dir is the folder of the bundle, with index.html and static.
	Dir string
	// Config is what the frontend sees. Nil leaves the bundle as it was built.
	Config *frontendconfig.Config
	// PublicPath is the path of the app's URL, without a slash at the end.
	PublicPath string
	// Kept has the static files of earlier bundles; nil is none.
	Kept Kept
	// Fallback serves static files that are nowhere else; nil is none. The
	// paths that it sees are relative to /static.
	Fallback http.Handler
	// Private says that not everybody may see the bundle: only browsers keep
	// its files then, not the proxies on the way.
	Private bool
	// Now is the clock. Nil is [time.Now].
	Now func() time.Time
}

// Kept has static files of earlier bundles.
type Kept interface {
	// Find returns the file at the path relative to static, or nil.
	Find(ctx context.Context, path string) (KeptFile, error)
}

// KeptFile is a static file of an earlier bundle.
type KeptFile interface {
	io.ReadSeeker
	ModTime() time.Time
	// Err returns the error that ended reading early, if one did.
	Err() error
}

// EntryPoint serves a bundle.
type EntryPoint struct {
	Options
	root *os.Root
	page []byte
	// script is the one with the configuration in it, where that is not in
	// the page; its name is relative to the bundle.
	script *injected
}

// injected is a file whose content differs from that on the disk.
type injected struct {
	name    string
	content []byte
	modTime time.Time
}

// The files of a bundle.
const (
	staticDir    = "static"
	pageFile     = "index.html"
	templateFile = "index.html.tmpl"
	schemaFile   = ".config-schema.json"
)

// Limits of the files that are read as a whole, in bytes.
const (
	maxPage   = 4 << 20
	maxSchema = 64 << 20
	maxScript = 64 << 20
)

// Open reads the page of a bundle and puts the configuration into it.
func Open(o Options) (*EntryPoint, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the bundle of the frontend: %w", err)
	}
	e := &EntryPoint{Options: o, root: root}
	if err := e.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("the frontend in %s: %w", o.Dir, err), root.Close())
	}
	return e, nil
}

// Close gives the folder back. Nothing must be served any more.
func (e *EntryPoint) Close() error { return e.root.Close() }

func (e *EntryPoint) prepare() error {
	if e.Config != nil {
		template, err := e.read(templateFile, maxPage)
		switch {
		case err == nil:
			return e.render(string(template))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := e.injectScript(); err != nil {
			return err
		}
	}
	page, err := e.read(pageFile, maxPage)
	if err != nil {
		return fmt.Errorf("%w; build the frontend again (yarn build:frontend, or yarn workspace app build)", err)
	}
	e.page = page
	return nil
}

func (e *EntryPoint) render(template string) error {
	page, err := indextemplate.Render(templateFile, template, indextemplate.Data{Config: e.Config.Data(), PublicPath: e.PublicPath})
	if err != nil {
		return err
	}
	if page, err = e.Config.InjectPage(page); err != nil {
		return fmt.Errorf("%s: %w", templateFile, err)
	}
	e.page = []byte(page)
	return nil
}

// injectScript makes the script with the configuration of frontends that were
// built without a template. The file stays as it is.
func (e *EntryPoint) injectScript() error {
	scripts, err := fs.Glob(e.root.FS(), staticDir+"/*.js")
	if err != nil {
		return err
	}
	slices.Sort(scripts)
	for _, name := range scripts {
		found, err := e.marked(name)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		content, err := e.read(name, maxScript)
		if err != nil {
			return err
		}
		if content, ok := e.Config.InjectScript(content); ok {
			e.script = &injected{name: name, content: content, modTime: e.Now()}
			return nil
		}
	}
	return nil
}

// marked reports whether a script has a place for the configuration, without
// holding all of it.
func (e *EntryPoint) marked(name string) (bool, error) {
	f, err := e.root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	const overlap = 64 // more than a mark has
	buf, held := make([]byte, 256<<10), 0
	for {
		n, err := f.Read(buf[held:])
		window := buf[:held+n]
		for _, mark := range frontendconfig.Marks {
			if bytes.Contains(window, []byte(mark)) {
				return true, nil
			}
		}
		held = copy(buf, window[max(0, len(window)-overlap):])
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// Schema returns the file with the configuration schemas of the frontend's
// packages, nil where there is none.
func Schema(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	text, err := (&EntryPoint{root: root}).read(schemaFile, maxSchema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// read returns the content of a file of limited length.
func (e *EntryPoint) read(name string, limit int64) ([]byte, error) {
	f, info, err := e.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return content, err
}

// open opens a regular file.
func (e *EntryPoint) open(name string) (*os.File, fs.FileInfo, error) {
	// Looking first, since opening a pipe waits for somebody to write to it.
	info, err := e.root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := e.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// machineFails tells an error of the machine from the many ways in which a
// path can name no file.
func machineFails(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOMEM)
}

// fileName returns the name in the bundle that a path means; ok is false where
// it can mean none.
func fileName(urlPath string) (name string, ok bool) {
	name = strings.TrimPrefix(urlPath, "/")
	if name == "" || strings.HasSuffix(name, "/") {
		name += pageFile
	}
	// fs.ValidPath refuses dots and empty segments. A backslash and a colon
	// mean something in the names of Windows.
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\x00\\:") {
		return "", false
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment[0] == '.' {
			return "", false
		}
	}
	return name, true
}

// StaticFile is a file that is worth keeping when the bundle is gone.
type StaticFile struct {
	// Path is relative to static.
	Path string
	// Changes tells that the content differs from start to start.
	Changes bool
}

// StaticFiles lists the files below static, except source maps.
func (e *EntryPoint) StaticFiles(ctx context.Context) ([]StaticFile, error) {
	var files []StaticFile
	err := fs.WalkDir(e.root.FS(), staticDir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() || path.Ext(name) == ".map":
			return nil
		}
		if _, servable := fileName("/" + name); servable {
			files = append(files, StaticFile{
				Path:    strings.TrimPrefix(name, staticDir+"/"),
				Changes: e.script != nil && e.script.name == name,
			})
		}
		return nil
	})
	return files, err
}

// ReadStatic returns the content of a file that StaticFiles listed, as it is
// served. It is an error if it is longer than limit.
func (e *EntryPoint) ReadStatic(name string, limit int64) ([]byte, error) {
	name = staticDir + "/" + name
	if e.script != nil && e.script.name == name {
		return e.script.content, nil
	}
	return e.read(name, limit)
}
