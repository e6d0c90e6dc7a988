// Package catalogmoduleopenapi adds the placeholders $openapi and $asyncapi:
// they stand for an API definition in one or many files.
//
//	b.Add(catalogbackend.Plugin, catalogmoduleopenapi.Module)
//
// A catalog file then says
//
//	kind: API
//	spec:
//	  type: openapi
//	  definition:
//	    $openapi: ./openapi.yaml
//
// and the entity gets the file with all that its references lead to, as one
// document. The files must be in the repository of the catalog file, or at
// hosts that the backend may read. The entity is processed again when one of
// them changes, as far as events tell of it.
package catalogmoduleopenapi

import (
	"context"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/plugins/catalog-backend-module-openapi/internal/bundle"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Module adds the placeholders to the catalog.
var Module = backend.NewModule("catalog", "json-schema-ref-placeholder-resolver", func(env *backend.ModuleEnv) backend.InitFunc {
	processing := catalognode.Processing.From(env)
	return func(context.Context) error {
		for _, key := range []string{"asyncapi", "openapi"} {
			if err := processing().AddPlaceholderResolver(key, resolve); err != nil {
				return err
			}
		}
		return nil
	}
}, backend.WithDescription("Makes one API definition of many files ($openapi, $asyncapi)"))

func resolve(ctx context.Context, p catalognode.Placeholder) (any, error) {
	ref, ok := p.Value.(string)
	if !ok {
		return nil, apierr.Input("Placeholder $%s expected a string, the URL of a file or its path relative to the catalog file, found %T", p.Key, p.Value)
	}
	url, err := p.Resolve(ref, p.BaseURL)
	if err != nil {
		return nil, apierr.Input("Placeholder $%s could not form a URL out of %s and %s, %w", p.Key, p.BaseURL, ref, err)
	}
	p.Emit.Refresh("url:" + url)
	text, err := p.Read(ctx, url)
	if err != nil {
		return nil, apierr.Input("Placeholder $%s could not read location %s, %w", p.Key, ref, err)
	}
	source := bundle.Source{Read: p.Read, Resolve: p.Resolve, Opened: func(url string) { p.Emit.Refresh("url:" + url) }}
	out, err := bundle.New(source).Bundle(ctx, url, text)
	if err != nil {
		return nil, apierr.Input("Placeholder $%s unable to bundle the file at %s, %w", p.Key, ref, err)
	}
	return string(out), nil
}
