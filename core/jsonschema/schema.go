package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/flytower/flytower/apierr"
)

// Empty is the schema of an object without members.
const Empty = `{"type":"object","properties":{},"additionalProperties":false,"$schema":"` + Draft7 + `"}`

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	text     json.RawMessage
	raw      any
	compiled *jsonschema.Schema
}

// Compile reads a schema, of draft 7 unless its $schema says otherwise.
// References may point only into the schema itself.
func Compile(schema json.RawMessage) (*Schema, error) {
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.UseLoader(noLoader{})
	const self = "schema:self"
	if err := c.AddResource(self, raw); err != nil {
		return nil, fmt.Errorf("adding the schema: %w", err)
	}
	compiled, err := c.Compile(self)
	if err != nil {
		return nil, fmt.Errorf("compiling the schema: %w", err)
	}
	text := schema
	if o, ok := raw.(map[string]any); ok && o["$schema"] == nil {
		// Readers of published schemas expect to be told the draft.
		if text, err = appendMember(schema, `"$schema":"`+Draft7+`"`); err != nil {
			return nil, err
		}
	}
	return &Schema{text: text, raw: raw, compiled: compiled}, nil
}

func appendMember(text json.RawMessage, member string) (json.RawMessage, error) {
	var buf bytes.Buffer
	if err := json.Compact(&buf, text); err != nil {
		return nil, err
	}
	out := bytes.TrimSuffix(buf.Bytes(), []byte("}"))
	if len(out) > 1 {
		out = append(out, ',')
	}
	return append(append(out, member...), '}'), nil
}

// noLoader refuses to fetch: a schema must not make the backend read files
// or URLs.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s leads out of the schema", url)
}

// JSON returns the text of the schema, with $schema.
func (s *Schema) JSON() json.RawMessage { return s.text }

// Check returns the document without the members that the schema does not
// list, where it allows no additional ones, or a [*ValidationError]. Extra
// members are dropped rather than refused because all backends of the family
// do so.
func (s *Schema) Check(doc json.RawMessage) (json.RawMessage, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return nil, &ValidationError{Issues: []Issue{{Code: "custom", Path: []any{}, Message: "not a JSON document: " + err.Error()}}}
	}
	stripped := strip(s.raw, v)
	if err := s.compiled.Validate(v); err != nil {
		var ve *jsonschema.ValidationError
		if !errors.As(err, &ve) {
			return nil, err
		}
		out := &ValidationError{}
		collect(ve, s.raw, v, &out.Issues)
		return nil, out
	}
	if !stripped {
		return doc, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}

// strip removes members that a closed object does not list. It looks through
// properties and items only; what lies below combinations is validated as it
// is.
func strip(schema, v any) (changed bool) {
	s, ok := schema.(map[string]any)
	if !ok {
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		closed := s["additionalProperties"] == false && s["patternProperties"] == nil
		for name, x := range v {
			sub, listed := properties[name]
			if listed {
				changed = strip(sub, x) || changed
			} else if closed {
				delete(v, name)
				changed = true
			}
		}
	case []any:
		for _, x := range v {
			changed = strip(s["items"], x) || changed
		}
	}
	return changed
}

// Issue is one thing that is wrong with a document.
type Issue struct {
	// Code is the kind of the issue: invalid_type, invalid_enum_value,
	// unrecognized_keys or custom.
	Code     string `json:"code"`
	Expected string `json:"expected,omitempty"`
	Received string `json:"received,omitempty"`
	// Path leads to the place in the document: member names and indexes.
	Path    []any  `json:"path"`
	Message string `json:"message"`
}

// ValidationError lists what is wrong with a document.
type ValidationError struct{ Issues []Issue }

// Error returns the issues in one line.
func (e *ValidationError) Error() string {
	parts := make([]string, len(e.Issues))
	for i, issue := range e.Issues {
		at := "document"
		if len(issue.Path) > 0 {
			names := make([]string, len(issue.Path))
			for j, p := range issue.Path {
				names[j] = fmt.Sprint(p)
			}
			at = strings.Join(names, ".")
		}
		parts[i] = at + ": " + issue.Message
	}
	return strings.Join(parts, "; ")
}

// Wire returns the error in the form in which all backends of the family
// send it; clients look for the name and the issues.
func (e *ValidationError) Wire() *apierr.Error {
	return &apierr.Error{Kind: "ZodError", Message: e.Error(), Fields: map[string]any{"issues": e.Issues}}
}

func collect(e *jsonschema.ValidationError, schema, doc any, out *[]Issue) {
	path, at := locate(e.InstanceLocation, doc)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			*out = append(*out, Issue{
				Code: "invalid_type", Expected: expected(schema, path, name), Received: "undefined",
				Path: append(slices.Clone(path), name), Message: "Required",
			})
		}
		return
	case *kind.Type:
		want, got := strings.Join(k.Want, " | "), typeName(at)
		*out = append(*out, Issue{Code: "invalid_type", Expected: want, Received: got, Path: path, Message: "Expected " + want + ", received " + got})
		return
	case *kind.Enum:
		*out = append(*out, Issue{Code: "invalid_enum_value", Path: path, Message: fmt.Sprintf("Invalid enum value. Expected one of %v", k.Want)})
		return
	case *kind.AdditionalProperties:
		*out = append(*out, Issue{Code: "unrecognized_keys", Path: path, Message: "Unrecognized key(s) in object: " + strings.Join(k.Properties, ", ")})
		return
	}
	if len(e.Causes) == 0 {
		*out = append(*out, Issue{Code: "custom", Path: path, Message: e.ErrorKind.LocalizedString(message.NewPrinter(language.English))})
		return
	}
	for _, cause := range e.Causes {
		collect(cause, schema, doc, out)
	}
}

// locate turns the tokens of a JSON pointer into a path with indexes, and
// returns what is there.
func locate(tokens []string, doc any) ([]any, any) {
	path := make([]any, 0, len(tokens))
	for _, token := range tokens {
		switch d := doc.(type) {
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(d) {
				return path, nil
			}
			path, doc = append(path, i), d[i]
		case map[string]any:
			path, doc = append(path, token), d[token]
		default:
			return path, nil
		}
	}
	return path, doc
}

// expected returns the type that the schema names for a member that is
// missing, where plain properties and items lead to it.
func expected(schema any, path []any, name string) string {
	for _, step := range append(slices.Clone(path), name) {
		s, _ := schema.(map[string]any)
		if key, ok := step.(string); ok {
			properties, _ := s["properties"].(map[string]any)
			schema = properties[key]
		} else {
			schema = s["items"]
		}
	}
	s, _ := schema.(map[string]any)
	t, _ := s["type"].(string)
	return t
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	default:
		return "number"
	}
}
