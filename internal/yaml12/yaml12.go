// Package yaml12 reads YAML 1.2 with the core schema, document by document,
// into JSON values: the configuration and the files of the catalog.
//
//	for doc := range yaml12.Documents(text, yaml12.Options{}) {
//		use(doc.Value, doc.Err) // an error concerns this document only
//	}
//
// # What the values are
//
// Only plain scalars have a type other than string: null (null, Null, NULL, ~
// and nothing), booleans (true, True, TRUE, ...), decimal integers (0777 is
// 777), 0o17, 0x1f and floats. Everything else is a string: yes, 2001-01-01,
// 1_000, 1:30. Numbers are doubles. Infinities and NaN become null, as in JSON.
//
// Keys are strings: 1, true and ~ become "1", "true" and "". A collection used
// as a key becomes its flow text, so that an unquoted template placeholder
// {{ name }} reads as the object {"{ name }": null} instead of failing.
//
// Duplicate keys, tabs as indentation and unknown aliases are errors. "<<" is
// an ordinary key unless Options.MergeKeys is set. Of the tags, those of the
// core schema and !!binary have an effect; an unknown tag on a scalar makes it
// a string, and other tags change nothing. "%YAML 1.1" does not change the
// rules.
//
// # Robustness
//
// A byte order mark, CRLF line ends, control characters and invalid UTF-8 (read
// as U+FFFD) are accepted. Aliases are expanded by copying within a budget, and
// size and depth are limited; see [Options]. Collections used as keys may nest 16
// levels deep and have 20 000 nodes in a document.
//
// [Parse] and [Value] serve other files with the same scalar rules. Parse gives
// the *yaml.Node tree, whose Line and Column say where each value stands.
package yaml12

import (
	"errors"
	"fmt"
	"iter"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// Options adjusts reading. The zero value is what the catalog uses by default.
type Options struct {
	// MergeKeys makes the plain key "<<" merge the mapping (or list of
	// mappings) that is its value into the mapping it stands in.
	MergeKeys bool
	// MaxBytes limits the length of the text; 0 means 100 MiB.
	MaxBytes int
	// MaxDepth limits the nesting; 0 means 200, at most jsonvalue.MaxDepth.
	MaxDepth int
	// MaxAliasNodes limits how many nodes all aliases of a document together
	// may copy; 0 means 100 000.
	MaxAliasNodes int
	// MaxAliasBytes limits how many bytes of scalars all aliases of a document
	// together may copy; 0 means 10 MiB.
	MaxAliasBytes int
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 100 << 20
	}
	if o.MaxDepth == 0 {
		o.MaxDepth = 200
	}
	o.MaxDepth = min(o.MaxDepth, jsonvalue.MaxDepth)
	if o.MaxAliasNodes == 0 {
		o.MaxAliasNodes = 100_000
	}
	if o.MaxAliasBytes == 0 {
		o.MaxAliasBytes = 10 << 20
	}
	return o
}

// Error reports YAML text that cannot be read. Line and Column count from 1
// within the whole text; 0 means unknown.
type Error struct {
	Line, Column int
	Message      string
	cause        error
}

// ErrSecondDocument is the cause of an [Error] about a text that must have one
// document and has more.
var ErrSecondDocument = errors.New("Expected one document, found a second one")

// Unwrap returns the cause, if it is one that can be told apart.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("%s at line %d, column %d", e.Message, e.Line, e.Column)
}

// ErrorName returns the name of the error in serialised form.
func (e *Error) ErrorName() string { return "YAMLParseError" }

// Document is one document of a YAML text.
type Document struct {
	// Line is the line on which the document starts, counted from 1.
	Line int
	// Value is the JSON value of the document; nil for an empty one.
	Value any
	// Order is a JSON text of the same shape as the value, with the keys of
	// objects in the order in which they were written; other values in it do not
	// matter. It is empty where no object is.
	Order string
	// Err is an *Error if the document cannot be read.
	Err error
}

// Documents yields the documents of a YAML text in order. A document that
// cannot be read has an error and does not affect the following ones. Text
// without any content has no documents.
func Documents(text []byte, opts Options) iter.Seq[Document] {
	opts = opts.withDefaults()
	return func(yield func(Document) bool) {
		if len(text) > opts.MaxBytes {
			yield(Document{Line: 1, Err: tooLong(text, opts)})
			return
		}
		src := prepare(text)
		for c := range split(src.text) {
			doc := Document{Line: c.line}
			root, err := src.load(c, opts)
			switch {
			case err != nil:
				doc.Err = err
			case root == nil:
				continue
			default:
				if doc.Value, doc.Err = Value(root, opts); doc.Err == nil {
					doc.Order = order(root, opts)
				}
			}
			if !yield(doc) {
				return
			}
		}
	}
}

// Parse reads a text of exactly one document and returns its root node, which
// is not the document node. It returns nil without error for a text without
// content. Positions in the node tree refer to the text.
func Parse(text []byte, opts Options) (*yaml.Node, error) {
	opts = opts.withDefaults()
	if len(text) > opts.MaxBytes {
		return nil, tooLong(text, opts)
	}
	src := prepare(text)
	var root *yaml.Node
	found := false
	for c := range split(src.text) {
		node, err := src.load(c, opts)
		if err != nil {
			return nil, err
		}
		if found {
			return nil, &Error{Line: c.line, Column: 1, Message: ErrSecondDocument.Error(), cause: ErrSecondDocument}
		}
		root, found = node, true
	}
	return root, nil
}

func tooLong(text []byte, opts Options) error {
	return &Error{Message: fmt.Sprintf("The text has %d bytes, more than the limit of %d", len(text), opts.MaxBytes)}
}
