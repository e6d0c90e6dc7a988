// Package urlreader is the default implementation of core.URLReader: it reads
// files and trees from GitHub, GitLab, and addresses that
// backend.reading.allow opens.
//
//	backend.New().Add(urlreader.Factory, …)
//
// An operator who needs another setting makes the factory with options, and
// adds hosts of other kinds through core.URLReaderFactories, whose readers
// come before the built-in ones:
//
//	backend.New().Add(urlreader.NewFactory(urlreader.Options{Directories: []string{"/srv/docs"}}))
//
// All plugins share one client per process, see package hostclient for how it
// treats rate limits, and one egress guard, see package egress. Files are read
// into memory within core.ReadOptions.MaxBytes; trees are unpacked into
// backend.workingDirectory within limits, and removed by Close.
package urlreader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/archive"
	"github.com/flytower/flytower/defaults/urlreader/internal/reading"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/egress"
	"github.com/flytower/flytower/integration/githubapp"
	"github.com/flytower/flytower/integration/hostclient"
)

// Options configure a [Reader]. The zero value of each member is its default.
type Options struct {
	// Entries are readers that come before the built-in ones.
	Entries []core.URLReaderEntry
	// Directories are opened for file: URLs and absolute paths; none by
	// default.
	Directories []string
	// Client sets how hosts are treated. Its Transport, if set, replaces the
	// egress guard.
	Client hostclient.Options
	// ReadTimeout bounds the reading of one file; 1 minute.
	ReadTimeout time.Duration
	// TreeTimeout bounds the reading of a tree or a search; 10 minutes.
	TreeTimeout time.Duration
	// Logger gets notes on reloads; nil discards.
	Logger *slog.Logger
}

// Default limits of answers, in bytes.
const (
	DefaultFileBytes = 16 << 20
	DefaultTreeBytes = 512 << 20
	// maxSearchBytes bounds what a search holds in memory.
	maxSearchBytes = 64 << 20
)

// Reader implements core.URLReaderService. It is safe for concurrent use.
type Reader struct {
	opts    Options
	client  *hostclient.Client
	files   *files
	current atomic.Pointer[state]
}

var _ core.URLReaderService = (*Reader)(nil)

// state is what follows from the configuration.
type state struct {
	hosts   *integration.Hosts
	rules   *reading.Rules
	github  map[string]*gitHub // by host
	gitlab  map[string]*gitLab
	fetch   *fetch
	workDir string
}

// source reads from one kind of host. Its callers checked the URL.
type source interface {
	Read(ctx context.Context, u *url.URL, o core.ReadOptions) (core.ReadResult, error)
	ReadTree(ctx context.Context, u *url.URL, o core.TreeOptions) (core.TreeResult, error)
	Search(ctx context.Context, u *url.URL, o core.ReadOptions) (core.SearchResult, error)
}

// New returns a reader for the configuration. The caller closes it.
func New(config core.Config, o Options) (*Reader, error) {
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = time.Minute
	}
	if o.TreeTimeout <= 0 {
		o.TreeTimeout = 10 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Reader{opts: o}
	if o.Client.Transport == nil {
		o.Client.Transport = egress.New(egress.Options{Trusted: r.trusts}).Transport()
	}
	r.client = hostclient.New(o.Client)
	if err := r.Reload(config); err != nil {
		r.client.Close()
		return nil, err
	}
	var err error
	if r.files, err = openFiles(o.Directories); err != nil {
		r.client.Close()
		return nil, err
	}
	return r, nil
}

