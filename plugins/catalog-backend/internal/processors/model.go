package processors

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Model validates entities and emits their relations as a model says. It takes
// the place of [Builtin].
type Model struct{ model *model.Model }

// NewModel returns the processor of a model.
func NewModel(m *model.Model) *Model { return &Model{m} }

// ProcessorName implements [catalognode.Processor].
func (*Model) ProcessorName() string { return "ModelProcessor" }

// PreProcess sorts lists of refs, so that their order is no change.
func (m *Model) PreProcess(_ context.Context, e catalogcommon.Entity, _ catalognode.Step) (catalogcommon.Entity, error) {
	kind, err := m.model.KindOf(e)
	if err != nil || kind == nil {
		return e, err
	}
	for _, f := range kind.RelationFields {
		parent, key := holder(e, f.Path)
		items, ok := parent[key].([]any)
		if !ok || slices.ContainsFunc(items, func(v any) bool { _, isText := v.(string); return !isText }) {
			continue
		}
		sorted := slices.Clone(items)
		slices.SortFunc(sorted, func(a, b any) int { return jsonvalue.CompareKeys(a.(string), b.(string)) })
		parent[key] = sorted
	}
	return e, nil
}

// holder returns the object that has the last part of a path, and that part.
func holder(e catalogcommon.Entity, path string) (map[string]any, string) {
	at := map[string]any(e)
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		at, _ = at[part].(map[string]any) // of nil, everything is nil
	}
	return at, parts[len(parts)-1]
}

// ValidateKind implements [catalognode.KindValidator].
func (m *Model) ValidateKind(_ context.Context, e catalogcommon.Entity) (bool, error) {
	kind, err := m.model.KindOf(e)
	if err != nil || kind == nil {
		return false, err
	}
	if err := kind.Validate(e); err != nil {
		return false, err
	}
	return true, nil
}

// PostProcess emits the relations that the entity's fields stand for. The
// reverse direction is emitted for pairs of kinds that have one.
func (m *Model) PostProcess(_ context.Context, e catalogcommon.Entity, step catalognode.Step) (catalogcommon.Entity, error) {
	kind, err := m.model.KindOf(e)
	if err != nil || kind == nil {
		return e, err
	}
	self := e.Ref()
	for _, f := range kind.RelationFields {
		parent, key := holder(e, f.Path)
		items, ok := parent[key].([]any)
		if !ok {
			items = []any{parent[key]}
		}
		for _, item := range items {
			text, _ := item.(string)
			if text == "" {
				continue
			}
			defaults := catalogcommon.RefDefaults{Kind: f.DefaultKind, Namespace: self.Namespace}
			if f.InDefaultNamespace {
				defaults.Namespace = catalogcommon.DefaultNamespace
			}
			target, err := catalogcommon.ParseRef(text, defaults)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			is := func(kind string) bool { return strings.EqualFold(kind, target.Kind) }
			if len(f.AllowedKinds) > 0 && !slices.ContainsFunc(f.AllowedKinds, is) {
				continue
			}
			step.Emit.Relation(catalogcommon.Relation{Source: self, Type: f.Relation, Target: target})
			for _, r := range m.model.RelationsOf(e.Kind()) {
				if r.Forward.Type == f.Relation && slices.ContainsFunc(r.ToKinds, is) {
					step.Emit.Relation(catalogcommon.Relation{Source: target, Type: r.Reverse.Type, Target: self})
					break
				}
			}
		}
	}
	return e, nil
}
