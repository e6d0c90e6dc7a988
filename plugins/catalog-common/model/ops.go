package model

// Layer is a named list of changes. Layers with the same ID must be equal.
type Layer struct {
	ID  string
	Ops []Op
}

// Op is one change. All changes of all layers apply in the order of their
// classes: what is declared, then what is updated, then what is removed; and
// within a class in the order of the layers.
type Op interface{ class() class }

// class orders changes.
type class int

const (
	declareAnnotation class = iota
	declareLabel
	declareTag
	declareKind
	declareKindVersion
	declareRelation
	updateAnnotation
	updateLabel
	updateTag
	updateKind
	updateKindVersion
	updateRelation
	removeAnnotation
	removeLabel
	removeTag
	removeKind
)

// RelationField says that a field of entities holds references.
type RelationField struct {
	// Path is the field, for example "spec.owner". Its value is a string or an
	// array of strings.
	Path string
	// Relation is the type of the relation to what is referred to.
	Relation string
	// DefaultKind is the kind of references that state none. Without it,
	// references must state their kind.
	DefaultKind string
	// InDefaultNamespace puts references that state no namespace into the
	// default one, and not into the one of the entity.
	InDefaultNamespace bool
	// AllowedKinds, if not empty, are the only kinds; other references make
	// no relation.
	AllowedKinds []string
}

// Declarations. It is an error to declare something twice, except that a
// relation may be declared for more pairs of kinds.
type (
	// DeclareKind declares a kind, without versions.
	DeclareKind struct{ Kind, Group, Singular, Plural, Description string }
	// DeclareKindVersion declares a version of a kind: all of it, or that with
	// a spec.type. The schema concerns the fields besides apiVersion, kind and
	// metadata; it may be one that extends Entity by allOf.
	DeclareKindVersion struct {
		Kind, Name, SpecType, Description string
		RelationFields                    []RelationField
		Schema                            Schema
	}
	// DeclareRelation declares a direction of a relation for a pair of kinds.
	DeclareRelation struct{ FromKind, Type, ToKind, ReverseType, Title, Description string }
	// DeclareAnnotation declares an annotation. A schema must be of type
	// string.
	DeclareAnnotation struct {
		Name, Title, Description string
		Schema                   Schema
	}
	// DeclareLabel declares a label. A schema must be of type string.
	DeclareLabel struct {
		Name, Title, Description string
		Schema                   Schema
	}
	// DeclareTag declares a tag.
	DeclareTag struct{ Name, Title, Description string }
)

// Updates of what is declared. Nil changes nothing.
type (
	// UpdateKind changes the texts of a kind.
	UpdateKind struct {
		Kind                          string
		Singular, Plural, Description *string
	}
	// UpdateKindVersion changes a version. The schema is merged: null removes
	// a keyword, another type replaces the schema that has it, and arrays, const
	// and default replace what is there.
	UpdateKindVersion struct {
		Kind, Name, SpecType string
		Description          *string
		RelationFields       []RelationField
		Schema               Schema
	}
	// UpdateRelation adds a pair of kinds to a relation and changes its texts.
	UpdateRelation struct {
		FromKind, Type, ToKind                        string
		ReverseType, Title, ReverseTitle, Description *string
	}
	// UpdateAnnotation changes an annotation. A schema replaces the one there.
	UpdateAnnotation struct {
		Name               string
		Title, Description *string
		Schema             Schema
	}
	// UpdateLabel changes a label. A schema replaces the one there.
	UpdateLabel struct {
		Name               string
		Title, Description *string
		Schema             Schema
	}
	// UpdateTag changes a tag.
	UpdateTag struct {
		Name               string
		Title, Description *string
	}
)

// Removals of what is declared.
type (
	// RemoveKind removes a kind with all versions.
	RemoveKind struct{ Kind string }
	// RemoveAnnotation removes what is said of an annotation.
	RemoveAnnotation struct{ Name string }
	// RemoveLabel removes what is said of a label.
	RemoveLabel struct{ Name string }
	// RemoveTag removes what is said of a tag.
	RemoveTag struct{ Name string }
)

