// Package exampledata has the small catalog that "flytower run" shows where
// there is no configuration: the software of a theatre.
package exampledata

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/flytower/flytower/backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

//go:embed catalog
var files embed.FS

// Module hands the example entities to the catalog. It shows how little an
// entity provider has to do, too.
var Module = backend.NewModule("catalog", "example-data", func(env *backend.ModuleEnv) backend.InitFunc {
	processing := catalognode.Processing.From(env)
	return func(context.Context) error { return processing().AddProvider(provider{}) }
}, backend.WithDescription("Hands in the example entities"))

type provider struct{}

// ProviderName implements [catalognode.EntityProvider].
func (provider) ProviderName() string { return "example-data" }

// Connect implements [catalognode.EntityProvider].
func (provider) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	_, err := c.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		entities, err := Entities()
		if err != nil {
			yield(catalognode.DeferredEntity{}, err)
			return
		}
		for _, e := range entities {
			if !yield(e, nil) {
				return
			}
		}
	})
	return err
}

// Entities returns the example entities, with the file that each is from.
func Entities() ([]catalognode.DeferredEntity, error) {
	names, err := fs.Glob(files, "catalog/*.yaml")
	if err != nil {
		return nil, err
	}
	var out []catalognode.DeferredEntity
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for doc := range entityyaml.Documents(text, entityyaml.Options{}) {
			e, err := doc.Entity()
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, doc.Line, err)
			}
			if e == nil {
				continue
			}
			at := catalogcommon.LocationRef{Type: "embedded", Target: name}.String()
			e.SetAnnotation(catalogcommon.AnnotationLocation, at)
			e.SetAnnotation(catalogcommon.AnnotationOriginLocation, at)
			out = append(out, catalognode.DeferredEntity{Entity: e, LocationKey: "example-data", Order: doc.KeyOrder()})
		}
	}
	return out, nil
}
