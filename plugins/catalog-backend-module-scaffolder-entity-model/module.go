// Package catalogmodulescaffolderentitymodel teaches the catalog the kind
// Template (scaffolder.backstage.io/v1beta3).
//
//	b.Add(catalogbackend.Plugin, catalogmodulescaffolderentitymodel.Module)
package catalogmodulescaffolderentitymodel

import (
	"context"

	"github.com/flytower/flytower/backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Module adds the processor of templates.
var Module = backend.NewModule("catalog", "scaffolder-entity-model", func(env *backend.ModuleEnv) backend.InitFunc {
	processing := catalognode.Processing.From(env)
	return func(context.Context) error {
		return processing().AddProcessor(templates{kinds.NewSet(kinds.Template())})
	}
}, backend.WithDescription("Adds the kind Template to the catalog"))

type templates struct{ set *kinds.Set }

// ProcessorName implements [catalognode.Processor].
func (templates) ProcessorName() string { return "ScaffolderEntitiesProcessor" }

// ValidateKind implements [catalognode.KindValidator].
func (t templates) ValidateKind(_ context.Context, e catalogcommon.Entity) (bool, error) {
	return t.set.Validate(e)
}

// PostProcess emits who owns the template.
func (t templates) PostProcess(_ context.Context, e catalogcommon.Entity, step catalognode.Step) (catalogcommon.Entity, error) {
	relations, err := t.set.Relations(e)
	if err != nil {
		return nil, err
	}
	for _, r := range relations {
		step.Emit.Relation(r)
	}
	return e, nil
}
