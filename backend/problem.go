package backend

import (
	"fmt"
	"strconv"
	"strings"
)

// Site is a declaration: what was declared, and where.
type Site struct {
	What   string `json:"what"`   // such as `plugin "catalog"`
	Source string `json:"source"` // "dir/file.go:line"
}

func (s Site) String() string { return s.What + " (" + s.Source + ")" }

// Problem is one thing that is wrong with the wiring of a backend. Each kind of
// problem is a type of its own; find one with errors.As.
type Problem interface {
	error           // what is wrong, in one line
	Sites() []Site  // the declarations involved
	Remedy() string // what to do about it
}

// maxSites bounds how many declarations a message lists for one problem.
const maxSites = 10

// ValidationError holds every problem of a wiring.
type ValidationError struct{ Problems []Problem }

// Error lists the problems, each with the declarations involved and the remedy.
func (e *ValidationError) Error() string {
	var b strings.Builder
	if n := len(e.Problems); n == 1 {
		b.WriteString("invalid wiring: 1 problem")
	} else {
		b.WriteString("invalid wiring: " + strconv.Itoa(n) + " problems")
	}
	for i, p := range e.Problems {
		fmt.Fprintf(&b, "\n%d. %s", i+1, indent(p.Error()))
		sites := p.Sites()
		for k, s := range sites {
			if k == maxSites {
				fmt.Fprintf(&b, "\n     and %d more", len(sites)-maxSites)
				break
			}
			fmt.Fprintf(&b, "\n     at %s: %s", s.Source, s.What)
		}
		if r := p.Remedy(); r != "" {
			fmt.Fprintf(&b, "\n     fix: %s", r)
		}
	}
	return b.String()
}

// Unwrap returns the problems, for errors.As.
func (e *ValidationError) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// MissingServiceError: something needs a service that has no implementation.
type MissingServiceError struct {
	Service   string
	Scope     string // "root" or "plugin"
	Consumers []Site // everything that needs it
	Similar   string // the id of an installed service that was likely meant, or ""
}

func (e *MissingServiceError) Error() string {
	return fmt.Sprintf("missing service %q: no factory was added, and the service has no default", e.Service)
}

// Sites returns the consumers.
func (e *MissingServiceError) Sites() []Site { return e.Consumers }

// Remedy names a service that was likely meant.
func (e *MissingServiceError) Remedy() string {
	if e.Similar != "" {
		return fmt.Sprintf("did you mean %q? Else add a factory of the service to the backend", e.Similar)
	}
	return "add a factory of the service to the backend"
}

// MissingExtensionPointError: a module needs, or a decorator wraps, an
// extension point that nothing offers.
type MissingExtensionPointError struct {
	ExtensionPoint string
	Plugin         string // the owner
	Consumer       Site
	Installed      bool     // whether the owner is installed
	Offered        []string // the extension points that the owner offers
	Similar        string   // one of them that was likely meant, or ""
}

func (e *MissingExtensionPointError) Error() string {
	if !e.Installed {
		return fmt.Sprintf("missing extension point %q: its plugin %q is not installed", e.ExtensionPoint, e.Plugin)
	}
	return fmt.Sprintf("missing extension point %q: neither plugin %q nor its modules offer it", e.ExtensionPoint, e.Plugin)
}

// Sites returns the consumer.
func (e *MissingExtensionPointError) Sites() []Site { return []Site{e.Consumer} }

// Remedy names an extension point that was likely meant.
func (e *MissingExtensionPointError) Remedy() string {
	switch {
	case !e.Installed:
		return fmt.Sprintf("add plugin %q to the backend, or leave this out", e.Plugin)
	case e.Similar != "":
		return fmt.Sprintf("did you mean %q?", e.Similar)
	case len(e.Offered) > 0:
		return "offered are " + quoteAll(e.Offered) + "; use a version of the plugin that offers the one needed, or the module that does"
	}
	return "use a version of the plugin that offers it, or add the module that does"
}

