package statuspage

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/thismachine"
)

// Page shows the state of a backend.
type Page struct {
	server   core.HTTPRoot
	instance backend.Instance
	options  options
}

// New returns the page of a backend. [NewFactory] also mounts it.
func New(config core.Config, server core.HTTPRoot, instance backend.Instance, opts ...Option) (*Page, error) {
	p := &Page{server: server, instance: instance, options: options{name: "Flytower"}}
	for _, opt := range opts {
		opt(&p.options)
	}
	if p.options.audience == "" {
		var err error
		if p.options.audience, err = readAudience(config); err != nil {
			return nil, err
		}
	}
	return p, nil
}

const (
	prefix = "/.flytower/"
	// pagePath is also the index of the server: it gets the requests that
	// nothing is mounted for.
	pagePath   = prefix + "status"
	reportPath = prefix + "status.json"
	wiringPath = prefix + "wiring.svg"
	// frontend is the plugin whose page / is.
	frontend = "app"
)

//go:embed assets
var assets embed.FS

// pageTemplate is parsed once; it is a constant of the program.
var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"clock":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"duration":  duration,
	"plural":    plural,
	"plural64":  func(n int64, one, many string) string { return plural(int(n), one, many) },
	"linkable":  func(path string) bool { return !strings.Contains(path, ":") },
	"breakable": breakable,
	"origin":    origin,
	"failures":  failures,
}).ParseFS(assets, "assets/page.html"))

func (p *Page) mount() error {
	if p.options.audience == AudienceOff {
		return nil
	}
	handlers := map[string]http.HandlerFunc{
		pagePath:   p.servePage,
		reportPath: p.serveReport,
		wiringPath: p.serveWiring,
	}
	for name, contentType := range map[string]string{
		"status.css": "text/css; charset=utf-8",
		"status.js":  "text/javascript; charset=utf-8",
		"icon.svg":   "image/svg+xml",
	} {
		h, err := asset(name, contentType)
		if err != nil {
			return err
		}
		handlers[prefix+name] = h
	}
	for path, h := range handlers {
		if err := p.server.Use(path, p.guard(h)); err != nil {
			return fmt.Errorf("status page: %w", err)
		}
	}
	return nil
}

// guard answers 404 to those who may not see the page, and to what is not a
// read of the mounted path itself.
func (p *Page) guard(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !read || r.URL.Path != "/" || p.options.audience != AudiencePublic && !thismachine.Asks(r) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		next(w, r)
	})
}

// pagePolicy is stricter than the policy of the backend, which also sends the
// browser to HTTPS for what the page needs, where there may be none.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

func (p *Page) servePage(w http.ResponseWriter, r *http.Request) {
	base := "" // of what the page refers to
	switch path, _, _ := strings.Cut(r.RequestURI, "?"); {
	case !strings.HasPrefix(path, "/."):
		if p.frontendComes() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		base = prefix[1:]
	case strings.HasSuffix(path, "/"):
		base = "../"
	}
	details := thismachine.Asks(r)
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, view{Report: p.report(details), Base: base, Details: details, Audience: p.options.audience}); err != nil {
		panic(fmt.Errorf("the status page: %w", err)) // the template does not fit the report
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	_, _ = w.Write(page.Bytes()) // the client may be gone
}

// frontendComes reports whether / will belong to the frontend as soon as its
// routes are mounted. From then on it passes on what it does not serve.
func (p *Page) frontendComes() bool {
	if _, mounted := p.server.Handler("/api/" + frontend); mounted {
		return false
	}
	return slices.ContainsFunc(p.instance.Status().Plugins, func(s backend.PluginStatus) bool { return s.ID == frontend })
}

func (p *Page) serveReport(w http.ResponseWriter, r *http.Request) {
	apierr.WriteJSON(w, http.StatusOK, p.report(thismachine.Asks(r)))
}

func (p *Page) serveWiring(w http.ResponseWriter, r *http.Request) {
	g := p.instance.Graph()
	if !thismachine.Asks(r) {
		_, g = discreet(backend.Status{}, g)
	}
	var picture bytes.Buffer
	if err := g.SVG(&picture); err != nil {
		panic(fmt.Errorf("the picture of the wiring: %w", err)) // a buffer does not fail
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'")
	_, _ = w.Write(picture.Bytes()) // the client may be gone
}

// asset serves an embedded file.
func asset(name, contentType string) (http.HandlerFunc, error) {
	content, err := assets.ReadFile("assets/" + name)
	if err != nil {
		return nil, fmt.Errorf("status page: %w", err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(content) // the client may be gone
	}, nil
}

// view is what the template shows.
type view struct {
	Report
	Base     string
	Details  bool
	Audience Audience
}

// duration formats seconds for people.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return "under 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// ModuleCount returns the number of installed modules.
func (v view) ModuleCount() (n int) {
	for _, p := range v.Plugins {
		n += len(p.Modules)
	}
	return n
}

// ExtensionPointCount returns the number of extension points that are offered.
func (v view) ExtensionPointCount() (n int) {
	for _, p := range v.Plugins {
		n += len(p.ExtensionPoints)
	}
	return n
}

// RouteCount returns the number of routes of all plugins.
func (v view) RouteCount() (n int) {
	for _, p := range v.Plugins {
		n += len(p.Routes)
	}
	return n
}

// ReadyAfter returns how long the start took, for people.
func (v view) ReadyAfter() string { return duration(v.ReadyAt.Sub(v.StartedAt).Seconds()) }

// UsedBy returns how many use the service, for people.
func (s Service) UsedBy() string {
	var parts []string
	for _, kind := range []struct {
		n         int
		one, many string
	}{{len(s.Plugins), "plugin", "plugins"}, {len(s.Modules), "module", "modules"}, {len(s.ByServices), "service", "services"}} {
		if kind.n > 0 {
			parts = append(parts, plural(kind.n, kind.one, kind.many))
		}
	}
	return strings.Join(parts, ", ")
}

// breakable lets a narrow page break a text after dots and slashes.
func breakable(text string) template.HTML {
	escaped := template.HTMLEscapeString(text)
	return template.HTML(strings.NewReplacer(".", ".<wbr>", "/", "/<wbr>").Replace(escaped)) //nolint:gosec // it was escaped
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// origin says in words where a service comes from.
func origin(s Service) string {
	text := map[string]string{
		backend.OriginBuiltIn: "built in",
		backend.OriginDefault: "default",
		backend.OriginRef:     "default of its reference",
		backend.OriginAdded:   "added",
		backend.OriginLoader:  "from a feature loader",
	}[s.Origin]
	if text == "" {
		text = s.Origin
	}
	switch {
	case s.Decorated == 1:
		text += ", decorated"
	case s.Decorated > 1:
		text += fmt.Sprintf(", decorated %d times", s.Decorated)
	}
	return text
}

// failure is a plugin or module that did not start.
type failure struct{ Kind, ID, Error string }

func failures(plugins []Plugin) []failure {
	var out []failure
	for _, p := range plugins {
		for _, m := range p.Modules {
			if m.State == backend.StateFailed {
				out = append(out, failure{"module", p.ID + "/" + m.ID, m.Error})
			}
		}
		if p.State == backend.StateFailed {
			out = append(out, failure{"plugin", p.ID, p.Error})
		}
	}
	return out
}
