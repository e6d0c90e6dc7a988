// Package redact replaces known secrets in text, also where they are written
// as parts of JSON, of HTML, of URLs, in base64 or in hexadecimal digits, and
// the lines of those that have several.
//
//	var r redact.Redactor
//	r.Add("hunter2-hunter2")
//	line = r.Redact(line)
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Mask is what stands in place of a secret.
const Mask = "***"

// Shortest is the length of the shortest secret that is looked for, in bytes.
const Shortest = 2

// minEncoded is the length from which on the base64 form of a secret is
// looked for; shorter ones occur by chance.
const minEncoded = 8

// maxEncoded is the length up to which forms other than JSON are looked for:
// each costs memory.
const maxEncoded = 16 << 10

// Redactor replaces secrets. The zero value knows none. It is safe for
// concurrent use; text is searched without locks, in one pass however many
// secrets there are.
type Redactor struct {
	mu       sync.Mutex
	known    map[string]bool
	listed   map[string]bool // patterns
	patterns []string
	machine  atomic.Pointer[machine]
}

// Add makes secrets known. Space around them does not count, and what is
// shorter than two bytes is ignored. Secrets are never forgotten. It returns
// how many were new.
func (r *Redactor) Add(secrets ...string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	added := 0
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		if len(s) < Shortest || r.known[s] {
			continue
		}
		if r.known == nil {
			r.known, r.listed = map[string]bool{}, map[string]bool{}
		}
		r.known[s] = true
		added++
		for _, part := range append(lines(s), s) {
			for _, form := range forms(part) {
				if !r.listed[form] {
					r.listed[form] = true
					r.patterns = append(r.patterns, form)
				}
			}
		}
	}
	if added > 0 {
		r.machine.Store(build(r.patterns))
	}
	return added
}

// Redact replaces all secrets in line. It returns line itself if there are
// none, and never changes it.
func (r *Redactor) Redact(line []byte) []byte {
	m := r.machine.Load()
	if m == nil {
		return line
	}
	spans := m.find(line)
	if len(spans) == 0 {
		return line
	}
	out := make([]byte, 0, len(line))
	end := 0
	for _, s := range spans {
		out = append(out, line[end:s.begin]...)
		out = append(out, Mask...)
		end = s.end
	}
	return append(out, line[end:]...)
}

var escapes = regexp.MustCompile("%[0-9A-F]{2}")

// minLine is the length from which on a line of a secret is one itself.
const minLine = 16

// lines returns the lines of a secret with several, such as a private key;
// those that frame it are none.
func lines(s string) (list []string) {
	if !strings.Contains(s, "\n") {
		return nil
	}
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); len(line) >= minLine && !strings.HasPrefix(line, "-----") {
			list = append(list, line)
		}
	}
	return list
}

// forms returns how a secret may appear in text.
func forms(s string) []string {
	list := []string{s}
	add := func(form string) {
		if len(form) > 1 && !slices.Contains(list, form) {
			list = append(list, form)
		}
	}
	for _, escapeHTML := range []bool{false, true} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escapeHTML)
		if enc.Encode(s) == nil {
			quoted := strings.TrimSuffix(b.String(), "\n")
			once := quoted[1 : len(quoted)-1]
			add(once)
			if twice, err := json.Marshal(once); err == nil && escapeHTML {
				add(string(twice[1 : len(twice)-1])) // JSON in a string of JSON
			}
		}
	}
	if len(s) > maxEncoded {
		return list
	}
	for _, form := range []string{url.QueryEscape(s), url.PathEscape(s), strings.ReplaceAll(url.QueryEscape(s), "+", "%20")} {
		add(form)
		add(escapes.ReplaceAllStringFunc(form, strings.ToLower))
	}
	add(html.EscapeString(s))
	if len(s) < minEncoded {
		return list
	}
	add(hex.EncodeToString([]byte(s)))
	add(strings.ToUpper(hex.EncodeToString([]byte(s))))
	// A secret within base64 looks different for each place modulo three;
	// the first and last characters depend on its neighbours.
	for shift := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(append(make([]byte, shift), s...))
			begin := []int{0, 2, 3}[shift]
			end := len(encoded)
			if (shift+len(s))%3 != 0 {
				end--
			}
			add(encoded[begin:end])
		}
	}
	return list
}

type span struct{ begin, end int }

// machine finds many patterns in one pass (Aho and Corasick).
type machine struct {
	root  [256]int32 // from the start state
	nodes []node
}

type node struct {
	edges  []edge // sorted by b
	fail   int32
	length int32 // of the longest pattern that ends here; 0 if none
}

type edge struct {
	b  byte
	to int32
}

func (n *node) next(b byte) (int32, bool) {
	if len(n.edges) < 8 {
		for _, e := range n.edges {
			if e.b == b {
				return e.to, true
			}
		}
		return 0, false
	}
	i, ok := slices.BinarySearchFunc(n.edges, b, func(e edge, b byte) int { return int(e.b) - int(b) })
	if !ok {
		return 0, false
	}
	return n.edges[i].to, true
}

func build(patterns []string) *machine {
	m := &machine{nodes: make([]node, 1)}
	for _, p := range patterns {
		state := int32(0)
		for i := range len(p) {
			next, ok := m.nodes[state].next(p[i])
			if !ok {
				next = int32(len(m.nodes))
				m.nodes = append(m.nodes, node{})
				edges := m.nodes[state].edges
				at, _ := slices.BinarySearchFunc(edges, p[i], func(e edge, b byte) int { return int(e.b) - int(b) })
				m.nodes[state].edges = slices.Insert(edges, at, edge{p[i], next})
			}
			state = next
		}
		m.nodes[state].length = int32(len(p))
	}
	var queue []int32
	for _, e := range m.nodes[0].edges {
		m.root[e.b] = e.to
		queue = append(queue, e.to)
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		for _, e := range m.nodes[state].edges {
			m.nodes[e.to].fail = m.step(m.nodes[state].fail, e.b)
			if longest := m.nodes[m.nodes[e.to].fail].length; m.nodes[e.to].length == 0 {
				m.nodes[e.to].length = longest
			}
			queue = append(queue, e.to)
		}
	}
	return m
}

// step returns the state after a byte.
func (m *machine) step(state int32, b byte) int32 {
	for state != 0 {
		if next, ok := m.nodes[state].next(b); ok {
			return next
		}
		state = m.nodes[state].fail
	}
	return m.root[b]
}

// find returns where patterns are, in order; overlapping ones are joined.
func (m *machine) find(line []byte) []span {
	var spans []span
	state := int32(0)
	for i, b := range line {
		if state == 0 {
			if state = m.root[b]; state == 0 {
				continue
			}
		} else {
			state = m.step(state, b)
		}
		if n := int(m.nodes[state].length); n > 0 {
			s := span{i + 1 - n, i + 1}
			for len(spans) > 0 && spans[len(spans)-1].end > s.begin {
				s.begin = min(s.begin, spans[len(spans)-1].begin)
				spans = spans[:len(spans)-1]
			}
			spans = append(spans, s)
		}
	}
	return spans
}