func (DeclareKind) class() class        { return declareKind }
func (DeclareKindVersion) class() class { return declareKindVersion }
func (DeclareRelation) class() class    { return declareRelation }
func (DeclareAnnotation) class() class  { return declareAnnotation }
func (DeclareLabel) class() class       { return declareLabel }
func (DeclareTag) class() class         { return declareTag }
func (UpdateKind) class() class         { return updateKind }
func (UpdateKindVersion) class() class  { return updateKindVersion }
func (UpdateRelation) class() class     { return updateRelation }
func (UpdateAnnotation) class() class   { return updateAnnotation }
func (UpdateLabel) class() class        { return updateLabel }
func (UpdateTag) class() class          { return updateTag }
func (RemoveKind) class() class         { return removeKind }
func (RemoveAnnotation) class() class   { return removeAnnotation }
func (RemoveLabel) class() class        { return removeLabel }
func (RemoveTag) class() class          { return removeTag }

// Kind is a kind with its versions, for [AddKind].
type Kind struct {
	Group, Kind, Singular, Plural, Description string
	Versions                                   []Version
}

// Version is what one schema holds for.
type Version struct {
	// Names are those of the versions, such as "v1alpha1": with the group of
	// the kind, they make the apiVersion.
	Names []string
	// SpecTypes are the values of spec.type that it is for; empty is all
	// that have no schema of their own.
	SpecTypes      []string
	Description    string
	RelationFields []RelationField
	Schema         Schema
}

// AddKind returns the declarations of a kind.
func AddKind(k Kind) []Op {
	return append([]Op{DeclareKind{Kind: k.Kind, Group: k.Group, Singular: k.Singular, Plural: k.Plural, Description: k.Description}},
		AddKindVersions(k.Kind, k.Versions...)...)
}

// AddKindVersions returns the declarations of versions of a kind, which may be
// in another layer.
func AddKindVersions(kind string, versions ...Version) (ops []Op) {
	for _, v := range versions {
		types := v.SpecTypes
		if len(types) == 0 {
			types = []string{""}
		}
		for _, name := range v.Names {
			for _, specType := range types {
				ops = append(ops, DeclareKindVersion{Kind: kind, Name: name, SpecType: specType, Description: v.Description,
					RelationFields: v.RelationFields, Schema: v.Schema})
			}
		}
	}
	return ops
}

// RelationPair is a relation in both directions, between all kinds of one list
// and all of another, for [AddRelationPair].
type RelationPair struct {
	FromKinds, ToKinds []string
	Description        string
	Forward, Reverse   Direction
}

// AddRelationPair returns the declarations of both directions.
func AddRelationPair(p RelationPair) (ops []Op) {
	for _, from := range p.FromKinds {
		for _, to := range p.ToKinds {
			ops = append(ops,
				DeclareRelation{FromKind: from, Type: p.Forward.Type, ToKind: to, ReverseType: p.Reverse.Type, Title: p.Forward.Title, Description: p.Description},
				DeclareRelation{FromKind: to, Type: p.Reverse.Type, ToKind: from, ReverseType: p.Forward.Type, Title: p.Reverse.Title, Description: p.Description})
		}
	}
	return ops
}

// RelationPairUpdate adds pairs of kinds to a relation, and changes its texts,
// for [UpdateRelationPair]. Without Reverse, only the forward direction gets
// the pairs.
type RelationPairUpdate struct {
	FromKinds, ToKinds                      []string
	Forward                                 string
	Reverse                                 *string
	ForwardTitle, ReverseTitle, Description *string
}

// UpdateRelationPair returns the updates of both directions.
func UpdateRelationPair(u RelationPairUpdate) (ops []Op) {
	for _, from := range u.FromKinds {
		for _, to := range u.ToKinds {
			forward := UpdateRelation{FromKind: from, Type: u.Forward, ToKind: to, ReverseType: u.Reverse, Title: u.ForwardTitle, Description: u.Description}
			if u.Reverse == nil {
				forward.ReverseTitle = u.ReverseTitle
				ops = append(ops, forward)
				continue
			}
			ops = append(ops, forward, UpdateRelation{FromKind: to, Type: *u.Reverse, ToKind: from, ReverseType: &u.Forward,
				Title: u.ReverseTitle, Description: u.Description})
		}
	}
	return ops
}
