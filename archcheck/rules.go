package archcheck

import (
	"fmt"
	"slices"
	"strings"
)

// Rule names what a finding violates.
type Rule string

const (
	// RuleImplementation: the backend package of a plugin and the packages of
	// modules are imported by main packages only. Plugins reach each other over
	// the wire, and modules reach their plugin through extension points.
	RuleImplementation Rule = "implementation-import"
	// RuleShared: packages that everybody may import (-node, -common) import no
	// implementation, and -common, which is for pure functions, no -node.
	RuleShared Rule = "shared-import"
	// RuleContracts: plugins and modules know the contracts of services
	// (package core), not the default implementations, nor what assembles
	// backends.
	RuleContracts Rule = "contracts-only"
	// RuleNames: what is in a folder plugins is named as the architecture names
	// it, and so is its Go package.
	RuleNames Rule = "package-name"
	// RuleGoroutine: plugins and modules start no goroutine with a plain go
	// statement: nobody would wait for it, and a panic in it would end the
	// process.
	RuleGoroutine Rule = "goroutine-owner"
	// RuleLayers: the packages of the framework import only what is below them.
	// It concerns the framework's own repository.
	RuleLayers Rule = "layers"
)

// framework is the module of the framework.
const framework = "github.com/flytower/flytower"

// kind is what a package is in the architecture.
type kind int

const (
	other kind = iota
	implementation
	extension // a module
	node
	common
)

// family is the folder that a package belongs to.
type family struct {
	kind   kind
	plugin string
	module string // of an extension
	// path is the import path of the folder.
	path string
}

// goName returns the name that the Go package in the folder should have.
func (f family) goName() string {
	name := strings.ReplaceAll(f.plugin, "-", "")
	switch f.kind {
	case implementation:
		return name + "backend"
	case extension:
		return name + "module" + strings.ReplaceAll(f.module, "-", "")
	case node:
		return name + "node"
	default:
		return name + "common"
	}
}

func (f family) String() string {
	switch f.kind {
	case implementation:
		return fmt.Sprintf("the implementation of the plugin %q", f.plugin)
	case extension:
		return fmt.Sprintf("the module %q of the plugin %q", f.module, f.plugin)
	case node:
		return fmt.Sprintf("the package for others of the plugin %q", f.plugin)
	default:
		return fmt.Sprintf("the common package of the plugin %q", f.plugin)
	}
}

// hidden reports whether only main packages may import the family.
func (f family) hidden() bool { return f.kind == implementation || f.kind == extension }

// familyOf finds the family of an import path. The innermost folder with a
// name of the architecture counts.
func familyOf(path string) family {
	parts := strings.Split(path, "/")
	for i, name := range slices.Backward(parts) {
		if f := familyOfFolder(name); f.kind != other {
			f.path = strings.Join(parts[:i+1], "/")
			return f
		}
	}
	return family{}
}

func familyOfFolder(name string) family {
	if plugin, module, ok := strings.Cut(name, "-backend-module-"); ok && plugin != "" && module != "" {
		return family{kind: extension, plugin: plugin, module: module}
	}
	for suffix, k := range map[string]kind{"-backend": implementation, "-node": node, "-common": common} {
		if plugin, ok := strings.CutSuffix(name, suffix); ok && plugin != "" {
			return family{kind: k, plugin: plugin}
		}
	}
	return family{}
}

// layer says what packages of the framework must not import.
type layer struct {
	// of are the packages, relative to the framework; a pattern that ends in
	// /... is a folder with everything in it.
	of []string
	// standardOnly forbids everything but the standard library.
	standardOnly bool
	// forbidden are whole import paths, or patterns that end in /..., relative
	// to the framework if they begin with a dot. What is imported by way of
	// others counts, too.
	forbidden []string
	why       string
}

var (
	assembly = []string{".", "./command/...", "./backendtest/...", "./internal/distribution/..."}
	drivers  = []string{
		"github.com/jackc/...", "modernc.org/...", "github.com/valkey-io/...", "github.com/bradfitz/...",
		"go.opentelemetry.io/otel/sdk/...", "go.opentelemetry.io/otel/exporters/...", "github.com/prometheus/...",
	}
	layers = []layer{
		{
			of: []string{"./backend/...", "./apierr/..."}, standardOnly: true,
			why: "it is what everything else stands on, and needs nothing but the standard library; move what needs the import up, to package core or to a default service",
		},
		{
			of: []string{"./core/..."}, forbidden: append(append([]string{"./defaults/...", "./plugins/..."}, assembly...), drivers...),
			why: "package core is contracts only; put what needs the import into the default implementation below defaults",
		},
		{
			of: []string{"./defaults/..."}, forbidden: append([]string{"./plugins/..."}, assembly...),
			why: "default services know neither plugins nor what assembles backends; ask for what is needed through a reference in package core",
		},
		{
			of:        []string{".", "./command/...", "./backendtest/...", "./archcheck/...", "./configschema/..."},
			forbidden: []string{"./plugins/...", "./internal/distribution/...", "./examples/..."},
			why:       "the framework knows no plugin; main packages add them",
		},
	}
)

// matches reports whether an import path fits a pattern.
func matches(path, pattern string) bool {
	if rest, ok := strings.CutPrefix(pattern, "."); ok {
		pattern = framework + rest
	}
	if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == folder || strings.HasPrefix(path, folder+"/")
	}
	return path == pattern
}

func matchesAny(path string, patterns []string) bool {
	for _, p := range patterns {
		if matches(path, p) {
			return true
		}
	}
	return false
}
