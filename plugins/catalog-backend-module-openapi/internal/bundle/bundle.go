// Package bundle makes one document of a JSON or YAML document and all files
// that its references lead to, such as an API described in many files.
//
//	b := bundle.New(bundle.Source{Read: read, Resolve: resolve})
//	text, err := b.Bundle(ctx, "https://host/repo/openapi.yaml", data)
//
// The result is YAML with the keys in the order of the files. What several
// references lead to is in it once, where the reference nearest to the root
// was; the others point there, as does what leads into it. So cycles stay
// cycles. References within the document stay references.
//
// References may be relative, to their own file, or URLs, and have a JSON
// pointer as their fragment. What stands beside a reference is merged over
// what it leads to. Files of text, by their extension, become strings.
//
// In AsyncAPI documents of version 3, references from operations to channels
// and messages, and from channels to servers, are names, and stay.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/apierr"
)

// Source gives access to files.
type Source struct {
	// Read returns the content of a URL. It is called concurrently.
	Read func(ctx context.Context, url string) ([]byte, error)
	// Resolve returns the URL of a reference in the file at base.
	Resolve func(ref, base string) (string, error)
	// Opened, if not nil, is called with the URL of each file besides the root
	// before it is read.
	Opened func(url string)
}

// Limits bound what a bundle may cost. A zero field means its default.
type Limits struct {
	// Files is the number of files, 1000 if zero.
	Files int
	// Bytes is the size of all files together, and of the result, 32 MiB if zero.
	Bytes int
	// Nodes is the number of values in a file and in the result, 1,000,000 if zero.
	Nodes int
	// Depth is how deep values nest in the result, 200 if zero.
	Depth int
}

// readers is how many files are read at a time.
const readers = 8

// Bundler makes bundles. It is safe for concurrent use.
type Bundler struct {
	source Source
	limits Limits
}

// New returns a bundler with the default limits.
func New(s Source) *Bundler { return NewLimited(s, Limits{}) }

// NewLimited returns a bundler with other limits.
func NewLimited(s Source, l Limits) *Bundler {
	for limit, size := range map[*int]int{&l.Files: 1000, &l.Bytes: 32 << 20, &l.Nodes: 1_000_000, &l.Depth: 200} {
		if *limit == 0 {
			*limit = size
		}
	}
	return &Bundler{source: s, limits: l}
}

// Bundle returns the bundle of the text, which was read at the URL. The error
// is an InputError that names the reference or the file, or what Read
// returned, wrapped.
func (b *Bundler) Bundle(ctx context.Context, url string, text []byte) ([]byte, error) {
	job := &bundler{Bundler: b, files: map[string]*file{}, left: b.limits.Nodes, bytes: len(text)}
	tree, err := job.parse(text, "root.yaml")
	if err != nil {
		return nil, apierr.Input("%s cannot be read: %w", url, err)
	}
	if _, isScalar := tree.value.(scalar); isScalar {
		return nil, apierr.Input("%s has no object in it", url)
	}
	job.root = &file{url: url, tree: tree}
	job.files[url] = job.root
	job.async = isAsyncAPI3(tree)
	if err := job.discover(ctx); err != nil {
		return nil, err
	}
	result, err := job.assemble(ctx)
	if err != nil {
		return nil, err
	}
	out, err := emit(result)
	if err != nil {
		return nil, err
	}
	if len(out) > b.limits.Bytes {
		return nil, apierr.Input("the bundle of %s has %d bytes, more than the limit of %d", url, len(out), b.limits.Bytes)
	}
	return out, nil
}

// isAsyncAPI3 reports whether a document says that it is AsyncAPI of version 3.
func isAsyncAPI3(tree *slot) bool {
	at, ok := step(tree.value, "asyncapi")
	if !ok {
		return false
	}
	version, ok := at.value.(scalar)
	return ok && (version.text == "3" || strings.HasPrefix(version.text, "3."))
}

// bundler makes one bundle.
type bundler struct {
	*Bundler
	root    *file
	async   bool
	files   map[string]*file // by URL
	bytes   int              // of all files
	targets map[string]*target
	left    int // nodes that the result may still get

	placement
}

// file is a file that was read.
type file struct {
	url  string
	tree *slot
}

// found is a reference in a file.
type found struct {
	ref  string
	file *file
}

// split returns the URL and the fragment of a reference. The URL of one within
// its file is that of the file.
func (b *bundler) split(ref string, in *file) (url, fragment string, err error) {
	relative, fragment, _ := strings.Cut(ref, "#")
	if relative == "" {
		return in.url, fragment, nil
	}
	if url, err = b.source.Resolve(relative, in.url); err != nil {
		return "", "", apierr.Input("the reference %q in %s makes no URL: %w", ref, in.url, err)
	}
	return url, fragment, nil
}

