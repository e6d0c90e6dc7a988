package statuspage

import (
	"cmp"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/backend"
)

// Report is what the page shows, and the document of status.json. Lists are
// never null. Fields that say so are for the same machine only.
type Report struct {
	Name      string    `json:"name"`
	Phase     string    `json:"phase"`              // one of the Phase constants of package backend
	Error     string    `json:"error,omitempty"`    // why the start failed; same machine only
	StartedAt time.Time `json:"startedAt,omitzero"` // when the start began
	ReadyAt   time.Time `json:"readyAt,omitzero"`   // when everything had started
	Panics    int64     `json:"panics"`             // recovered panics, of plugins too
	Version   string    `json:"version,omitempty"`  // of the program; same machine only
	Go        string    `json:"go,omitempty"`       // version and platform; same machine only

	Plugins  []Plugin  `json:"plugins"`  // in the order of the installation
	Services []Service `json:"services"` // sorted by scope, plugin first, and id
	Other    []string  `json:"other"`    // mounted paths that belong to no plugin, sorted
	Warnings []string  `json:"warnings"` // about the wiring; same machine only
}

// Plugin is an installed plugin.
type Plugin struct {
	ID              string   `json:"id"`
	Description     string   `json:"description,omitempty"`
	State           string   `json:"state"`           // one of the State constants of package backend
	Error           string   `json:"error,omitempty"` // same machine only
	AllowedToFail   bool     `json:"allowedToFail"`
	Panics          int64    `json:"panics"`
	StartSeconds    float64  `json:"startSeconds"` // how long the start took, or takes so far
	Source          string   `json:"source,omitempty"`
	Path            string   `json:"path"`
	Routes          []Route  `json:"routes"` // by path and method
	ExtensionPoints []string `json:"extensionPoints"`
	Modules         []Module `json:"modules"`
	Needs           []string `json:"needs"` // services
}

// Module is an installed module.
type Module struct {
	ID            string   `json:"id"`
	Description   string   `json:"description,omitempty"`
	State         string   `json:"state"`
	Error         string   `json:"error,omitempty"` // same machine only
	AllowedToFail bool     `json:"allowedToFail"`
	StartSeconds  float64  `json:"startSeconds"`
	Source        string   `json:"source,omitempty"` // same machine only
	Uses          []string `json:"uses"`             // extension points
	Needs         []string `json:"needs"`            // services
}

// Route is a route of a plugin.
type Route struct {
	Method string `json:"method"` // "*" for every method
	Path   string `json:"path"`
}

// Service is a service that something uses.
type Service struct {
	ID         string   `json:"id"`
	Scope      string   `json:"scope"`             // "root" or "plugin"
	Origin     string   `json:"origin"`            // one of the Origin constants of package backend
	Decorated  int      `json:"decorated"`         // how many decorators are around it
	Instances  int      `json:"implementations"`   // more than one for a multiton
	Sources    []string `json:"sources,omitempty"` // same machine only
	Plugins    []string `json:"usedByPlugins"`
	Modules    []string `json:"usedByModules"` // "plugin/module"
	ByServices []string `json:"usedByServices"`
}

// Count returns how many plugins, modules and services use the service.
func (s Service) Count() int { return len(s.Plugins) + len(s.Modules) + len(s.ByServices) }

// report describes the backend now.
func (p *Page) report(details bool) Report {
	status, graph := p.instance.Status(), p.instance.Graph()
	if !details {
		status, graph = discreet(status, graph)
	}
	r := Report{
		Name: p.options.name, Phase: status.Phase, Error: status.Error, StartedAt: status.StartedAt, ReadyAt: status.ReadyAt,
		Panics: status.Panics, Plugins: []Plugin{}, Warnings: []string{},
	}
	if details {
		r.Version, r.Go = version(), runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH
	}
	for _, w := range graph.Warnings {
		r.Warnings = append(r.Warnings, w.Text+" ("+w.Site.String()+")")
	}
	own := map[string]bool{}
	for _, s := range status.Plugins {
		plugin := p.plugin(s, graph)
		own[plugin.Path] = true
		r.Panics += s.Panics
		r.Plugins = append(r.Plugins, plugin)
	}
	r.Services = services(graph)
	r.Other = append([]string{}, healthRoutes...)
	for _, path := range p.server.Mounts() {
		if !own[path] && !strings.HasPrefix(path, prefix) {
			r.Other = append(r.Other, path)
		}
	}
	slices.Sort(r.Other)
	return r
}

// healthRoutes are the routes that every backend has.
var healthRoutes = []string{"/.backstage/health/v1/liveness", "/.backstage/health/v1/readiness"}

// router is what mounted handlers implement that know their routes.
type router interface{ Routes() []string }

