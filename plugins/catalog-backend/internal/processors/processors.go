// Package processors holds the processors that the catalog has without any
// module.
package processors

import (
	"context"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Builtin validates the core kinds and emits their relations.
type Builtin struct{ set *kinds.Set }

// NewBuiltin returns the processor of the core kinds.
func NewBuiltin() *Builtin { return &Builtin{kinds.NewSet(kinds.Core()...)} }

// ProcessorName implements [catalognode.Processor].
func (*Builtin) ProcessorName() string { return "BuiltinKindsEntityProcessor" }

// PreProcess sorts lists of refs, so that their order is no change.
func (*Builtin) PreProcess(_ context.Context, e catalogcommon.Entity, _ catalognode.Step) (catalogcommon.Entity, error) {
	kinds.SortReferences(e)
	return e, nil
}

// ValidateKind implements [catalognode.KindValidator].
func (b *Builtin) ValidateKind(_ context.Context, e catalogcommon.Entity) (bool, error) {
	return b.set.Validate(e)
}

// PostProcess emits the relations that the entity's fields stand for.
func (b *Builtin) PostProcess(_ context.Context, e catalogcommon.Entity, step catalognode.Step) (catalogcommon.Entity, error) {
	relations, err := b.set.Relations(e)
	if err != nil {
		return nil, err
	}
	for _, r := range relations {
		step.Emit.Relation(r)
	}
	return e, nil
}
