// Package query is the language in which clients ask the catalog for
// entities: predicates, filter parameters, projections and cursors. It is
// pure: package read translates it to SQL.
//
//	p, err := query.ParseFilters([]string{"kind=component,spec.type=service"})
//
// All keys and values in it are lower case; the catalog compares
// case-insensitively.
package query

import (
	"maps"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// Predicate is a condition on entities, seen as a set of search rows (key,
// value). It is one of [All], [Any], [Not], [Exists], [In] and [HasPrefix].
type Predicate interface{ predicate() }

type (
	// All holds if all members do; of none, it does.
	All []Predicate
	// Any holds if a member does; of none, it does not.
	Any []Predicate
	// Not holds if its member does not.
	Not struct{ Predicate Predicate }
	// Exists holds if the entity has the key, whatever its value.
	Exists struct{ Key string }
	// In holds if the key has one of the values.
	In struct {
		Key    string
		Values []string
	}
	// HasPrefix holds if a value of the key begins with the prefix.
	HasPrefix struct{ Key, Prefix string }
)

func (All) predicate()       {}
func (Any) predicate()       {}
func (Not) predicate()       {}
func (Exists) predicate()    {}
func (In) predicate()        {}
func (HasPrefix) predicate() {}

// Both returns the predicate that holds if p and q do; nil is no condition.
func Both(p, q Predicate) Predicate {
	switch {
	case p == nil:
		return q
	case q == nil:
		return p
	default:
		return All{p, q}
	}
}

// ParseFilters reads the values of the repeated query parameter filter: a
// comma is "and", a repetition is "or", a key that is named twice in one value
// may have either value. It returns nil where nothing is asked.
func ParseFilters(values []string) (Predicate, error) {
	var sets Any
	for _, text := range values {
		set, err := parseFilterSet(text)
		if err != nil {
			return nil, err
		}
		if len(set) > 0 {
			sets = append(sets, unwrap(set))
		}
	}
	if size(sets) > maxNodes {
		return nil, apierr.Input("Invalid filter, it has more than %d conditions and values", maxNodes)
	}
	switch len(sets) {
	case 0:
		return nil, nil
	case 1:
		return sets[0], nil
	default:
		return sets, nil
	}
}

// size returns how many conditions and values a predicate has.
func size(p Predicate) int {
	n := 1
	switch p := p.(type) {
	case All:
		for _, m := range p {
			n += size(m)
		}
	case Any:
		for _, m := range p {
			n += size(m)
		}
	case Not:
		n += size(p.Predicate)
	case In:
		n += len(p.Values)
	}
	return n
}

func unwrap(set All) Predicate {
	if len(set) == 1 {
		return set[0]
	}
	return set
}

func parseFilterSet(text string) (All, error) {
	values := map[string][]string{}
	var keys []string // in order of appearance
	for statement := range strings.SplitSeq(text, ",") {
		statement = strings.TrimSpace(statement)
		if statement == "" {
			continue
		}
		key, value, hasValue := strings.Cut(statement, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if key == "" {
			return nil, apierr.Input("Invalid filter, '%s' is not a valid statement (expected a string on the form a=b or a= or a)", statement)
		}
		if _, seen := values[key]; !seen {
			keys = append(keys, key)
			values[key] = nil
		}
		if hasValue {
			values[key] = append(values[key], strings.ToLower(strings.TrimSpace(value)))
		}
	}
	var set All
	for _, key := range keys {
		// Values absorb a bare key beside them.
		if vs := values[key]; len(vs) > 0 {
			set = append(set, In{Key: key, Values: vs})
		} else {
			set = append(set, Exists{Key: key})
		}
	}
	return set, nil
}

// Bounds of a predicate: more is refused, so that a request cannot make the
// server recurse or build SQL without end.
const (
	maxDepth = 64
	maxNodes = 20_000
)

// Parse reads a predicate from a decoded JSON value.
func Parse(v any) (Predicate, error) {
	if _, ok := v.(map[string]any); !ok {
		return nil, invalid("expected an object")
	}
	p := &parser{}
	return p.predicate(v, 0)
}

type parser struct{ nodes int }

func invalid(format string, args ...any) error {
	return apierr.Input("Invalid query: Validation error: "+format, args...)
}

func (p *parser) predicate(v any, depth int) (Predicate, error) {
	if p.nodes++; depth > maxDepth || p.nodes > maxNodes {
		return nil, invalid("the query nests deeper than %d levels or has more than %d conditions", maxDepth, maxNodes)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("expected an object, found %s", jsonvalue.TypeOf(v))
	}
	for key := range m {
		if strings.HasPrefix(key, "$") && len(m) > 1 {
			return nil, invalid("the operator %q must stand alone", key)
		}
	}
	all := All{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		member, err := p.member(key, m[key], depth)
		if err != nil {
			return nil, err
		}
		all = append(all, member)
	}
	return unwrap(all), nil
}

func (p *parser) member(key string, v any, depth int) (Predicate, error) {
	switch key {
	case "$all", "$any":
		list, ok := v.([]any)
		if !ok {
			return nil, invalid("%s expects an array", key)
		}
		members := make([]Predicate, 0, len(list))
		for _, item := range list {
			member, err := p.predicate(item, depth+1)
			if err != nil {
				return nil, err
			}
			members = append(members, member)
		}
		if key == "$all" {
			return All(members), nil
		}
		return Any(members), nil
	case "$not":
		member, err := p.predicate(v, depth+1)
		if err != nil {
			return nil, err
		}
		return Not{member}, nil
	}
	if strings.HasPrefix(key, "$") {
		return nil, invalid("unknown operator %q", key)
	}
	return p.field(key, v)
}

func (p *parser) field(key string, v any) (Predicate, error) {
	name := strings.ToLower(key)
	if s, ok := scalar(v); ok {
		return In{Key: name, Values: []string{s}}, nil
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return nil, invalid("field %q expects a string, number, boolean or one operator", key)
	}
	for op, arg := range m {
		switch op {
		case "$exists":
			want, ok := arg.(bool)
			if !ok {
				return nil, invalid("$exists of field %q expects a boolean", key)
			}
			if want {
				return Exists{name}, nil
			}
			return Not{Exists{name}}, nil
		case "$in":
			values, err := p.scalars(arg)
			if err != nil {
				return nil, invalid("$in of field %q: %s", key, err.Error())
			}
			if len(values) == 0 {
				return Any{}, nil
			}
			return In{name, values}, nil
		case "$hasPrefix":
			s, ok := arg.(string)
			if !ok {
				return nil, invalid("$hasPrefix of field %q expects a string", key)
			}
			return HasPrefix{name, strings.ToLower(s)}, nil
		case "$contains":
			return p.contains(key, arg)
		default:
			return nil, invalid("unknown operator %q of field %q", op, key)
		}
	}
	return nil, invalid("field %q expects an operator", key)
}

// contains reads the array operator: of a scalar it is equality, of an object
// it is known for relations only.
func (p *parser) contains(key string, arg any) (Predicate, error) {
	if s, ok := scalar(arg); ok {
		return In{strings.ToLower(key), []string{s}}, nil
	}
	m, ok := arg.(map[string]any)
	if !ok {
		return nil, invalid("$contains of field %q expects a scalar or an object", key)
	}
	if !strings.EqualFold(key, "relations") {
		return nil, apierr.Input("Object form of $contains is not supported for field %q", key)
	}
	var relation string
	var targets []string
	for k, v := range m {
		switch strings.ToLower(k) {
		case "type":
			if relation, ok = v.(string); !ok || relation == "" {
				return nil, apierr.Input("The type of a $contains on relations must be a string")
			}
		case "targetref":
			if in, isObject := v.(map[string]any); isObject && len(in) == 1 && in["$in"] != nil {
				values, err := p.scalars(in["$in"])
				if err != nil || len(values) == 0 {
					return nil, apierr.Input("The targetRef of a $contains on relations must be a string or {$in: [strings]}")
				}
				targets = values
				continue
			}
			s, isString := v.(string)
			if !isString {
				return nil, apierr.Input("The targetRef of a $contains on relations must be a string or {$in: [strings]}")
			}
			targets = []string{strings.ToLower(s)}
		default:
			return nil, apierr.Input("Unsupported key %q in a $contains on relations, expected type and targetRef", k)
		}
	}
	if relation == "" {
		return nil, apierr.Input("A $contains on relations needs a type")
	}
	name := "relations." + strings.ToLower(relation)
	if targets == nil {
		return Exists{name}, nil
	}
	return In{name, targets}, nil
}

func (p *parser) scalars(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, apierr.Input("expected an array")
	}
	if p.nodes += len(list); p.nodes > maxNodes {
		return nil, apierr.Input("more than %d values", maxNodes)
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		s, ok := scalar(item)
		if !ok {
			return nil, apierr.Input("expected strings, numbers or booleans, found %s", jsonvalue.TypeOf(item))
		}
		out = append(out, s)
	}
	return out, nil
}

// scalar returns the text by which search rows know a scalar.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return strings.ToLower(v), true
	case float64:
		return jsonvalue.FormatNumber(v), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	default:
		return "", false
	}
}

