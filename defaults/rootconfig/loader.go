package rootconfig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
)

// Options say where the configuration comes from. The zero value is what
// programs want.
type Options struct {
	// Args are searched for --config <file> and --config=<file>, which may be
	// repeated. Nil stands for os.Args[1:].
	Args []string
	// ConfigFiles are used as if they were the last --config arguments.
	ConfigFiles []string
	// Dir is the working directory, to which files are relative. Empty stands
	// for that of the process.
	Dir string
	// Env holds the environment as NAME=value. Nil stands for os.Environ().
	Env []string
	// FS, if set, holds all files, and they are not watched. Dir is then a
	// slash separated path in it, and empty stands for its root.
	FS fs.FS
	// PollInterval is how often the files are looked at in addition to the
	// notifications of the operating system, which network file systems do
	// not give. 0 stands for 5 seconds.
	PollInterval time.Duration
	// Schemas are those of the framework and of whatever else is not
	// installed as a plugin or module: JSON Schemas of the whole
	// configuration.
	Schemas []string
	// Strict makes a configuration that violates a schema fail the start, and
	// keeps the last good one where a change would violate it. Otherwise the
	// violations are logged, and what reads the value fails. Unknown keys are
	// no violations: they are logged either way.
	Strict bool
}

// Load reads the configuration. All problems are reported at once: the
// error unwraps to *core.ConfigError and *[FileError] values.
func Load(ctx context.Context, o Options) (*Root, error) {
	l, err := newLoader(o)
	if err != nil {
		return nil, err
	}
	layers, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	r := New(layers...)
	r.loader, r.strict = l, o.Strict
	return r, nil
}

type loader struct {
	files    *files
	env      environment
	dir      string   // working directory
	explicit []string // --config
	poll     time.Duration
}

func newLoader(o Options) (*loader, error) {
	l := &loader{files: &files{fs: o.FS}, env: o.Env, dir: o.Dir, poll: o.PollInterval}
	if o.Env == nil {
		l.env = os.Environ()
	}
	if l.poll <= 0 {
		l.poll = 5 * time.Second
	}
	switch {
	case o.FS != nil:
		l.dir = path.Join("/", filepath.ToSlash(l.dir))
	default:
		dir, err := filepath.Abs(l.dir)
		if err != nil {
			return nil, fmt.Errorf("find the working directory: %w", err)
		}
		l.dir = dir
	}
	args := o.Args
	if args == nil && len(os.Args) > 0 {
		args = os.Args[1:]
	}
	named, err := configArgs(args)
	if err != nil {
		return nil, err
	}
	l.explicit = append(named, o.ConfigFiles...)
	return l, nil
}

// configArgs returns the files that --config arguments name.
func configArgs(args []string) ([]string, error) {
	var named []string
	for i := 0; i < len(args); i++ {
		name, isSet := strings.CutPrefix(args[i], "--config=")
		if args[i] == "--config" {
			if i++; i == len(args) {
				return nil, errors.New("--config needs the name of a file")
			}
			name, isSet = args[i], true
		}
		if !isSet {
			continue
		}
		if name == "" {
			return nil, errors.New("--config needs the name of a file")
		}
		named = append(named, name)
	}
	return named, nil
}

// target is a file to load.
type target struct {
	path     string
	optional bool
}

// targets returns the files to load, lowest precedence first.
func (l *loader) targets() ([]target, []error) {
	var list []target
	var problems []error
	for _, name := range l.explicit {
		if u, err := url.Parse(name); err == nil && u.Host != "" {
			problems = append(problems, &FileError{
				Position: core.Position{Source: name}, Problem: "remote configuration is not supported",
				Remedy: "download it to a file before the start",
			})
			continue
		}
		list = append(list, target{path: l.files.resolve(path.Join(filepath.ToSlash(l.dir), "x"), name)})
	}
	if len(l.explicit) > 0 {
		return list, problems
	}
	root := l.root()
	in := func(name string) string { return l.files.resolve(filepath.Join(root, "x"), name) }
	var envs []string
	names, _ := l.env.lookup("BACKSTAGE_ENV")
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			envs = append(envs, name)
		}
	}
	list = append(list, target{path: in("app-config.yaml")})
	for _, env := range envs {
		list = append(list, target{in("app-config." + env + ".yaml"), true})
	}
	list = append(list, target{in("app-config.local.yaml"), true})
	for _, env := range envs {
		list = append(list, target{in("app-config." + env + ".local.yaml"), true})
	}
	return list, nil
}

// root returns the nearest directory from the working directory upwards
// whose package.json has workspaces, else the working directory.
func (l *loader) root() string {
	for dir := l.dir; ; {
		data, err := l.files.readOnce(filepath.Join(dir, "package.json"))
		if err == nil {
			var manifest struct {
				Workspaces json.RawMessage `json:"workspaces"`
			}
			if json.Unmarshal(data, &manifest) == nil && len(manifest.Workspaces) > 0 && string(manifest.Workspaces) != "null" {
				return dir
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return l.dir
		}
		dir = parent
	}
}

// load reads all sources. Its error reports all problems.
func (l *loader) load(ctx context.Context) ([]Layer, error) {
	previous := l.files.forget()
	targets, problems := l.targets()
	var layers []Layer
	for _, t := range targets {
		if t.optional && !l.files.exists(t.path) {
			continue
		}
		n, errs := l.loadFile(ctx, t.path)
		problems = append(problems, errs...)
		layers = append(layers, Layer{Name: filepath.Base(t.path), tree: n})
	}
	env, count, err := l.env.layer()
	if err != nil {
		problems = append(problems, split(err)...)
	}
	if count > 0 {
		layers = append(layers, Layer{Name: "env", tree: env})
	}
	if len(problems) > 0 {
		// A file may have been left out because of a problem; keep watching it.
		for name, s := range previous {
			l.files.remember(name, s)
		}
		return nil, errors.Join(problems...)
	}
	return layers, nil
}

func (l *loader) loadFile(ctx context.Context, name string) (*conftree.Node, []error) {
	base := core.Position{Source: filepath.Base(name)}
	data, err := l.files.read(ctx, name)
	if err != nil {
		e := &FileError{Position: base, Problem: "the file " + why(err), Err: err}
		if missingFile(err) {
			e.Problem = fmt.Sprintf("there is no such file in %s", filepath.Dir(name))
			e.Remedy = "create it, or name the files to use with --config"
		}
		return nil, []error{e}
	}
	n, err := parse(base.Source, data)
	if err != nil {
		return nil, []error{err}
	}
	if n == nil {
		return nil, nil
	}
	t := &transformer{ctx: ctx, files: l.files, env: l.env}
	n = t.transform(n, place{file: name})
	switch {
	case len(t.problems) > 0:
	case n.Kind == conftree.Absent:
		return nil, nil
	case n.Kind != conftree.Object:
		t.problems = append(t.problems, &FileError{Position: n.Pos, Problem: fmt.Sprintf("the file must hold an object, found %s", n.Kind)})
	}
	return n, t.problems
}

// describe names the sources for people.
func (l *loader) describe() []string {
	var list []string
	targets, _ := l.targets()
	for _, t := range targets {
		if !t.optional || l.files.stat(t.path).info != nil {
			list = append(list, t.path)
		}
	}
	if _, count, err := l.env.layer(); err == nil && count > 0 {
		noun := "variables"
		if count == 1 {
			noun = "variable"
		}
		list = append(list, fmt.Sprintf("environment (%d %s)", count, noun))
	}
	return list
}

// split returns the errors that errors.Join joined.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
