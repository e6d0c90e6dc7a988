package query

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// Projection is the list of fields that a client wants of each entity. It
// works on the stored JSON text and decodes nothing but the names on its way.
type Projection struct {
	fields [][]string
	key    string
}

// String returns the fields; equal projections have equal texts.
func (p *Projection) String() string {
	if p == nil {
		return ""
	}
	return p.key
}

// ParseFields reads the values of the parameter fields: dotted paths, comma
// separated. It returns nil, for whole entities, where none is named.
func ParseFields(values []string) (*Projection, error) {
	seen := map[string]bool{}
	p := &Projection{}
	for _, v := range values {
		for field := range strings.SplitSeq(v, ",") {
			field = strings.TrimSpace(field)
			if field == "" || seen[field] {
				continue
			}
			if strings.Contains(field, "[") {
				return nil, apierr.Input("Invalid field %q, array type fields are not supported", field)
			}
			seen[field] = true
			p.fields = append(p.fields, strings.Split(field, "."))
			if p.key != "" {
				p.key += ","
			}
			p.key += field
		}
	}
	if len(p.fields) == 0 {
		return nil, nil
	}
	return p, nil
}

// node is a part of the projected entity: a copied value, or an object of
// parts.
type node struct {
	key  string
	raw  []byte
	kids []*node
}

// Append appends what the projection keeps of the entity, a JSON object. A
// nil projection keeps all, and null stays null.
func (p *Projection) Append(dst, entity []byte) []byte {
	if p == nil || !bytes.HasPrefix(entity, []byte("{")) {
		return append(dst, entity...)
	}
	var root node
	for _, path := range p.fields {
		root.pick(entity, path)
	}
	return root.append(dst)
}

// pick adds the value at path of the object to n. A member name may span
// several parts of the path, since names may contain dots; the shortest
// member that leads on wins.
func (n *node) pick(object []byte, path []string) {
	name := path[0]
	for i := 1; ; i++ {
		if value, ok := member(object, name); ok {
			if i == len(path) {
				kid := n.kid(name)
				kid.raw, kid.kids = value, nil
				return
			}
			if value[0] == '{' {
				kid := n.kid(name)
				if kid.raw == nil { // else the whole is there already
					kid.pick(value, path[i:])
					n.dropEmpty()
				}
			}
			return
		}
		if i == len(path) {
			return
		}
		name += "." + path[i]
	}
}

func (n *node) kid(name string) *node {
	for _, k := range n.kids {
		if k.key == name {
			return k
		}
	}
	k := &node{key: name}
	n.kids = append(n.kids, k)
	return k
}

// dropEmpty forgets a part that turned out to hold nothing.
func (n *node) dropEmpty() {
	if last := n.kids[len(n.kids)-1]; last.raw == nil && len(last.kids) == 0 {
		n.kids = n.kids[:len(n.kids)-1]
	}
}

func (n *node) append(dst []byte) []byte {
	if n.raw != nil {
		return append(dst, n.raw...)
	}
	dst = append(dst, '{')
	for i, k := range n.kids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsonvalue.AppendString(dst, k.key)
		dst = append(dst, ':')
		dst = k.append(dst)
	}
	return append(dst, '}')
}

// member returns the text of a member of a JSON object. The text is what this
// catalog stored, so it is well-formed and without white space.
func member(object []byte, name string) ([]byte, bool) {
	i := 1
	for i < len(object) && object[i] == '"' {
		end := i + stringLen(object[i:])
		key := object[i+1 : end-1]
		from := end + 1 // behind the colon
		to := from + valueLen(object[from:])
		if equalKey(key, name) {
			return object[from:to], true
		}
		i = to + 1 // behind the comma
	}
	return nil, false
}

func equalKey(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted) == name
	}
	var s string
	return json.Unmarshal(append(append([]byte{'"'}, quoted...), '"'), &s) == nil && s == name
}

// stringLen returns the length of the JSON string that b begins with.
func stringLen(b []byte) int {
	for i := 1; i < len(b); {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			break
		}
		i += quote + 1
		// A quote is a part of the string behind an odd number of backslashes.
		escapes := 0
		for b[i-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
	return len(b)
}

// valueLen returns the length of the JSON value that b begins with.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringLen(b[i:]) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of a scalar's parent
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}
