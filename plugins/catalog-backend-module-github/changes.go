package catalogmodulegithub

import "slices"

// fileChange is what a commit did to one file. status is that of the API of
// commits: added, removed, modified, changed, renamed, copied or unchanged.
type fileChange struct {
	Status   string `json:"status"`
	Path     string `json:"filename"`
	Previous string `json:"previous_filename"`
}

// outcome is what became of a path in all commits of a push together.
type outcome struct {
	what   string // added, removed, modified or renamed
	from   string // the path before the push, of renamed
	commit string // URL of the last commit that counted
}

// changes folds commits into what became of each path.
type changes struct {
	now   map[string]outcome
	seen  map[string]bool
	order []string // the seen paths, in the order in which they came
}

func newChanges() *changes { return &changes{now: map[string]outcome{}, seen: map[string]bool{}} }

// commit folds one commit. Its changes happen at once: a commit may exchange
// two files.
func (c *changes) commit(url string, files []fileChange) {
	before := map[string]outcome{}
	look := func(path string) {
		if o, ok := c.now[path]; ok {
			before[path] = o
		}
	}
	for _, f := range files {
		look(f.Path)
		look(f.Previous)
	}
	written := map[string]bool{}
	set := func(path string, o outcome) {
		if !c.seen[path] {
			c.seen[path] = true
			c.order = append(c.order, path)
		}
		o.commit = url
		c.now[path], written[path] = o, true
	}
	// gone takes a path away that this commit has not made anew.
	gone := func(path string) {
		if !written[path] {
			delete(c.now, path)
		}
	}
	for _, f := range files {
		old, known := before[f.Path]
		switch f.Status {
		case "added", "copied":
			switch {
			case !known:
				set(f.Path, outcome{what: "added"})
			case old.what == "removed":
				set(f.Path, outcome{what: "modified"})
			}
		case "modified", "changed":
			if !known {
				set(f.Path, outcome{what: "modified"})
			}
		case "removed":
			gone(f.Path)
			switch {
			case !known || old.what == "modified" || old.what == "removed":
				set(f.Path, outcome{what: "removed"})
			case old.what == "renamed":
				c.lost(old.from, set)
			}
		case "renamed":
			c.rename(f, before, set, gone)
		}
	}
}

// lost notes that a path that was there before the push is there no more,
// unless something took its place.
func (c *changes) lost(path string, set func(string, outcome)) {
	if _, taken := c.now[path]; !taken {
		set(path, outcome{what: "removed"})
	}
}

func (c *changes) rename(f fileChange, before map[string]outcome, set func(string, outcome), gone func(string)) {
	old, known := before[f.Previous]
	from := f.Previous
	if known && old.what == "renamed" {
		from = old.from
	}
	gone(f.Previous)
	switch target, there := before[f.Path]; {
	case there && target.what == "removed":
		// The path had a file before the push, and has one again.
		set(f.Path, outcome{what: "modified"})
		if !known || old.what != "added" {
			c.lost(from, set)
		}
	case known && old.what == "added":
		set(f.Path, outcome{what: "added"})
	case from == f.Path:
		set(f.Path, outcome{what: "modified"}) // there and back
	default:
		set(f.Path, outcome{what: "renamed", from: from})
	}
}

// result is what became of a path, for which [changes] have an outcome.
type result struct {
	path string
	outcome
}

// results returns what became of the paths that count. A file that is renamed
// from or to one that does not count is added or removed. Renames come first,
// and in an order in which they can be done one after the other; files that
// took each other's place were modified.
func (c *changes) results(counts func(path string) bool) []result {
	var renames, rest []result
	for _, path := range c.order {
		o, ok := c.now[path]
		if !ok {
			continue
		}
		r := result{path, o}
		switch {
		case o.what != "renamed":
			if counts(path) {
				rest = append(rest, r)
			}
		case counts(path) && counts(o.from):
			renames = append(renames, r)
		case counts(path):
			r.what = "added"
			rest = append(rest, r)
		case counts(o.from):
			if _, taken := c.now[o.from]; !taken {
				rest = append(rest, result{o.from, outcome{what: "removed", commit: o.commit}})
			}
		}
	}
	return append(inTurn(renames), rest...)
}

// inTurn orders renames so that each moves to where no other is yet.
func inTurn(renames []result) (out []result) {
	froms := map[string]int{}
	for _, r := range renames {
		froms[r.from]++
	}
	for len(renames) > 0 {
		free := slices.DeleteFunc(slices.Clone(renames), func(r result) bool { return froms[r.path] > 0 })
		if len(free) == 0 {
			for _, r := range renames {
				r.what, r.from = "modified", ""
				out = append(out, r)
			}
			return out
		}
		renames = slices.DeleteFunc(renames, func(r result) bool { return froms[r.path] == 0 })
		for _, r := range free {
			froms[r.from]--
		}
		out = append(out, free...)
	}
	return out
}
