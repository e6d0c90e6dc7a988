package model

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

type kindState struct {
	group, singular, plural, description string
	versions                             []*versionState
}

func (k *kindState) version(name string) *versionState {
	if i := slices.IndexFunc(k.versions, func(v *versionState) bool { return v.name == name }); i >= 0 {
		return k.versions[i]
	}
	return nil
}

func (k *kindState) byAPIVersion(apiVersion string) *versionState {
	if i := slices.IndexFunc(k.versions, func(v *versionState) bool { return v.apiVersion == apiVersion }); i >= 0 {
		return k.versions[i]
	}
	return nil
}

type versionState struct {
	name, apiVersion string
	types            []*typeState
}

func (v *versionState) specType(name string) *typeState {
	if i := slices.IndexFunc(v.types, func(t *typeState) bool { return t.specType == name }); i >= 0 {
		return v.types[i]
	}
	return nil
}

type typeState struct {
	specType, description string
	relationFields        []RelationField
	schema                map[string]any
}

type relationState struct {
	description      string
	forward, reverse Direction
	from, to         []string
	pairs            map[string][]string
}

func (r *relationState) add(from, to string) {
	if !slices.Contains(r.from, from) {
		r.from = append(r.from, from)
	}
	if !slices.Contains(r.to, to) {
		r.to = append(r.to, to)
	}
	if !slices.Contains(r.pairs[from], to) {
		r.pairs[from] = append(r.pairs[from], to)
	}
}

// fields are annotations, labels or tags.
type fields struct {
	what string
	all  []*fieldState
}

type fieldState struct {
	name, title, description string
	schema                   Schema
}

func (f *fields) get(name string) *fieldState {
	if i := slices.IndexFunc(f.all, func(s *fieldState) bool { return s.name == name }); i >= 0 {
		return f.all[i]
	}
	return nil
}

func (f *fields) declare(s fieldState) error {
	if f.get(s.name) != nil {
		return &Error{f.what + " " + quote(s.name) + " is declared more than once"}
	}
	f.all = append(f.all, &s)
	return checkValueSchema(f.what, s.name, s.schema)
}

func (f *fields) update(name string, title, description *string, schema Schema) error {
	s := f.get(name)
	if s == nil {
		return &Error{"Cannot update undeclared " + lower(f.what) + " " + quote(name)}
	}
	set(&s.title, title)
	set(&s.description, description)
	if schema != nil {
		s.schema = schema
	}
	return checkValueSchema(f.what, name, schema)
}

func (f *fields) remove(name string) error {
	if f.get(name) == nil {
		return &Error{"Cannot remove unknown " + lower(f.what) + " " + quote(name)}
	}
	f.all = slices.DeleteFunc(f.all, func(s *fieldState) bool { return s.name == name })
	return nil
}

func (f *fields) summaries() []FieldSummary {
	out := make([]FieldSummary, len(f.all))
	for i, s := range f.all {
		out[i] = FieldSummary{Name: s.name, Title: s.title, Description: s.description}
	}
	return out
}

func lower(what string) string { return string(what[0]|0x20) + what[1:] }

func set(to *string, from *string) {
	if from != nil {
		*to = *from
	}
}

// compiler applies changes.
type compiler struct {
	annotations, labels, tags fields
	kinds                     map[string]*kindState
	kindOrder                 []string
	relations                 map[string]*relationState
	relationOrder             []string
}

// Compile returns the model that layers make. The error is an [*Error].
func Compile(layers ...Layer) (*Model, error) {
	seen := map[string][]Op{}
	var ops []Op
	for _, l := range layers {
		own, err := normalize(l)
		if err != nil {
			return nil, err
		}
		if there, ok := seen[l.ID]; ok {
			if !reflect.DeepEqual(there, own) {
				return nil, &Error{"Catalog model layer ID " + quote(l.ID) + " has conflicting definitions"}
			}
			continue
		}
		seen[l.ID] = own
		ops = append(ops, own...)
	}
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.class() - b.class()) })
	c := &compiler{
		annotations: fields{what: "Annotation"}, labels: fields{what: "Label"}, tags: fields{what: "Tag"},
		kinds: map[string]*kindState{}, relations: map[string]*relationState{},
	}
	for _, op := range ops {
		if err := c.apply(op); err != nil {
			return nil, err
		}
	}
	return c.model()
}

