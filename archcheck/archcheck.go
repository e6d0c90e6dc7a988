package archcheck

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Finding is a violation of a rule.
type Finding struct {
	// File is relative to the module, with slashes.
	File string `json:"file"`
	// Line counts from 1; 0 is the file or folder as a whole.
	Line int  `json:"line,omitempty"`
	Rule Rule `json:"rule"`
	// Problem says what is wrong, Remedy what to do about it.
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// String returns the finding in one line, in the form that editors know.
func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s: %s: %s; %s", at, f.Rule, f.Problem, f.Remedy)
}

// Check looks at all packages of the module that dir is in, at or below dir,
// and returns what violates a rule, by file and line. It runs go list, so it
// needs the Go toolchain, and the modules that are required.
func Check(ctx context.Context, dir string) ([]Finding, error) {
	r, err := load(ctx, dir)
	if err != nil {
		return nil, err
	}
	c := checker{repository: r}
	for _, p := range r.own {
		for _, check := range []func(*pkg) error{c.imports, c.names, c.goroutines, c.layers} {
			if err := check(p); err != nil {
				return nil, fmt.Errorf("check package %s: %w", p.ImportPath, err)
			}
		}
	}
	slices.SortFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(string(a.Rule), string(b.Rule)))
	})
	return c.findings, nil
}

type checker struct {
	*repository
	findings []Finding
}

// imported adds a finding at the import of a path.
func (c *checker) imported(p *pkg, path string, rule Rule, problem, remedy string) error {
	at, err := p.importing(path)
	c.findings = append(c.findings, Finding{at.file, at.line, rule, problem, remedy})
	return err
}

// family returns the family of a package. In other modules, folders that only
// look like those of plugins are told apart: what does not need the framework
// is no plugin.
func (c *checker) family(p *pkg) family {
	if p.Standard {
		return family{}
	}
	f := familyOf(p.ImportPath)
	if p.ours() {
		// The name of a module counts only if the module is one part of a
		// plugin, not if it is a backend with plugins in it.
		root := c.packages[p.Module.Path]
		if len(f.path) <= len(p.Module.Path) && (root == nil || root.Name == "main") {
			return family{}
		}
		return f
	}
	if f.hidden() && !slices.Contains(p.Imports, framework+"/backend") {
		return family{}
	}
	return f
}

// composes reports whether a package assembles backends.
func composes(p *pkg) bool {
	return p.Name == "main" || slices.Contains(strings.Split(p.ImportPath, "/"), "distribution")
}

