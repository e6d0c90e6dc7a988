package rootconfig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
)

// Layer is what one source contributes to the configuration.
type Layer struct {
	Name string // base name of the file, or "env"
	tree *conftree.Node
}

// Data returns a copy of the values of the layer alone.
func (l Layer) Data() map[string]any {
	m, _ := l.tree.Value().(map[string]any)
	return m
}

// Parse reads the YAML text of a layer. Includes and references to the
// environment stay as they are. An error is a *core.ConfigError.
func Parse(name, text string) (Layer, error) {
	n, err := parse(name, []byte(text))
	return Layer{Name: name, tree: n}, err
}

// Map returns a layer with the values of m, which are those that
// [core.Config.Value] returns. It panics if m holds values of other types.
func Map(name string, m map[string]any) Layer {
	n, ok := conftree.FromValue(core.Position{Source: name}, m)
	if !ok {
		panic(fmt.Sprintf("rootconfig.Map: layer %q holds values that JSON has no form for", name))
	}
	return Layer{Name: name, tree: n}
}

// Static returns a configuration that consists of the given values: for
// programs that embed a backend without configuration files, and for tests.
func Static(m map[string]any) *Root { return New(Map("static", m)) }

// New returns a configuration of the given layers, lowest precedence first.
func New(layers ...Layer) *Root {
	r := &Root{subscribers: map[int]func(){}, secretSet: map[string]bool{}}
	r.level = level{tree: r.merged}
	r.install(newSnapshot(layers))
	return r
}

// snapshot is one state of the configuration.
type snapshot struct {
	layers []Layer
	merged *conftree.Node
}

func newSnapshot(layers []Layer) *snapshot {
	s := &snapshot{layers: layers, merged: conftree.NewObject(core.Position{})}
	for _, l := range layers {
		s.merged = conftree.Merge(s.merged, l.tree)
	}
	// What is missing at the top is best added to the first file.
	if len(layers) > 0 {
		root := *s.merged
		root.Pos = core.Position{Source: layers[0].Name}
		s.merged = &root
	}
	return s
}

// Root is the whole configuration. It implements [core.ConfigRoot].
type Root struct {
	level

	current atomic.Pointer[snapshot]
	loader  *loader // nil for a configuration without files
	strict  bool    // refuse changes that violate the schema

	updating sync.Mutex // held while the configuration changes and subscribers are told

	mu          sync.Mutex
	subscribers map[int]func()
	nextID      int
	schema      *configschema.Schema
	secrets     []string
	secretSet   map[string]bool
	onSecrets   []func()
	log         *slog.Logger
	pending     []func(*slog.Logger) // what happened before there was a logger
	lastProblem string               // guarded by updating
	reporting   bool                 // the schema is complete
	reported    map[string]bool      // findings that were logged
}

var _ core.ConfigRoot = (*Root)(nil)

func (r *Root) merged() *conftree.Node { return r.current.Load().merged }

// Layers returns the sources, lowest precedence first.
func (r *Root) Layers() []Layer { return slices.Clone(r.current.Load().layers) }

// LayerData returns what one source contributes, nil if there is none of
// that name: "env" for the environment. It lets callers that know only the
// interface tell the environment from the files.
func (r *Root) LayerData(name string) map[string]any {
	for _, l := range r.current.Load().layers {
		if l.Name == name {
			return l.Data()
		}
	}
	return nil
}

// Sources implements core.ConfigRoot.
func (r *Root) Sources() []string {
	if r.loader != nil {
		return r.loader.describe()
	}
	var names []string
	for _, l := range r.current.Load().layers {
		names = append(names, l.Name)
	}
	return names
}

// Subscribe implements core.ConfigRoot.
func (r *Root) Subscribe(changed func()) (cancel func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.nextID
	r.nextID++
	r.subscribers[id] = changed
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, id)
	}
}

// Secrets implements core.ConfigRoot.
func (r *Root) Secrets() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.secrets)
}

// Set replaces all layers and tells the subscribers if the merged values
// differ. It reports whether they do. It must not be called by a subscriber.
func (r *Root) Set(layers ...Layer) bool {
	r.updating.Lock()
	defer r.updating.Unlock()
	next := newSnapshot(layers)
	differs := !conftree.Equal(r.merged(), next.merged)
	r.install(next)
	if differs {
		r.notify()
	}
	return differs
}

func (r *Root) install(s *snapshot) {
	r.current.Store(s)
	r.collectSecrets()
}

// SetSchema tells which values are secret. Secrets that are known already
// stay known.
func (r *Root) SetSchema(schema *configschema.Schema) {
	r.mu.Lock()
	r.schema = schema
	r.mu.Unlock()
	r.collectSecrets()
}

// Schema returns the schema that [Root.SetSchema] set, or nil.
func (r *Root) Schema() *configschema.Schema {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.schema
}