// load reads the files that references lead to, as far as they are not read.
func (b *bundler) load(ctx context.Context, refs []found) error {
	type job struct {
		url  string
		by   found
		text []byte
		err  error
	}
	var jobs []*job
	wanted := map[string]bool{}
	for _, r := range refs {
		url, _, err := b.split(r.ref, r.file)
		if err != nil {
			return err
		}
		if b.files[url] == nil && !wanted[url] {
			wanted[url] = true
			jobs = append(jobs, &job{url: url, by: r})
		}
	}
	if n := len(b.files) + len(jobs); n > b.limits.Files {
		return apierr.Input("%s leads to more than %d files", b.root.url, b.limits.Files)
	}
	var group errgroup.Group
	group.SetLimit(readers)
	var mu sync.Mutex
	failed := false
	for _, j := range jobs {
		group.Go(func() error {
			mu.Lock()
			stop := failed
			mu.Unlock()
			if stop {
				return nil
			}
			if b.source.Opened != nil {
				b.source.Opened(j.url)
			}
			if j.text, j.err = b.source.Read(ctx, j.url); j.err != nil {
				mu.Lock()
				failed = true
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // errors are in the jobs
	var errs []error
	for _, j := range jobs {
		if j.err != nil {
			errs = append(errs, fmt.Errorf("%s, to which %q in %s refers, could not be read: %w", j.url, j.by.ref, j.by.file.url, j.err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, j := range jobs {
		if b.bytes += len(j.text); b.bytes > b.limits.Bytes {
			return apierr.Input("the files that %s leads to have more than %d bytes", b.root.url, b.limits.Bytes)
		}
		tree, err := b.parse(j.text, name(j.url))
		if err != nil {
			return apierr.Input("%s, to which %q in %s refers, cannot be read: %w", j.url, j.by.ref, j.by.file.url, err)
		}
		b.files[j.url] = &file{url: j.url, tree: tree}
	}
	return nil
}

// target is what references lead to.
type target struct {
	file   *file
	tokens []string // from the root of the file
	slot   *slot
	// exact reports whether a plain reference leads exactly there.
	exact bool
}

func (t *target) key() string { return key(t.file, t.tokens) }

func key(f *file, tokens []string) string { return f.url + pointer(tokens) }

// resolved is how a reference resolves.
type resolved struct {
	target
	hops int // references that were passed through
	// near is where the reference leads if what is there is a reference again.
	near target
}

// maxHops bounds chains of references that lead to references.
const maxHops = 100

// errCircular says that references lead to each other only.
var errCircular = errors.New("references go in a circle")

// resolve follows a reference. What it leads to is no plain reference.
func (b *bundler) resolve(ctx context.Context, r found) (resolved, error) {
	out, err := b.follow(ctx, r, 0)
	if err != nil && !errors.Is(err, errCircular) && apierr.KindOf(err) == apierr.KindError {
		return out, apierr.Input("the reference %q in %s leads nowhere: %w", r.ref, r.file.url, err)
	}
	return out, err
}

func (b *bundler) follow(ctx context.Context, r found, hops int) (out resolved, err error) {
	if hops > maxHops {
		return out, errCircular
	}
	url, fragment, err := b.split(r.ref, r.file)
	if err != nil {
		return out, err
	}
	if b.files[url] == nil {
		if err := b.load(ctx, []found{r}); err != nil {
			return out, err
		}
	}
	parts, err := tokens(fragment)
	if err != nil {
		return out, err
	}
	f := b.files[url]
	out = resolved{target: target{file: f, slot: f.tree}, hops: hops}
	for _, token := range parts {
		next, ok := step(out.slot.value, token)
		for !ok {
			ref, _, isRef := reference(out.slot.value)
			if !isRef {
				return out, fmt.Errorf("there is no %s in %s", pointer(append(out.tokens, token)), out.file.url)
			}
			if out, err = b.follow(ctx, found{ref, out.file}, out.hops+1); err != nil {
				return out, err
			}
			next, ok = step(out.slot.value, token)
		}
		out.slot = next
		out.tokens = append(out.tokens[:len(out.tokens):len(out.tokens)], token)
	}
	out.near = out.target
	if ref, m, isRef := reference(out.slot.value); isRef && m.plain() {
		near := out.near
		if out, err = b.follow(ctx, found{ref, out.file}, out.hops+1); err != nil {
			return out, err
		}
		out.near = near
	}
	return out, nil
}

// discover reads all files that the root leads to, and notes what in them
// references lead to.
func (b *bundler) discover(ctx context.Context) error {
	type part struct {
		file *file
		slot *slot
		at   *place // in the root
	}
	b.targets = map[string]*target{}
	seen := map[any]bool{}
	parts := []part{{b.root, b.root.tree, nil}}
	for len(parts) > 0 {
		type reached struct {
			found
			plain bool
		}
		var refs []reached
		var crawl func(p part)
		crawl = func(p part) {
			if _, isScalar := p.slot.value.(scalar); isScalar || seen[p.slot.value] {
				return
			}
			seen[p.slot.value] = true
			if ref, m, ok := reference(p.slot.value); ok && !(p.file == b.root && ref[0] == '#' && b.async && isName(p.at.tokens())) {
				refs = append(refs, reached{found{ref, p.file}, m.plain()})
			}
			for token, next := range children(p.slot.value) {
				crawl(part{p.file, next, p.at.child(token)})
			}
		}
		for _, p := range parts {
			crawl(p)
		}
		parts = nil
		all := make([]found, len(refs))
		for i, r := range refs {
			all[i] = r.found
		}
		if err := b.load(ctx, all); err != nil {
			return err
		}
		for _, r := range refs {
			to, err := b.resolve(ctx, r.found)
			if errors.Is(err, errCircular) && r.file == b.root && r.ref[0] == '#' {
				continue // it means nothing, and stays
			} else if errors.Is(err, errCircular) {
				return apierr.Input("the reference %q in %s leads nowhere: %w", r.ref, r.file.url, err)
			} else if err != nil {
				return err
			}
			t := b.targets[to.key()]
			if t == nil {
				t = &to.target
				b.targets[to.key()] = t
				parts = append(parts, part{t.file, t.slot, nil})
			}
			t.exact = t.exact || r.plain
		}
	}
	return nil
}
