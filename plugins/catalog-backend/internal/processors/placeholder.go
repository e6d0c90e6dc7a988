package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// SameRepository reports whether two URLs are in one repository; known is
// false if one of them is not in a repository that can be told.
type SameRepository func(a, b string) (same, known bool)

// Placeholder replaces objects {"$text": …}, {"$json": …}, {"$yaml": …} and
// those that modules add.
type Placeholder struct {
	reader    core.URLReaderService
	same      SameRepository
	resolvers map[string]catalognode.PlaceholderResolver
}

// NewPlaceholder returns the processor with the built-in resolvers and those
// given by key. same may be nil.
func NewPlaceholder(reader core.URLReaderService, same SameRepository, more map[string]catalognode.PlaceholderResolver) *Placeholder {
	p := &Placeholder{reader: reader, same: same, resolvers: map[string]catalognode.PlaceholderResolver{
		"text": resolveText, "json": resolveJSON, "yaml": resolveYAML,
	}}
	maps.Copy(p.resolvers, more)
	return p
}

// ProcessorName implements [catalognode.Processor].
func (*Placeholder) ProcessorName() string { return "PlaceholderProcessor" }

// PreProcess implements [catalognode.PreProcessor].
func (p *Placeholder) PreProcess(ctx context.Context, e catalogcommon.Entity, step catalognode.Step) (catalogcommon.Entity, error) {
	v, _, err := p.replace(ctx, map[string]any(e), step, nil)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, apierr.Input("the whole entity is a placeholder, which must give an object")
	}
	return m, nil
}

// maxNesting bounds how deep placeholders are looked for.
const maxNesting = 200

func (p *Placeholder) replace(ctx context.Context, v any, step catalognode.Step, path []string) (any, bool, error) {
	if len(path) > maxNesting {
		return nil, false, apierr.Input("the entity nests deeper than %d levels", maxNesting)
	}
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			next, changed, err := p.replace(ctx, item, step, append(path, strconv.Itoa(i)))
			if err != nil {
				return nil, false, err
			}
			if changed {
				v[i] = next
			}
		}
	case map[string]any:
		for key := range v {
			if !strings.HasPrefix(key, "$") {
				continue
			}
			if len(v) > 1 {
				return v, false, nil // something else that uses dollar keys
			}
			resolve, ok := p.resolvers[key[1:]]
			if !ok {
				return v, false, nil
			}
			next, err := resolve(ctx, catalognode.Placeholder{
				Key: key[1:], Value: v[key], BaseURL: step.Location.Target,
				Read: p.read, Resolve: p.resolver(), Emit: step.Emit,
			})
			if ordered, ok := next.(catalogcommon.Ordered); ok {
				step.Emit.KeyOrder(path, ordered.Order)
				next = ordered.Value
			}
			return next, true, err
		}
		for key, item := range v {
			next, changed, err := p.replace(ctx, item, step, append(path, key))
			if err != nil {
				return nil, false, err
			}
			if changed {
				v[key] = next
			}
		}
	}
	return v, false, nil
}

func (p *Placeholder) read(ctx context.Context, url string) (text []byte, err error) {
	result, err := p.reader.Read(ctx, url, core.ReadOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, result.Content.Close()) }()
	text, err = io.ReadAll(io.LimitReader(result.Content, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = apierr.Input("it is larger than %d MiB", maxFile>>20)
	}
	return text, err
}

// resolver resolves references within the repository of the entity.
func (p *Placeholder) resolver() func(ref, base string) (string, error) {
	return func(ref, base string) (string, error) {
		url, err := p.reader.Resolve(ref, base)
		if err != nil {
			return "", err
		}
		if p.same != nil {
			if same, known := p.same(url, base); known && !same {
				return "", apierr.Input("Placeholder may only reference files from the same repository as the entity, which %s is not", url)
			}
		}
		return url, nil
	}
}

// fetch returns the text that a placeholder refers to, and makes the entity
// depend on it.
func fetch(ctx context.Context, p catalognode.Placeholder) (text []byte, url string, err error) {
	ref, ok := p.Value.(string)
	if !ok {
		return nil, "", apierr.Input("Placeholder $%s expected a string, found %T", p.Key, p.Value)
	}
	if url, err = p.Resolve(ref, p.BaseURL); err != nil {
		return nil, "", apierr.Input("Placeholder $%s could not form a URL out of %s and %s, %w", p.Key, p.BaseURL, ref, err)
	}
	p.Emit.Refresh("url:" + url)
	if text, err = p.Read(ctx, url); err != nil {
		return nil, "", apierr.Input("Placeholder $%s could not read location %s, %w", p.Key, ref, err)
	}
	return text, url, nil
}

func resolveText(ctx context.Context, p catalognode.Placeholder) (any, error) {
	text, _, err := fetch(ctx, p)
	return string(text), err
}

func resolveJSON(ctx context.Context, p catalognode.Placeholder) (any, error) {
	text, url, err := fetch(ctx, p)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, apierr.Input("Placeholder $%s failed to parse JSON data at %s, %w", p.Key, url, err)
	}
	return catalogcommon.Ordered{Value: v, Order: catalogcommon.KeyOrder(text)}, nil
}

func resolveYAML(ctx context.Context, p catalognode.Placeholder) (any, error) {
	text, url, err := fetch(ctx, p)
	if err != nil {
		return nil, err
	}
	var docs []entityyaml.Document
	for doc := range entityyaml.Documents(text, entityyaml.Options{}) {
		docs = append(docs, doc)
	}
	switch {
	case len(docs) != 1:
		return nil, apierr.Input("Placeholder $%s expected to find exactly one document of data at %s, found %d", p.Key, url, len(docs))
	case docs[0].Err != nil:
		return nil, fmt.Errorf("Placeholder $%s found an error in the data at %s, %w", p.Key, url, docs[0].Err) //nolint:revive,staticcheck // operators search for this wording
	}
	return catalogcommon.Ordered{Value: docs[0].Value, Order: docs[0].KeyOrder()}, nil
}