// Encode returns the JSON value of a predicate: what Parse reads.
func Encode(p Predicate) any {
	switch p := p.(type) {
	case nil:
		return map[string]any{}
	case All:
		return map[string]any{"$all": encodeAll(p)}
	case Any:
		return map[string]any{"$any": encodeAll(p)}
	case Not:
		return map[string]any{"$not": Encode(p.Predicate)}
	case Exists:
		return map[string]any{p.Key: map[string]any{"$exists": true}}
	case In:
		if len(p.Values) == 1 {
			return map[string]any{p.Key: p.Values[0]}
		}
		values := make([]any, len(p.Values))
		for i, v := range p.Values {
			values[i] = v
		}
		return map[string]any{p.Key: map[string]any{"$in": values}}
	case HasPrefix:
		return map[string]any{p.Key: map[string]any{"$hasPrefix": p.Prefix}}
	default:
		panic("query: a predicate of a foreign type")
	}
}

func encodeAll(ps []Predicate) []any {
	out := make([]any, len(ps))
	for i, p := range ps {
		out[i] = Encode(p)
	}
	return out
}

// ParseEntityFilter reads the older form that cursors of earlier versions
// hold: {key, values?}, {not}, {anyOf} and {allOf}.
func ParseEntityFilter(v any) (Predicate, error) { return parseEntityFilter(v, 0) }

