package backend

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxCycles bounds how many cycles are reported for one knot of services.
const maxCycles = 20

// findServiceCycles reports each cycle of services once. It looks for knots
// (strongly connected components) in linear time, and within a knot for the
// shortest cycle through each edge.
func (w *wiring) findServiceCycles() {
	var stack []*node
	next := 0
	var visit func(n *node)
	visit = func(n *node) {
		next++
		n.index, n.low = next, next
		stack = append(stack, n)
		n.onStack = true
		for _, e := range n.edges {
			if e.to.index == 0 {
				visit(e.to)
				n.low = min(n.low, e.to.low)
			} else if e.to.onStack {
				n.low = min(n.low, e.to.index)
			}
		}
		if n.low != n.index {
			return
		}
		i := slices.Index(stack, n)
		knot := slices.Clone(stack[i:])
		stack = stack[:i]
		for _, m := range knot {
			m.onStack = false
		}
		w.reportKnot(knot)
	}
	for _, n := range w.order {
		if n.used && n.index == 0 {
			visit(n)
		}
	}
}

func (w *wiring) reportKnot(knot []*node) {
	in := map[*node]bool{}
	for _, n := range knot {
		in[n] = true
	}
	seen := map[string]bool{}
	for _, n := range knot {
		for _, e := range n.edges {
			if !in[e.to] || len(seen) >= maxCycles {
				continue
			}
			path := shortestPath(e, n, in)
			if path == nil {
				continue
			}
			key := cycleKey(path)
			if seen[key] {
				continue
			}
			seen[key] = true
			w.problem(&CycleError{Kind: "service", Path: cyclePath(path)})
		}
	}
}

// step is a node of a path, with the edge that leaves it.
type step struct {
	n *node
	e edge
}

// shortestPath returns the shortest cycle that begins with the edge first of
// node from.
func shortestPath(first edge, from *node, in map[*node]bool) []step {
	if first.to == from {
		return []step{{from, first}}
	}
	prev := map[*node]step{}
	queue := []*node{first.to}
	seen := map[*node]bool{first.to: true}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, e := range n.edges {
			if !in[e.to] {
				continue
			}
			if e.to == from {
				path := []step{{n, e}}
				for n != first.to {
					s := prev[n]
					path = append(path, s)
					n = s.n
				}
				path = append(path, step{from, first})
				slices.Reverse(path)
				return path
			}
			if !seen[e.to] {
				seen[e.to] = true
				prev[e.to] = step{n, e}
				queue = append(queue, e.to)
			}
		}
	}
	return nil
}

// cycleKey is the same for a cycle wherever it begins.
func cycleKey(path []step) string {
	ids := make([]string, len(path))
	for i, s := range path {
		ids[i] = s.n.service.id
	}
	least := 0
	for i, id := range ids {
		if id < ids[least] {
			least = i
		}
	}
	return strings.Join(append(ids[least:len(ids):len(ids)], ids[:least]...), "\x00")
}

// cyclePath renders a cycle, beginning with the service whose id is least.
func cyclePath(path []step) []Site {
	least := 0
	for i, s := range path {
		if s.n.service.id < path[least].n.service.id {
			least = i
		}
	}
	sites := make([]Site, 0, len(path)+1)
	for i := range path {
		s := path[(least+i)%len(path)]
		sites = append(sites, Site{strconv.Quote(s.n.service.id), sourceOf(s.e.pc)})
	}
	return append(sites, sites[0])
}

// orderModules finds out which modules of a plugin wait for which: a module
// that offers an extension point starts after those that use it.
func (w *wiring) orderModules() {
	for _, pl := range w.plugins {
		mods := w.modules[pl.plugin]
		users := map[string][]*part{}
		for _, m := range mods {
			for _, n := range m.decl.first.needs {
				if n.point != nil && n.point.plugin == m.plugin && !slices.Contains(users[n.point.id], m) {
					users[n.point.id] = append(users[n.point.id], m)
				}
			}
		}
		for _, m := range mods {
			for _, o := range m.decl.first.offers {
				if of := w.points[o.point.id]; of == nil || of.by != m {
					continue
				}
				m.after = append(m.after, users[o.point.id]...)
			}
		}
		w.findModuleCycles(pl.plugin, mods)
	}
}

func (w *wiring) findModuleCycles(plugin string, mods []*part) {
	const (
		active = 1
		done   = 2
	)
	state := map[*part]int{}
	var path []*part
	var visit func(m *part)
	visit = func(m *part) {
		state[m] = active
		path = append(path, m)
		for _, a := range m.after {
			switch state[a] {
			case 0:
				visit(a)
			case active:
				i := slices.Index(path, a)
				var sites []Site
				for _, p := range append(slices.Clone(path[i:]), a) {
					sites = append(sites, Site{strconv.Quote(p.module), sourceOf(p.pc)})
				}
				w.problem(&CycleError{Kind: "module", Plugin: plugin, Path: sites})
			}
		}
		path = path[:len(path)-1]
		state[m] = done
	}
	for _, m := range mods {
		if state[m] == 0 {
			visit(m)
		}
	}
}

// nearest returns the id that was likely meant by a mistyped one, or "".
func nearest(id string, ids []string) string {
	best, bestN := "", max(1, min(3, len(id)/3))+1
	for _, have := range ids {
		if have == id {
			continue
		}
		if strings.EqualFold(have, id) {
			return have
		}
		if n := distance(id, have); n < bestN {
			best, bestN = have, n
		}
	}
	return best
}

// distance is the number of single letters to insert, delete, replace or swap
// with their neighbour to turn one string into the other.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 4
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