// DuplicateError: two features claim one id.
type DuplicateError struct {
	Kind          string // "plugin", "module", "extension point", "service factory" or "decorator"
	ID            string // a module's id is "<plugin>/<module>"
	First, Second Site
	FirstAdded    string // where they were added to the backend, if known
	SecondAdded   string
}

func (e *DuplicateError) Error() string { return fmt.Sprintf("duplicate %s %q", e.Kind, e.ID) }

// Sites returns both declarations, and where they were added.
func (e *DuplicateError) Sites() []Site {
	sites := []Site{e.First, e.Second}
	if e.FirstAdded != "" && e.SecondAdded != "" {
		sites = append(sites, Site{"added first", e.FirstAdded}, Site{"added again", e.SecondAdded})
	}
	return sites
}

// Remedy says which one to remove.
func (e *DuplicateError) Remedy() string {
	switch e.Kind {
	case "service factory":
		return "add one factory; to change an implementation instead of replacing it, use Decorate"
	case "extension point":
		return "offer it once"
	case "decorator":
		return "add it once"
	}
	return "add it once, or give one of them another id"
}

// CycleError: services, or the modules of a plugin, need each other in a
// circle. The path ends with what it begins with.
type CycleError struct {
	Kind   string // "service" or "module"
	Plugin string // of modules
	Path   []Site // each with the position at which it declares its need of the next
}

func (e *CycleError) Error() string {
	names := make([]string, len(e.Path))
	for i, s := range e.Path {
		names[i] = s.What
	}
	if e.Kind == "module" {
		return fmt.Sprintf("modules of plugin %q wait for each other: %s", e.Plugin, strings.Join(names, " -> "))
	}
	return "services need each other: " + strings.Join(names, " -> ")
}

// Sites returns the steps of the path.
func (e *CycleError) Sites() []Site {
	verb := " needs "
	if e.Kind == "module" {
		verb = " waits for "
	}
	sites := make([]Site, 0, len(e.Path))
	for i, s := range e.Path[:max(len(e.Path)-1, 0)] {
		sites = append(sites, Site{s.What + verb + e.Path[i+1].What, s.Source})
	}
	return sites
}

// Remedy says how cycles are broken.
func (e *CycleError) Remedy() string {
	if e.Kind == "module" {
		return "a module that offers an extension point starts after the modules that use it; split one of them"
	}
	return "split one of the services so that both sides need the part that they share"
}

// ConflictError: two references or extension points with one id differ in
// type, in scope, or in being a multiton.
type ConflictError struct {
	Kind          string // "service" or "extension point"
	ID            string
	First, Second Site
	FirstIs       string // such as "a root service of type *slog.Logger"
	SecondIs      string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %q is %s here and %s there", e.Kind, e.ID, e.FirstIs, e.SecondIs)
}

// Sites returns both uses.
func (e *ConflictError) Sites() []Site { return []Site{e.First, e.Second} }

// Remedy says how to make them agree.
func (e *ConflictError) Remedy() string {
	return "use one exported reference everywhere, or give one of them another id"
}

// ForeignExtensionPointError: an extension point is used or offered outside of
// the plugin that it belongs to.
type ForeignExtensionPointError struct {
	ExtensionPoint string
	Owner          string // the plugin that it belongs to
	Offered        bool   // offered, not used
	By             Site
}

func (e *ForeignExtensionPointError) Error() string {
	verb := "use"
	if e.Offered {
		verb = "offer"
	}
	return fmt.Sprintf("%s may not %s extension point %q: it belongs to plugin %q", e.By.What, verb, e.ExtensionPoint, e.Owner)
}

// Sites returns the use.
func (e *ForeignExtensionPointError) Sites() []Site { return []Site{e.By} }

// Remedy says how plugins talk to each other instead.
func (e *ForeignExtensionPointError) Remedy() string {
	if e.Offered {
		return "offer an extension point whose owner is the plugin itself"
	}
	return fmt.Sprintf("make it a module of plugin %q, or talk to that plugin over its API", e.Owner)
}