func parseEntityFilter(v any, depth int) (Predicate, error) {
	m, ok := v.(map[string]any)
	if !ok || depth > maxDepth {
		return nil, apierr.Input("Malformed cursor: the filter is not an object")
	}
	list := func(v any) ([]Predicate, error) {
		items, ok := v.([]any)
		if !ok {
			return nil, apierr.Input("Malformed cursor: the filter expects an array")
		}
		var out []Predicate
		for _, item := range items {
			p, err := parseEntityFilter(item, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		return out, nil
	}
	switch {
	case m["allOf"] != nil:
		ps, err := list(m["allOf"])
		return All(ps), err
	case m["anyOf"] != nil:
		ps, err := list(m["anyOf"])
		return Any(ps), err
	case m["not"] != nil:
		p, err := parseEntityFilter(m["not"], depth+1)
		return Not{p}, err
	}
	key, ok := m["key"].(string)
	if !ok {
		return nil, apierr.Input("Malformed cursor: the filter has no key")
	}
	key = strings.ToLower(key)
	values, ok := m["values"].([]any)
	if !ok {
		return Exists{key}, nil
	}
	in := In{Key: key}
	for _, v := range values {
		s, ok := scalar(v)
		if !ok {
			return nil, apierr.Input("Malformed cursor: a value of the filter is not a scalar")
		}
		in.Values = append(in.Values, s)
	}
	if len(in.Values) == 0 {
		return Any{}, nil
	}
	return in, nil
}