func (c *checker) imports(p *pkg) error {
	if composes(p) {
		return nil
	}
	from := c.family(p)
	for _, path := range p.Imports {
		q := c.packages[path]
		if q == nil {
			continue
		}
		if from.kind != other && assembles(path) {
			if err := c.imported(p, path, RuleContracts,
				fmt.Sprintf("%s imports %s", from, path),
				"ask for the service through its reference in package core; only main packages and tests know implementations"); err != nil {
				return err
			}
			continue
		}
		to := c.family(q)
		if to.path == from.path {
			continue
		}
		var err error
		switch {
		case to.hidden() && (from.kind == node || from.kind == common):
			err = c.imported(p, path, RuleShared, fmt.Sprintf("%s imports %s (%s)", from, to, path),
				"what both need belongs into the importing package, which the implementation may import")
		case to.hidden():
			err = c.imported(p, path, RuleImplementation, fmt.Sprintf("%s imports %s (%s), which only main packages may", describe(from, p), to, path), remedy(from, to))
		case from.kind == common && to.kind == node:
			err = c.imported(p, path, RuleShared, fmt.Sprintf("%s imports %s (%s)", from, to, path),
				"a common package has wire types and pure functions only; move what needs the import to a -node package")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// assembles reports whether an import path is above plugins.
func assembles(path string) bool {
	return matchesAny(path, []string{".", "./defaults/...", "./command/...", "./backendtest/..."})
}

func describe(f family, p *pkg) string {
	if f.kind == other {
		return "package " + p.ImportPath
	}
	return f.String()
}

func remedy(from, to family) string {
	switch {
	case from.kind == extension && from.plugin == to.plugin:
		return fmt.Sprintf("use an extension point of %s-node; what both share belongs there or into %s-common", to.plugin, to.plugin)
	case from.kind == other:
		return fmt.Sprintf("add the feature in a main package, or import what is shared from %s-node or %s-common", to.plugin, to.plugin)
	default:
		return fmt.Sprintf("plugins reach each other over the wire: use the client in %s-node, or core.PluginClient; types that both know belong into %s-common", to.plugin, to.plugin)
	}
}

func (c *checker) names(p *pkg) error {
	f := c.family(p)
	rest, in := belowPlugins(p)
	if f.kind == other {
		if !in || p.Name == "main" {
			return nil
		}
		at, err := p.clause()
		c.findings = append(c.findings, Finding{at.file, at.line, RuleNames,
			fmt.Sprintf("the folder plugins/%s is named for no part of a plugin", rest),
			"call it <id>-backend, <id>-node, <id>-common or <id>-backend-module-<name>, or move it out of the folder plugins"})
		return err
	}
	if p.ImportPath != f.path || p.Name == f.goName() || p.Name == "main" || p.Name == "" {
		return nil
	}
	at, err := p.clause()
	c.findings = append(c.findings, Finding{at.file, at.line, RuleNames,
		fmt.Sprintf("the package in the folder %s is called %s", path.Base(f.path), p.Name), "call it " + f.goName()})
	return err
}

// belowPlugins returns the folder of a package below a folder plugins.
func belowPlugins(p *pkg) (folder string, ok bool) {
	rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/")
	parts := strings.Split(rel, "/")
	i := slices.Index(parts, "plugins")
	if i < 0 || i+1 >= len(parts) {
		return "", false
	}
	return parts[i+1], true
}

func (c *checker) goroutines(p *pkg) error {
	if c.family(p).kind == other {
		return nil
	}
	found, err := p.goStatements()
	for _, at := range found {
		c.findings = append(c.findings, Finding{at.file, at.line, RuleGoroutine, "a go statement in a plugin starts a goroutine that nobody waits for, and whose panic ends the process",
			"use Go of core.Lifecycle for what goes on in the background, and sync.WaitGroup.Go or an errgroup, with its Wait, for what ends with the call"})
	}
	return err
}

func (c *checker) layers(p *pkg) error {
	if p.Module.Path != framework {
		return nil
	}
	for _, l := range layers {
		if !matchesAny(p.ImportPath, l.of) || composes(p) {
			continue
		}
		bad := func(q *pkg) bool {
			if l.standardOnly {
				return !q.Standard && !matchesAny(q.ImportPath, l.of)
			}
			return matchesAny(q.ImportPath, l.forbidden)
		}
		if err := c.layer(p, l, bad); err != nil {
			return err
		}
	}
	if own, ok := defaultService(p.ImportPath); ok {
		return c.layer(p, layer{why: "default services know each other through the references in package core only"}, func(q *pkg) bool {
			theirs, ok := defaultService(q.ImportPath)
			return ok && theirs != own
		})
	}
	return nil
}

// layer reports the imports of a package by which it reaches a bad one.
func (c *checker) layer(p *pkg, l layer, bad func(*pkg) bool) error {
	for _, path := range p.Imports {
		q := c.packages[path]
		if q == nil || matchesAny(path, l.of) && !bad(q) {
			continue // reported where it imports something itself
		}
		chain := []string{path}
		if !bad(q) {
			further := c.path(q, bad)
			if further == nil {
				continue
			}
			chain = append(chain, further...)
		}
		if err := c.imported(p, path, RuleLayers, fmt.Sprintf("package %s imports %s", p.ImportPath, strings.Join(chain, ", which imports ")), l.why); err != nil {
			return err
		}
	}
	return nil
}

// defaultService returns the folder of a default service.
func defaultService(path string) (folder string, ok bool) {
	rest, ok := strings.CutPrefix(path, framework+"/defaults/")
	folder, _, _ = strings.Cut(rest, "/")
	return folder, ok
}