// OrphanModuleError: a module extends a plugin that is not installed.
type OrphanModuleError struct {
	Plugin, Module string
	At             Site
	Similar        string // an installed plugin that was likely meant, or ""
}

func (e *OrphanModuleError) Error() string {
	return fmt.Sprintf("module %q extends plugin %q, which is not installed", e.Module, e.Plugin)
}

// Sites returns the module.
func (e *OrphanModuleError) Sites() []Site { return []Site{e.At} }

// Remedy says how to install the plugin, or how to leave it out.
func (e *OrphanModuleError) Remedy() string {
	s := fmt.Sprintf("add plugin %q, remove the module, or choose the plugins to run with Backend.Only, which leaves out the modules of the others", e.Plugin)
	if e.Similar != "" {
		s = fmt.Sprintf("did you mean %q? Else ", e.Similar) + s
	}
	return s
}

// BuiltInError: a service that the backend provides itself was replaced or
// decorated.
type BuiltInError struct {
	Service     string
	At          Site
	Decoratable bool // whether it may be decorated
}

func (e *BuiltInError) Error() string {
	if e.Decoratable {
		return fmt.Sprintf("service %q is built in and cannot be replaced", e.Service)
	}
	return fmt.Sprintf("service %q is built in and can be neither replaced nor decorated", e.Service)
}

// Sites returns the factory or decorator.
func (e *BuiltInError) Sites() []Site { return []Site{e.At} }

// Remedy says what to do instead.
func (e *BuiltInError) Remedy() string {
	if e.Decoratable {
		return "use Decorate or DecorateRoot"
	}
	return "remove the " + strings.SplitN(e.At.What, " ", 2)[0]
}

// InvalidIDError: the id of a plugin, module, service or extension point
// cannot be one.
type InvalidIDError struct {
	Kind string // "plugin", "module", "service" or "extension point"
	ID   string
	At   Site
}

func (e *InvalidIDError) Error() string {
	if strings.TrimSpace(e.ID) == "" {
		return fmt.Sprintf("a %s has no id", e.Kind)
	}
	return fmt.Sprintf("%q cannot be the id of a %s", e.ID, e.Kind)
}

// Sites returns the declaration.
func (e *InvalidIDError) Sites() []Site { return []Site{e.At} }

// Remedy says what an id looks like.
func (e *InvalidIDError) Remedy() string {
	switch e.Kind {
	case "plugin", "module":
		return "use letters and digits in groups separated by single dashes, starting with a letter, such as \"my-plugin2\""
	}
	return "give it an id, such as \"plugin.name\""
}

// ImpureDeclareError: two calls of a declare function declared different
// things.
type ImpureDeclareError struct {
	At     Site
	Detail string
}

func (e *ImpureDeclareError) Error() string {
	return fmt.Sprintf("the declare function of %s is not pure: %s", e.At.What, e.Detail)
}

// Sites returns the declaration.
func (e *ImpureDeclareError) Sites() []Site { return []Site{e.At} }

// Remedy says where choices belong.
func (e *ImpureDeclareError) Remedy() string {
	return "declare the same needs and offers on each call, and let the function that declare returns make choices"
}

// DeclarePanicError: a declare function panicked.
type DeclarePanicError struct {
	At    Site
	Panic *PanicError
}

func (e *DeclarePanicError) Error() string {
	return fmt.Sprintf("the declare function of %s panicked: %v", e.At.What, e.Panic.Value)
}

// Sites returns the declaration, and where it panicked.
func (e *DeclarePanicError) Sites() []Site {
	return []Site{e.At, {"panicked here", e.Panic.Source}}
}

// Remedy says what declare functions are for.
func (e *DeclarePanicError) Remedy() string {
	return "only declare needs and offers there; whatever can fail belongs in the function that declare returns"
}

// NilFunctionError: a function that the backend has to call is nil.
type NilFunctionError struct {
	At       Site
	Function string // "declare", "init", "make", "load", "root context", "offer" or "wrap"
}

