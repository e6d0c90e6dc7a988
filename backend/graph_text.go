package backend

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// JSON writes the graph as indented JSON.
func (g Graph) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(g)
}

// Text writes the graph as an outline for people: each plugin with what it
// offers and needs and with its modules, and then the services.
func (g Graph) Text(w io.Writer) error {
	out := bufio.NewWriter(w)
	from := map[string][]Edge{}
	for _, e := range g.Edges {
		from[e.From] = append(from[e.From], e)
	}
	list := func(indent, key, kind, label string) {
		var ids []string
		for _, e := range from[key] {
			if e.Kind != kind {
				continue
			}
			id := e.To[strings.IndexByte(e.To, ':')+1:]
			if e.Optional {
				id += "?"
			}
			ids = append(ids, id)
		}
		if len(ids) > 0 {
			fmt.Fprintf(out, "%s%s %s\n", indent, label, strings.Join(ids, ", "))
		}
	}
	for _, p := range g.Plugins {
		fmt.Fprintf(out, "plugin %s  %s\n", p.ID, p.Source)
		if p.Description != "" {
			fmt.Fprintf(out, "    %s\n", p.Description)
		}
		list("    ", "plugin:"+p.ID, EdgeOffers, "offers")
		list("    ", "plugin:"+p.ID, EdgeNeeds, "needs ")
		for _, m := range g.Modules {
			if m.Plugin != p.ID {
				continue
			}
			key := "module:" + m.Plugin + "/" + m.ID
			fmt.Fprintf(out, "  module %s  %s\n", m.ID, m.Source)
			if m.Description != "" {
				fmt.Fprintf(out, "      %s\n", m.Description)
			}
			list("      ", key, EdgeOffers, "offers")
			list("      ", key, EdgeUses, "uses  ")
			list("      ", key, EdgeNeeds, "needs ")
		}
	}
	for _, s := range g.Services {
		notes := []string{s.Scope, s.Origin}
		if s.Multiton {
			notes = append(notes, fmt.Sprintf("%d implementations", len(s.Sources)))
		}
		if n := len(s.Decorators); n > 0 {
			notes = append(notes, fmt.Sprintf("decorated %d times", n))
		}
		line := fmt.Sprintf("service %s  (%s)  %s", s.ID, strings.Join(notes, ", "), strings.Join(s.Sources, ", "))
		fmt.Fprintln(out, strings.TrimRight(line, " "))
		list("    ", "service:"+s.ID, EdgeNeeds, "needs ")
	}
	for _, warning := range g.Warnings {
		fmt.Fprintf(out, "warning: %s  %s\n", warning.Text, warning.Site.Source)
	}
	return out.Flush()
}

// DOT writes the graph in the language of Graphviz.
func (g Graph) DOT(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "digraph backend {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];")
	for i, p := range g.Plugins {
		fmt.Fprintf(out, "  subgraph cluster_%d {\n    label=%q;\n    %q [label=%q, style=\"rounded,bold\"];\n", i, p.ID, "plugin:"+p.ID, p.ID)
		for _, m := range g.Modules {
			if m.Plugin == p.ID {
				fmt.Fprintf(out, "    %q [label=%q];\n", "module:"+m.Plugin+"/"+m.ID, m.ID)
			}
		}
		for _, e := range g.ExtensionPoints {
			if e.Plugin == p.ID {
				fmt.Fprintf(out, "    %q [label=%q, shape=ellipse, style=solid];\n", "extensionPoint:"+e.ID, e.ID)
			}
		}
		fmt.Fprintln(out, "  }")
	}
	for _, s := range g.Services {
		style := "solid"
		if s.Scope == "root" {
			style = "bold"
		}
		fmt.Fprintf(out, "  %q [label=%q, style=%s];\n", "service:"+s.ID, s.ID, style)
	}
	for _, e := range g.Edges {
		attr := ""
		switch {
		case e.Kind == EdgeExtends:
			attr = " [style=dotted, arrowhead=none]"
		case e.Kind == EdgeOffers:
			attr = " [arrowhead=odot]"
		case e.Optional:
			attr = " [style=dashed]"
		}
		fmt.Fprintf(out, "  %q -> %q%s;\n", e.From, e.To, attr)
	}
	fmt.Fprintln(out, "}")
	return out.Flush()
}