// normalize returns the changes of a layer with schemas of plain JSON values.
func normalize(l Layer) ([]Op, error) {
	out := make([]Op, len(l.Ops))
	for i, op := range l.Ops {
		if op == nil {
			return nil, &Error{fmt.Sprintf("Catalog model layer %q: change %d is nil", l.ID, i)}
		}
		var err error
		plain := func(s Schema) Schema {
			if s == nil {
				return nil
			}
			v, bad := jsonvalue.Normalize(map[string]any(s))
			if bad != nil {
				err = &Error{fmt.Sprintf("Catalog model layer %q: change %d has a schema that is no JSON: %v", l.ID, i, bad)}
				return nil
			}
			return v.(map[string]any)
		}
		switch op := op.(type) {
		case DeclareKindVersion:
			if op.Schema == nil {
				return nil, &Error{"Version " + quote(op.Name) + " of kind " + quote(op.Kind) + " has no schema"}
			}
			op.Schema = plain(op.Schema)
			out[i] = op
		case UpdateKindVersion:
			op.Schema = plain(op.Schema)
			out[i] = op
		case DeclareAnnotation:
			op.Schema = plain(op.Schema)
			out[i] = op
		case UpdateAnnotation:
			op.Schema = plain(op.Schema)
			out[i] = op
		case DeclareLabel:
			op.Schema = plain(op.Schema)
			out[i] = op
		case UpdateLabel:
			op.Schema = plain(op.Schema)
			out[i] = op
		default:
			out[i] = op
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *compiler) apply(op Op) error {
	switch op := op.(type) {
	case DeclareAnnotation:
		return c.annotations.declare(fieldState{op.Name, op.Title, op.Description, op.Schema})
	case DeclareLabel:
		return c.labels.declare(fieldState{op.Name, op.Title, op.Description, op.Schema})
	case DeclareTag:
		return c.tags.declare(fieldState{op.Name, op.Title, op.Description, nil})
	case UpdateAnnotation:
		return c.annotations.update(op.Name, op.Title, op.Description, op.Schema)
	case UpdateLabel:
		return c.labels.update(op.Name, op.Title, op.Description, op.Schema)
	case UpdateTag:
		return c.tags.update(op.Name, op.Title, op.Description, nil)
	case RemoveAnnotation:
		return c.annotations.remove(op.Name)
	case RemoveLabel:
		return c.labels.remove(op.Name)
	case RemoveTag:
		return c.tags.remove(op.Name)
	case DeclareKind:
		return c.declareKind(op)
	case UpdateKind:
		return c.updateKind(op)
	case RemoveKind:
		return c.removeKind(op)
	case DeclareKindVersion:
		return c.declareKindVersion(op)
	case UpdateKindVersion:
		return c.updateKindVersion(op)
	case DeclareRelation:
		c.declareRelation(op)
		return nil
	case UpdateRelation:
		return c.updateRelation(op)
	default:
		return &Error{fmt.Sprintf("Unknown op type %T", op)}
	}
}

func (c *compiler) declareKind(op DeclareKind) error {
	if c.kinds[op.Kind] != nil {
		return &Error{"Kind " + quote(op.Kind) + " is declared more than once"}
	}
	c.kinds[op.Kind] = &kindState{group: op.Group, singular: op.Singular, plural: op.Plural, description: op.Description}
	c.kindOrder = append(c.kindOrder, op.Kind)
	return nil
}

func (c *compiler) updateKind(op UpdateKind) error {
	k := c.kinds[op.Kind]
	if k == nil {
		return &Error{"Cannot update unknown kind " + quote(op.Kind)}
	}
	set(&k.singular, op.Singular)
	set(&k.plural, op.Plural)
	set(&k.description, op.Description)
	return nil
}

func (c *compiler) removeKind(op RemoveKind) error {
	if c.kinds[op.Kind] == nil {
		return &Error{"Cannot remove unknown kind " + quote(op.Kind)}
	}
	delete(c.kinds, op.Kind)
	c.kindOrder = slices.DeleteFunc(c.kindOrder, func(name string) bool { return name == op.Kind })
	return nil
}

// typeLabel names what a schema is for.
func typeLabel(specType string) string {
	if specType == "" {
		return "default spec type"
	}
	return "spec type " + quote(specType)
}

func (c *compiler) declareKindVersion(op DeclareKindVersion) error {
	k := c.kinds[op.Kind]
	if k == nil {
		return &Error{"Cannot declare version " + quote(op.Name) + " for unknown kind " + quote(op.Kind)}
	}
	v := k.version(op.Name)
	if v == nil {
		v = &versionState{name: op.Name, apiVersion: k.group + "/" + op.Name}
		k.versions = append(k.versions, v)
	}
	if v.specType(op.SpecType) != nil {
		return &Error{"Version " + quote(op.Name) + " of kind " + quote(op.Kind) + " already has " + typeLabel(op.SpecType) + " declared"}
	}
	own := reduce(op.Schema)
	for _, check := range []func(map[string]any) error{checkSchema, checkRoot} {
		if err := check(own); err != nil {
			return within(op.Kind, op.Name, op.SpecType, err)
		}
	}
	v.types = append(v.types, &typeState{op.SpecType, op.Description, op.RelationFields, own})
	return nil
}

// within says whose schema an error is about.
func within(kind, version, specType string, err error) error {
	return &Error{"Version " + quote(version) + " of kind " + quote(kind) + ", " + typeLabel(specType) + ": " + err.Error()}
}

func (c *compiler) updateKindVersion(op UpdateKindVersion) error {
	k := c.kinds[op.Kind]
	if k == nil {
		return &Error{"Cannot update version " + quote(op.Name) + " for unknown kind " + quote(op.Kind)}
	}
	v := k.version(op.Name)
	if v == nil {
		return &Error{"Cannot update unknown version " + quote(op.Name) + " of kind " + quote(op.Kind)}
	}
	t := v.specType(op.SpecType)
	if t == nil {
		return &Error{"Cannot update undeclared " + typeLabel(op.SpecType) + " on version " + quote(op.Name) + " of kind " + quote(op.Kind)}
	}
	set(&t.description, op.Description)
	if op.RelationFields != nil {
		t.relationFields = op.RelationFields
	}
	if op.Schema != nil {
		t.schema = merge(t.schema, reduce(op.Schema), inSchema)
	}
	return nil
}

func (c *compiler) declareRelation(op DeclareRelation) {
	r := c.relations[op.Type]
	if r == nil {
		r = &relationState{
			description: op.Description, forward: Direction{op.Type, op.Title}, reverse: Direction{op.ReverseType, op.Title},
			pairs: map[string][]string{},
		}
		c.relations[op.Type] = r
		c.relationOrder = append(c.relationOrder, op.Type)
	}
	r.add(op.FromKind, op.ToKind)
}

func (c *compiler) updateRelation(op UpdateRelation) error {
	r := c.relations[op.Type]
	if r == nil {
		return &Error{"Cannot update undeclared relation " + quote(op.Type)}
	}
	r.add(op.FromKind, op.ToKind)
	set(&r.reverse.Type, op.ReverseType)
	set(&r.forward.Title, op.Title)
	set(&r.reverse.Title, op.Title)
	if op.ReverseTitle != nil {
		r.reverse.Title = *op.ReverseTitle
		if other := c.relations[r.reverse.Type]; other != nil {
			other.forward.Title = *op.ReverseTitle
		}
	}
	set(&r.description, op.Description)
	return nil
}

// model returns what the changes made.
func (c *compiler) model() (*Model, error) {
	m := &Model{
		kinds: c.kinds, order: c.kindOrder, compiled: map[kindKey]*CompiledKind{}, pairs: map[string][]KindRelation{},
		metadata: Metadata{c.annotations.summaries(), c.labels.summaries(), c.tags.summaries()},
	}
	type part struct {
		Key    []string
		Fields []RelationField
		Schema json.RawMessage
	}
	var parts []part
	for _, name := range c.kindOrder {
		k := c.kinds[name]
		for _, v := range k.versions {
			for _, t := range v.types {
				full, err := c.fullSchema(name, v.apiVersion, t.schema)
				if err != nil {
					return nil, within(name, v.name, t.specType, err)
				}
				description := t.description
				if description == "" {
					description = k.description
				}
				text := jsonvalue.Append(nil, full)
				m.compiled[kindKey{name, v.apiVersion, t.specType}] = newCompiledKind(CompiledKind{
					Kind: name, Singular: k.singular, Plural: k.plural, Description: description,
					APIVersion: v.apiVersion, RelationFields: t.relationFields,
				}, text)
				parts = append(parts, part{[]string{name, v.apiVersion, t.specType}, t.relationFields, text})
			}
		}
	}
	for _, typ := range c.relationOrder {
		r := c.relations[typ]
		reverse := r.reverse
		if other := c.relations[reverse.Type]; other != nil {
			reverse.Title = other.forward.Title
		}
		m.relations = append(m.relations, RelationSummary{FromKinds: r.from, ToKinds: r.to, Description: r.description, Forward: r.forward, Reverse: reverse})
		for from, to := range r.pairs {
			m.pairs[from] = append(m.pairs[from], KindRelation{ToKinds: to, Description: r.description, Forward: r.forward, Reverse: reverse})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return slices.Compare(a.Key, b.Key) })
	text, err := json.Marshal([]any{parts, m.pairs})
	if err != nil {
		return nil, fmt.Errorf("fingerprint of the model: %w", err) // everything in it encodes
	}
	m.fingerprint = catalogcommon.HashJSON(text)
	return m, nil
}
