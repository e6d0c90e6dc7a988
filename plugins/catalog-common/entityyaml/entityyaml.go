// Package entityyaml reads entities from YAML text, document by document.
//
//	for doc := range entityyaml.Documents(text, entityyaml.Options{}) {
//		entity, err := doc.Entity() // an error concerns this document only
//		...
//	}
//
// The text is read as YAML 1.2 with the core schema: dates, yes and 1_000 are
// strings, 0777 is 777, and "<<" is an ordinary key unless Options.MergeKeys
// is set.
package entityyaml

import (
	"iter"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Options adjusts reading. The zero value is what the catalog uses by default.
type Options = yaml12.Options

// Error reports YAML text that cannot be read.
type Error = yaml12.Error

// Document is one document of a YAML text.
type Document struct{ yaml12.Document }

// RootError reports a document whose root is not an object.
type RootError struct {
	Line int
	Got  string // the type in JavaScript's words: "string", "number", "boolean" or "object" (a list)
}

func (e *RootError) Error() string { return "Expected object at root, got " + e.Got }

// ErrorName returns the name of the error in serialised form.
func (e *RootError) ErrorName() string { return "Error" }

// Entity returns the document as an entity. It returns nil without error for
// an empty document, which readers skip. The error is d.Err or a *RootError.
func (d Document) Entity() (catalogcommon.Entity, error) {
	if d.Err != nil {
		return nil, d.Err
	}
	switch v := d.Value.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return catalogcommon.Entity(v), nil
	default:
		return nil, &RootError{Line: d.Line, Got: jsonvalue.TypeOf(v)}
	}
}

// KeyOrder returns the order in which the keys of the document were written.
func (d Document) KeyOrder() catalogcommon.KeyOrder { return catalogcommon.KeyOrder(d.Order) }

// Documents yields the documents of a YAML text in order. A document that
// cannot be read has an error and does not affect the following ones. Text
// without any content has no documents.
func Documents(text []byte, opts Options) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		for d := range yaml12.Documents(text, opts) {
			if !yield(Document{d}) {
				return
			}
		}
	}
}
