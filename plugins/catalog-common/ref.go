package catalogcommon

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Ref names an entity. The zero value names nothing.
//
// The parts keep the case they were written in; String gives the canonical,
// lower-case form, and two refs name the same entity if their Strings are
// equal. All refs in databases, relations, search rows and API results are in
// that form.
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// RefDefaults fills the parts that a short reference leaves out.
type RefDefaults struct {
	// Kind is the kind of references without one. If it is empty too, such
	// references are an error.
	Kind string
	// Namespace is the namespace of references without one; DefaultNamespace if empty.
	Namespace string
}

// ParseRef reads a reference of the form [kind:][namespace/]name.
//
// A colon behind the first slash belongs to the name. The case of the parts is
// kept. The error is a *RefError.
func ParseRef(ref string, defaults RefDefaults) (Ref, error) {
	if ref == "" {
		return Ref{}, &RefError{Reason: RefEmpty}
	}
	colon, slash := strings.IndexByte(ref, ':'), strings.IndexByte(ref, '/')
	if slash >= 0 && slash < colon {
		colon = -1
	}
	out := Ref{Kind: defaults.Kind, Namespace: defaults.Namespace}
	malformed := false
	if colon >= 0 {
		out.Kind = ref[:colon]
		malformed = out.Kind == ""
	}
	if slash >= 0 {
		out.Namespace = ref[colon+1 : slash]
		malformed = malformed || out.Namespace == ""
	}
	out.Name = ref[max(colon, slash)+1:]
	if malformed || out.Name == "" {
		return Ref{}, &RefError{Ref: ref, Reason: RefMalformed}
	}
	if out.Kind == "" {
		return Ref{}, &RefError{Ref: ref, Reason: RefWithoutKind}
	}
	if out.Namespace == "" {
		out.Namespace = DefaultNamespace
	}
	return out, nil
}

// String returns kind:namespace/name in lower case. A missing namespace is
// written as DefaultNamespace.
func (r Ref) String() string {
	namespace := r.Namespace
	if namespace == "" {
		namespace = DefaultNamespace
	}
	var room [96]byte // most refs fit: the text is their only allocation
	text := append(append(append(append(append(room[:0], r.Kind...), ':'), namespace...), '/'), r.Name...)
	for i, c := range text {
		switch {
		case c >= utf8.RuneSelf:
			return strings.ToLower(string(text))
		case 'A' <= c && c <= 'Z':
			text[i] = c + ('a' - 'A')
		}
	}
	return string(text)
}

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Equal reports whether two refs name the same entity.
func (r Ref) Equal(other Ref) bool { return r.String() == other.String() }

// RefFromValue reads a reference from a JSON value: a string, or an object
// with kind, namespace and name, the long form of older clients.
func RefFromValue(v any, defaults RefDefaults) (Ref, error) {
	switch v := v.(type) {
	case string:
		return ParseRef(v, defaults)
	case map[string]any:
		out := Ref{Kind: stringAt(v, "kind"), Namespace: stringAt(v, "namespace"), Name: stringAt(v, "name")}
		if out.Kind == "" {
			out.Kind = defaults.Kind
		}
		if out.Namespace == "" {
			out.Namespace = defaults.Namespace
		}
		if out.Namespace == "" {
			out.Namespace = DefaultNamespace
		}
		text, _ := json.Marshal(v)
		if out.Kind == "" {
			return Ref{}, &RefError{Ref: string(text), Reason: RefWithoutKind}
		}
		if out.Name == "" {
			return Ref{}, &RefError{Ref: string(text), Reason: RefMalformed}
		}
		return out, nil
	case nil:
		return Ref{}, &RefError{Reason: RefEmpty}
	default:
		return Ref{}, &RefError{Ref: fmt.Sprint(v), Reason: RefMalformed}
	}
}

// RefReason says what is wrong with an entity reference.
type RefReason int

const (
	// RefEmpty: there is no text at all.
	RefEmpty RefReason = iota + 1
	// RefMalformed: the text has an empty kind, namespace or name.
	RefMalformed
	// RefWithoutKind: the text states no kind and the context has no default.
	RefWithoutKind
)

// RefError reports a text that is no entity reference.
type RefError struct {
	Ref    string
	Reason RefReason
}

// Error returns the message that catalog clients see.
func (e *RefError) Error() string {
	switch e.Reason {
	case RefEmpty:
		return "Entity reference must not be empty"
	case RefWithoutKind:
		return `Entity reference "` + e.Ref + `" had missing or empty kind (e.g. did not start with "component:" or similar)`
	default:
		return `Entity reference "` + e.Ref + `" was not on the form [<kind>:][<namespace>/]<name>`
	}
}

// ErrorName returns the name of the error in serialised form.
func (e *RefError) ErrorName() string {
	if e.Reason == RefMalformed {
		return "TypeError"
	}
	return "Error"
}