func (p *Page) plugin(s backend.PluginStatus, g backend.Graph) Plugin {
	out := Plugin{
		ID: s.ID, Description: s.Description, State: s.State, Error: s.Error, AllowedToFail: s.AllowedToFail, Panics: s.Panics,
		StartSeconds: s.Duration.Seconds(), Source: s.Source, Path: "/api/" + s.ID,
		Routes: []Route{}, ExtensionPoints: []string{}, Modules: []Module{}, Needs: targets(g, "plugin:"+s.ID, backend.EdgeNeeds),
	}
	if h, ok := p.server.Handler(out.Path); ok {
		out.Routes = routesOf(h)
	}
	for _, e := range g.ExtensionPoints {
		if e.Plugin == s.ID {
			out.ExtensionPoints = append(out.ExtensionPoints, e.ID)
		}
	}
	for _, m := range s.Modules {
		key := "module:" + s.ID + "/" + m.ID
		out.Modules = append(out.Modules, Module{
			ID: m.ID, Description: m.Description, State: m.State, Error: m.Error, AllowedToFail: m.AllowedToFail,
			StartSeconds: m.Duration.Seconds(), Source: m.Source,
			Uses: targets(g, key, backend.EdgeUses), Needs: targets(g, key, backend.EdgeNeeds),
		})
	}
	return out
}

// wrapper is what handlers implement that stand around another.
type wrapper interface{ Unwrap() http.Handler }

// routesOf returns the routes of a handler that knows them, or stands around
// one that does.
func routesOf(h http.Handler) []Route {
	out := []Route{}
	known, ok := h.(router)
	for !ok {
		around, isWrapper := h.(wrapper)
		if !isWrapper {
			return out
		}
		h = around.Unwrap()
		known, ok = h.(router)
	}
	for _, pattern := range known.Routes() {
		method, path, found := strings.Cut(pattern, " ")
		if !found {
			method, path = "*", pattern
		}
		out = append(out, Route{Method: method, Path: strings.TrimSpace(path)})
	}
	slices.SortStableFunc(out, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return out
}

// targets returns the ids at the other end of the edges of a kind, in their
// order.
func targets(g backend.Graph, from, kind string) []string {
	out := []string{}
	for _, e := range g.Edges {
		if e.From == from && e.Kind == kind {
			out = append(out, e.To[strings.IndexByte(e.To, ':')+1:])
		}
	}
	return out
}

func services(g backend.Graph) []Service {
	out := make([]Service, 0, len(g.Services))
	at := map[string]int{}
	for _, s := range g.Services {
		at["service:"+s.ID] = len(out)
		out = append(out, Service{
			ID: s.ID, Scope: s.Scope, Origin: s.Origin, Decorated: len(s.Decorators), Instances: len(s.Sources), Sources: nonEmpty(s.Sources),
			Plugins: []string{}, Modules: []string{}, ByServices: []string{},
		})
	}
	for _, e := range g.Edges {
		i, ok := at[e.To]
		if !ok || e.Kind != backend.EdgeNeeds {
			continue
		}
		s := &out[i]
		kind, id, _ := strings.Cut(e.From, ":")
		switch list := (map[string]*[]string{"plugin": &s.Plugins, "module": &s.Modules, "service": &s.ByServices})[kind]; {
		case list == nil, slices.Contains(*list, id):
		default:
			*list = append(*list, id)
		}
	}
	slices.SortFunc(out, func(a, b Service) int { return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.ID, b.ID)) })
	return out
}

// nonEmpty returns the texts that are not empty.
func nonEmpty(texts []string) []string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// discreet returns a status and a graph without what strangers may not know:
// errors, warnings, and places in the source.
func discreet(s backend.Status, g backend.Graph) (backend.Status, backend.Graph) {
	s.Error = ""
	s.Plugins = slices.Clone(s.Plugins)
	for i := range s.Plugins {
		p := &s.Plugins[i]
		p.Error, p.Source = "", ""
		p.Modules = slices.Clone(p.Modules)
		for k := range p.Modules {
			p.Modules[k].Error, p.Modules[k].Source = "", ""
		}
	}
	g.Warnings = nil
	g.Plugins, g.Modules, g.ExtensionPoints = slices.Clone(g.Plugins), slices.Clone(g.Modules), slices.Clone(g.ExtensionPoints)
	for i := range g.Plugins {
		g.Plugins[i].Source = ""
	}
	for i := range g.Modules {
		g.Modules[i].Source = ""
	}
	for i := range g.ExtensionPoints {
		g.ExtensionPoints[i].Source = ""
	}
	g.Services = slices.Clone(g.Services)
	for i := range g.Services {
		n := &g.Services[i]
		n.Sources, n.Decorators = make([]string, len(n.Sources)), make([]string, len(n.Decorators))
	}
	g.Edges = slices.Clone(g.Edges)
	for i := range g.Edges {
		g.Edges[i].Source = ""
	}
	return s, g
}

// version returns the version of the program as the Go tool recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return ""
	}
	return strings.Trim(info.Main.Version, "()")
}