func (e *NilFunctionError) Error() string {
	return fmt.Sprintf("%s has no %s function", e.At.What, e.Function)
}

// Sites returns the declaration.
func (e *NilFunctionError) Sites() []Site { return []Site{e.At} }

// Remedy says what to return.
func (e *NilFunctionError) Remedy() string {
	switch e.Function {
	case "declare":
		return "pass a declare function"
	case "offer":
		return "pass OfferFunc a function"
	case "wrap":
		return "pass DecorateExtensionPoint a function"
	}
	return "return a function from declare, if only one that does nothing"
}

// NilFeatureError: nil, a zero value, or a type of another package that embeds
// a feature, was added as a feature.
type NilFeatureError struct {
	At   Site
	Type string // of what was added, empty for nil and zero values
}

func (e *NilFeatureError) Error() string {
	if e.Type != "" {
		return "a " + e.Type + " is not a feature"
	}
	return "a nil feature was added"
}

// Sites returns the call of Add.
func (e *NilFeatureError) Sites() []Site { return []Site{e.At} }

// Remedy says how features are made.
func (e *NilFeatureError) Remedy() string {
	return "add what NewPlugin, NewModule, NewServiceFactory and their siblings return"
}

// DefaultFactoryError: the default factory of a service cannot serve it.
type DefaultFactoryError struct {
	Service string
	At      Site
	Detail  string
}

func (e *DefaultFactoryError) Error() string {
	return fmt.Sprintf("the default factory of service %q cannot be used: %s", e.Service, e.Detail)
}

// Sites returns the reference.
func (e *DefaultFactoryError) Sites() []Site { return []Site{e.At} }

// Remedy says what the function of WithDefault has to return.
func (e *DefaultFactoryError) Remedy() string {
	return "let the function given to WithDefault return a factory of the reference that it receives"
}

// LateFactoryError: a feature loader yielded a factory or a decorator of a
// service that an earlier feature loader has used.
type LateFactoryError struct {
	Service string
	At      Site
	Loader  Site
}

func (e *LateFactoryError) Error() string {
	return fmt.Sprintf("service %q was already in use when %s yielded the %s", e.Service, e.Loader.What, e.At.What)
}

// Sites returns the factory and the loader.
func (e *LateFactoryError) Sites() []Site { return []Site{e.At, e.Loader} }

// Remedy says how to override it in time.
func (e *LateFactoryError) Remedy() string {
	return "add the factory explicitly, or let a loader that needs less run first"
}

// UnknownPluginError: [Backend.Only] names a plugin that is not installed.
type UnknownPluginError struct {
	Plugin    string
	At        Site
	Installed []string
	Similar   string // an installed plugin that was likely meant, or ""
}

func (e *UnknownPluginError) Error() string {
	return fmt.Sprintf("plugin %q was chosen to run, but is not installed", e.Plugin)
}

// Sites returns the call of Only.
func (e *UnknownPluginError) Sites() []Site { return []Site{e.At} }

// Remedy names the plugins that there are.
func (e *UnknownPluginError) Remedy() string {
	s := "no plugin is installed"
	if len(e.Installed) > 0 {
		s = "installed are " + quoteAll(e.Installed)
	}
	if e.Similar != "" {
		s = fmt.Sprintf("did you mean %q? %s", e.Similar, upperFirst(s))
	}
	return s
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func quoteAll(ids []string) string {
	const most = 20
	q := make([]string, 0, len(ids))
	for i, id := range ids {
		if i == most {
			q = append(q, fmt.Sprintf("%d more", len(ids)-most))
			break
		}
		q = append(q, strconv.Quote(id))
	}
	return strings.Join(q, ", ")
}

// LoaderError: a feature loader failed.
type LoaderError struct {
	Loader Site
	Err    error
}

func (e *LoaderError) Error() string {
	return fmt.Sprintf("%s failed: %v", e.Loader, e.Err)
}

// Unwrap returns the error of the loader.
func (e *LoaderError) Unwrap() error { return e.Err }