func (r *Root) collectSecrets() {
	r.mu.Lock()
	before := len(r.secrets)
	if r.schema != nil {
		for _, s := range r.schema.Secrets(r.merged().Value()) {
			if s != "" && !r.secretSet[s] {
				r.secretSet[s] = true
				r.secrets = append(r.secrets, s)
			}
		}
	}
	var tell []func()
	if len(r.secrets) > before {
		tell = slices.Clone(r.onSecrets)
	}
	r.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

// OnSecrets calls learned whenever there are more secrets, before anybody
// can read a new one because of a notification.
func (r *Root) OnSecrets(learned func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onSecrets = append(r.onSecrets, learned)
}

// notify calls the subscribers in the order in which they subscribed. A
// panic of one is logged and keeps nothing from the others.
func (r *Root) notify() {
	r.mu.Lock()
	ids := make([]int, 0, len(r.subscribers))
	for id := range r.subscribers {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	slices.Sort(ids)
	for _, id := range ids {
		r.mu.Lock()
		changed := r.subscribers[id]
		r.mu.Unlock()
		if changed != nil {
			r.call(changed)
		}
	}
}

func (r *Root) call(changed func()) {
	defer func() {
		if p := recover(); p != nil {
			stack := string(debug.Stack())
			r.tell(func(log *slog.Logger) {
				log.Error("A subscriber of the configuration panicked", "panic", fmt.Sprint(p), "stack", stack)
			})
		}
	}()
	changed()
}

// SetLogger sets the logger of reloads, and writes to it what happened
// before there was one. The root logger needs the configuration, so the
// configuration cannot depend on the root logger.
func (r *Root) SetLogger(log *slog.Logger) {
	r.mu.Lock()
	pending := r.pending
	r.log, r.pending = log, nil
	r.mu.Unlock()
	for _, write := range pending {
		write(log)
	}
}

// logReport logs what a check finds and did not find the last time.
func (r *Root) logReport() {
	r.mu.Lock()
	if r.schema == nil || !r.reporting {
		r.mu.Unlock()
		return
	}
	fresh, all := check(r.merged(), r.schema).since(r.reported)
	r.reported = all
	r.mu.Unlock()
	r.tell(fresh.Log)
}

// tell writes to the log, or keeps what is to be written until there is one.
func (r *Root) tell(write func(*slog.Logger)) {
	const maxPending = 100
	r.mu.Lock()
	log := r.log
	if log == nil && len(r.pending) < maxPending {
		r.pending = append(r.pending, write)
	}
	r.mu.Unlock()
	if log != nil {
		write(log)
	}
}

// Reload loads the files now, without waiting for a change to be noticed,
// for example on a signal. It is not needed while [Root.Watch] runs. What is
// broken is logged, changes nothing, and is returned. A configuration
// without files stays as it is.
func (r *Root) Reload(ctx context.Context) error {
	if r.loader == nil {
		return nil
	}
	r.updating.Lock()
	defer r.updating.Unlock()
	layers, err := r.loader.load(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	next := newSnapshot(layers)
	if schema := r.Schema(); err == nil && r.strict && schema != nil {
		err = check(next.merged, schema).Invalid()
	}
	if err != nil {
		if text := err.Error(); text != r.lastProblem {
			r.lastProblem = text
			r.tell(func(log *slog.Logger) {
				log.Error("The configuration cannot be reloaded, the last good one stays in use", "problems", strings.Split(text, "\n"))
			})
		}
		return err
	}
	recovered := r.lastProblem != ""
	r.lastProblem = ""
	changed := changedKeys("", r.merged(), next.merged, 3)
	r.install(next)
	r.logReport()
	switch {
	case len(changed) > 0:
		r.tell(func(log *slog.Logger) { log.Info("The configuration changed", "keys", changed) })
		r.notify()
	case recovered:
		r.tell(func(log *slog.Logger) { log.Info("The configuration is readable again") })
	}
	return nil
}

// changedKeys names the differing keys down to a depth.
func changedKeys(prefix string, a, b *conftree.Node, depth int) []string {
	if conftree.Equal(a, b) {
		return nil
	}
	if depth == 0 || a == nil || b == nil || a.Kind != conftree.Object || b.Kind != conftree.Object {
		return []string{prefix}
	}
	var keys []string
	for _, name := range a.Names() {
		keys = append(keys, changedKeys(join(prefix, name), a.Get(name), b.Get(name), depth-1)...)
	}
	for _, name := range b.Names() {
		if a.Get(name) == nil {
			keys = append(keys, changedKeys(join(prefix, name), nil, b.Get(name), depth-1)...)
		}
	}
	slices.Sort(keys)
	return keys
}

// parse reads a layer and checks that it is an object.
func parse(name string, data []byte) (*conftree.Node, error) {
	n, err := conftree.ParseYAML(name, data)
	var syntax *conftree.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, &FileError{Position: syntax.Pos, Problem: syntax.Problem}
	case err != nil:
		return nil, err
	case n != nil && n.Kind != conftree.Object:
		return nil, &FileError{Position: n.Pos, Problem: fmt.Sprintf("the file must hold an object, found %s", n.Kind)}
	}
	return n, nil
}

// FileError tells what is wrong with a whole configuration file.
type FileError struct {
	Position core.Position
	Problem  string
	Remedy   string
	Err      error
}

// Error returns one line: position, problem and remedy.
func (e *FileError) Error() string {
	s := e.Position.String() + ": " + e.Problem
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// missingFile reports whether err says that a file is not there.
func missingFile(err error) bool { return errors.Is(err, os.ErrNotExist) }