// Reload takes over another configuration. Where it is wrong, the error says
// so and the last good one stays. Reads that run are not disturbed, and what
// is known about rate limits is kept.
func (r *Reader) Reload(config core.Config) error {
	hosts, err := integration.FromConfig(config)
	if err != nil {
		return err
	}
	rules, err := reading.FromConfig(config)
	if err != nil {
		return fmt.Errorf("reading %s: %w", reading.Key, err)
	}
	workDir, err := config.StringOr("backend.workingDirectory", "")
	if err != nil {
		return err
	}
	s := &state{hosts: hosts, rules: rules, github: map[string]*gitHub{}, gitlab: map[string]*gitLab{}, workDir: workDir}
	common := common{client: r.client, hosts: hosts, workDir: workDir}
	for _, c := range hosts.GitHub {
		if _, ok := s.github[c.Host]; !ok {
			s.github[c.Host] = &gitHub{
				common: common, config: c,
				credentials: githubapp.New(githubapp.Options{Integration: c, Client: r.client, Now: r.opts.Client.Now}),
			}
		}
	}
	for _, c := range hosts.GitLab {
		if _, ok := s.gitlab[c.Host]; !ok {
			s.gitlab[c.Host] = &gitLab{common: common, config: c}
		}
	}
	s.fetch = &fetch{common: common, rules: rules}
	r.current.Store(s)
	return nil
}

// Close closes idle connections and opened directories.
func (r *Reader) Close() error {
	r.client.Close()
	return r.files.Close()
}

// Quotas returns what is known about the rate limits of hosts.
func (r *Reader) Quotas() []hostclient.Quota { return r.client.Quotas() }

// Hosts returns the configured hosts.
func (r *Reader) Hosts() *integration.Hosts { return r.current.Load().hosts }

// trusts opens private addresses of hosts that the operator named.
func (r *Reader) trusts(host string) bool {
	s := r.current.Load()
	return s != nil && (s.hosts.Trusts(host) || s.rules.AllowsHost(host))
}

// picked is the reader of a URL: either an added one, or a built-in one with
// the parsed URL.
type picked struct {
	added core.URLReaderService
	source
	url *url.URL
}

func (r *Reader) pick(raw string) (picked, error) {
	for _, e := range r.opts.Entries {
		if e.Matches(raw) {
			return picked{added: e.Reader}, nil
		}
	}
	if isFile(raw) {
		u, err := fileURL(raw)
		if err != nil {
			return picked{}, err
		}
		return picked{source: r.files, url: u}, nil
	}
	u, err := integration.ParseURL(raw)
	if err != nil {
		return picked{}, apierr.Input("reading %q: %w", integration.Redact(raw), err)
	}
	s := r.current.Load()
	kind, known := s.hosts.Kind(raw)
	switch kind {
	case integration.KindGitHub:
		return picked{source: s.github[u.Host], url: u}, nil
	case integration.KindGitLab:
		return picked{source: s.gitlab[u.Host], url: u}, nil
	}
	if s.rules.Allows(u) {
		return picked{source: s.fetch, url: u}, nil
	}
	hint := ""
	if known {
		hint = fmt.Sprintf("; this installation has no reader for hosts of the kind %s", kind)
	}
	return picked{}, apierr.NotAllowed("reading %q is not allowed: configure an integration for its host, or add the host to %s%s",
		integration.Redact(raw), reading.Key, hint)
}

// Read implements core.URLReaderService.
func (r *Reader) Read(ctx context.Context, raw string, o core.ReadOptions) (core.ReadResult, error) {
	p, err := r.pick(raw)
	if err != nil {
		return core.ReadResult{}, err
	}
	if p.added != nil {
		return p.added.Read(ctx, raw, o)
	}
	ctx, cancel := within(ctx, r.opts.ReadTimeout, p.url)
	defer cancel()
	return p.Read(ctx, p.url, o)
}

// ReadTree implements core.URLReaderService.
func (r *Reader) ReadTree(ctx context.Context, raw string, o core.TreeOptions) (core.TreeResult, error) {
	p, err := r.pick(raw)
	if err != nil {
		return nil, err
	}
	if p.added != nil {
		return p.added.ReadTree(ctx, raw, o)
	}
	ctx, cancel := within(ctx, r.opts.TreeTimeout, p.url)
	defer cancel()
	return p.ReadTree(ctx, p.url, o)
}

// Search implements core.URLReaderService. The files open under ctx.
func (r *Reader) Search(ctx context.Context, raw string, o core.ReadOptions) (core.SearchResult, error) {
	p, err := r.pick(raw)
	if err != nil {
		return core.SearchResult{}, err
	}
	if p.added != nil {
		return p.added.Search(ctx, raw, o)
	}
	return p.Search(withTimeouts(ctx, r.opts), p.url, o)
}

// Resolve implements core.URLReaderService.
func (r *Reader) Resolve(ref, base string) (string, error) {
	for _, e := range r.opts.Entries {
		if e.Matches(base) {
			return e.Reader.Resolve(ref, base)
		}
	}
	out, err := r.current.Load().hosts.Resolve(ref, base)
	if err != nil {
		return "", apierr.Input("%w", err)
	}
	return out, nil
}

// within bounds a read. That the time is over says nothing about the target.
func within(ctx context.Context, d time.Duration, u *url.URL) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, apierr.ServiceUnavailable("%s did not answer within %s", u.Host, d))
}

type timeoutsKey struct{}

// withTimeouts hands the time limits to a search, whose files are opened
// after it has returned.
func withTimeouts(ctx context.Context, o Options) context.Context {
	return context.WithValue(ctx, timeoutsKey{}, o)
}

func boundedSearch(ctx context.Context, u *url.URL) (context.Context, context.CancelFunc) {
	o, _ := ctx.Value(timeoutsKey{}).(Options)
	return within(ctx, max(o.TreeTimeout, time.Second), u)
}

func boundedOpen(ctx context.Context, u *url.URL) (context.Context, context.CancelFunc) {
	o, _ := ctx.Value(timeoutsKey{}).(Options)
	return within(ctx, max(o.ReadTimeout, time.Second), u)
}

// common is what all readers of hosts share.
type common struct {
	client  *hostclient.Client
	hosts   *integration.Hosts
	workDir string
}

// conditional adds the headers of a conditional read.
func conditional(h http.Header, o core.ReadOptions) {
	if o.ETag != "" {
		h.Set("If-None-Match", o.ETag)
	}
	if !o.LastModifiedAfter.IsZero() {
		h.Set("If-Modified-Since", o.LastModifiedAfter.UTC().Format(http.TimeFormat))
	}
}

// result turns an answer into a file, or into the error that it means.
func result(a *hostclient.Answer, u *url.URL) (core.ReadResult, error) {
	if err := statusError(a.Status, u); err != nil {
		return core.ReadResult{}, err
	}
	out := core.ReadResult{Content: content(a.Body), ETag: a.Header.Get("Etag")}
	if t, err := http.ParseTime(a.Header.Get("Last-Modified")); err == nil {
		out.LastModified = t
	}
	return out, nil
}

func statusError(status int, u *url.URL) error {
	where := integration.Redact(u.String())
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusNotModified:
		return apierr.NotModified("%s did not change", where)
	case http.StatusNotFound, http.StatusGone:
		return apierr.NotFound("%s was not found; if it exists, check the credentials for its host", where)
	case http.StatusUnauthorized, http.StatusForbidden:
		return apierr.New(apierr.KindError, "%s could not be read: its host refused the credentials with status %d", where, status)
	default:
		return apierr.New(apierr.KindError, "%s could not be read: its host answered with status %d", where, status)
	}
}

// unpack opens an archive and unpacks it, again if it broke off.
func (c common) unpack(ctx context.Context, u *url.URL, r hostclient.Request, o core.TreeOptions, a archive.Options) (*archive.Tree, error) {
	a.Dir, a.Filter = c.workDir, o.Filter
	a.Limits.UnpackedBytes = o.MaxBytes
	if o.MaxBytes <= 0 {
		a.Limits.UnpackedBytes = DefaultTreeBytes
	}
	var last error
	for range 2 {
		tree, err := c.unpackOnce(ctx, u, r, a)
		if err == nil || ctx.Err() != nil || !errors.Is(err, apierr.ServiceUnavailable("")) {
			return tree, err
		}
		last = err
	}
	return nil, last
}

func (c common) unpackOnce(ctx context.Context, u *url.URL, r hostclient.Request, a archive.Options) (*archive.Tree, error) {
	resp, err := c.client.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if err := statusError(resp.StatusCode, u); err != nil {
		return nil, err
	}
	tree, err := archive.Unpack(ctx, resp.Body, a)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", integration.Redact(u.String()), err)
	}
	return tree, nil
}

// segmentsPath escapes a path for a URL, segment by segment.
func segmentsPath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
