package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

type registerInput struct {
	CatalogInfoURL  string `json:"catalogInfoUrl,omitempty"`
	RepoContentsURL string `json:"repoContentsUrl,omitempty"`
	CatalogInfoPath string `json:"catalogInfoPath,omitempty"`
	Optional        bool   `json:"optional,omitempty"`
}

type registerOutput struct {
	EntityRef      string `json:"entityRef,omitempty"`
	CatalogInfoURL string `json:"catalogInfoUrl"`
}

const registerSchema = `{"anyOf":[` +
	`{"type":"object","properties":{"catalogInfoUrl":{"type":"string","description":"An absolute URL pointing to the catalog info file location"},"optional":{"type":"boolean","description":"Permit the registered location to optionally exist. Default: false"}},"required":["catalogInfoUrl"],"additionalProperties":false},` +
	`{"type":"object","properties":{"repoContentsUrl":{"type":"string","description":"An absolute URL pointing to the root of a repository directory tree"},"catalogInfoPath":{"type":"string","description":"A relative path from the repo root pointing to the catalog info file, defaults to /catalog-info.yaml"},"optional":{"type":"boolean","description":"Permit the registered location to optionally exist. Default: false"}},"required":["repoContentsUrl"],"additionalProperties":false}],` + draft

func (p Parts) register() scaffoldernode.Action {
	return withoutOutput(withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "catalog:register", Description: "Registers a catalog file in the catalog.",
		Examples: []scaffoldernode.ActionExample{example("Register a component", "steps:\n  - id: register\n    action: catalog:register\n    input:\n      catalogInfoUrl: https://github.com/acme/shop/blob/main/catalog-info.yaml\n")},
	}, p.registerLocation), registerSchema))
}

func (p Parts) registerLocation(ctx context.Context, c *scaffoldernode.ActionContext, in registerInput) (out registerOutput, err error) {
	target := in.CatalogInfoURL
	if target == "" {
		file := in.CatalogInfoPath
		if file == "" {
			file = "/catalog-info.yaml"
		}
		if _, known := p.Hosts.Kind(in.RepoContentsURL); !known {
			return out, apierr.Input("No integration found for host %s", in.RepoContentsURL)
		}
		if target, err = p.Hosts.Resolve(file, in.RepoContentsURL); err != nil {
			return out, err
		}
	}
	out.CatalogInfoURL = target
	c.Logger.Info("Registering " + target + " in the catalog")
	who, err := c.InitiatorCredentials(ctx)
	if err != nil {
		return out, err
	}
	// A run that went on after a crash may have registered it already.
	_, err = scaffoldernode.Checkpoint(ctx, c, "catalog.register."+target, func(ctx context.Context) (catalognode.RegisteredLocation, error) {
		return p.Catalog.AddLocation(ctx, "url", target, who)
	})
	if err != nil && !in.Optional {
		return out, err
	}
	found, err := p.Catalog.CheckLocation(ctx, "url", target, who)
	if err != nil {
		if in.Optional {
			return out, nil //nolint:nilerr // it may not be there
		}
		return out, err
	}
	if entity := mainEntity(found.Entities); entity != nil {
		out.EntityRef = entity.Ref().String()
	}
	return out, nil
}

// mainEntity returns the entity that a person means by the file: a component
// that was written by hand, if there is one.
func mainEntity(entities []catalogcommon.Entity) catalogcommon.Entity {
	var chosen catalogcommon.Entity
	for _, e := range entities {
		byHand := !strings.HasPrefix(e.Name(), "generated-")
		if byHand && e.Kind() == "Component" {
			return e
		}
		if byHand && (chosen == nil || strings.HasPrefix(chosen.Name(), "generated-")) || chosen == nil {
			chosen = e
		}
	}
	return chosen
}

type fetchEntitiesInput struct {
	EntityRef        string   `json:"entityRef,omitempty" description:"Entity reference of the entity to get"`
	EntityRefs       []string `json:"entityRefs,omitempty" description:"Entity references of the entities to get"`
	Optional         bool     `json:"optional,omitempty" description:"Allow the entity or entities to optionally exist. Default: false"`
	DefaultKind      string   `json:"defaultKind,omitempty" description:"The default kind"`
	DefaultNamespace string   `json:"defaultNamespace,omitempty" description:"The default namespace"`
}

type fetchEntitiesOutput struct {
	Entity   json.RawMessage   `json:"entity,omitempty" description:"Object containing same values used in the Entity schema. Only when used with entityRef parameter."`
	Entities []json.RawMessage `json:"entities,omitempty"`
}

func (p Parts) fetchEntities() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "catalog:fetch", Description: "Gives entities of the catalog.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Read an entity", "steps:\n  - id: owner\n    action: catalog:fetch\n    input:\n      entityRef: group:default/shop\n")},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in fetchEntitiesInput) (out fetchEntitiesOutput, err error) {
		if in.EntityRef == "" && in.EntityRefs == nil {
			if in.Optional {
				return out, nil
			}
			return out, apierr.New(apierr.KindError, "Missing entity reference or references")
		}
		refs := in.EntityRefs
		if in.EntityRef != "" {
			refs = append([]string{in.EntityRef}, refs...)
		}
		full := make([]string, len(refs))
		for i, ref := range refs {
			parsed, err := catalogcommon.ParseRef(ref, catalogcommon.RefDefaults{Kind: in.DefaultKind, Namespace: in.DefaultNamespace})
			if err != nil {
				return out, err
			}
			full[i] = parsed.String()
		}
		who, err := c.InitiatorCredentials(ctx)
		if err != nil {
			return out, err
		}
		entities, err := p.Catalog.EntitiesByRefs(ctx, full, catalognode.EntitiesQuery{}, who)
		if err != nil {
			return out, err
		}
		texts := make([]json.RawMessage, len(entities))
		for i, e := range entities {
			if e == nil && !in.Optional {
				return out, apierr.New(apierr.KindError, "Entity %s not found", refs[i])
			}
			texts[i] = json.RawMessage("null")
			if e != nil {
				texts[i] = e.AppendJSON(nil)
			}
		}
		if in.EntityRef != "" {
			out.Entity, texts = texts[0], texts[1:]
		}
		if in.EntityRefs != nil {
			out.Entities = texts
		}
		return out, nil
	})
}

type writeEntityInput struct {
	FilePath string          `json:"filePath,omitempty"`
	Entity   json.RawMessage `json:"entity"`
}

func writeEntity() scaffoldernode.Action {
	return withoutOutput(withInput(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "catalog:write", Description: "Writes an entity into a file of the workspace, and into it which template made it.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Write a component", "steps:\n  - id: write\n    action: catalog:write\n    input:\n      entity:\n        apiVersion: backstage.io/v1alpha1\n        kind: Component\n        metadata: {name: shop}\n        spec: {type: service, owner: group:default/shop, lifecycle: production}\n")},
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in writeEntityInput) (nothing, error) {
		file := in.FilePath
		if file == "" {
			file = "catalog-info.yaml"
		}
		entity, err := template.RecordOf(in.Entity)
		if err != nil {
			return nothing{}, apierr.Input("the entity has to be an object: %v", err)
		}
		if _, ok := template.Member(entity, "metadata").(*template.Record); !ok {
			return nothing{}, apierr.Input("the entity has no metadata")
		}
		if ref := c.Template.EntityRef; ref != "" {
			entity = entity.With(template.String(ref), "metadata", "annotations", "backstage.io/source-template")
		}
		text, err := yamlvalue.Append(nil, entity, yamlvalue.Options{LineWidth: 80})
		if err != nil {
			return nothing{}, fmt.Errorf("write the entity as YAML: %w", err)
		}
		c.Logger.Info("Writing " + file)
		name, err := inside(c.Workspace, file)
		if err != nil {
			return nothing{}, err
		}
		return nothing{}, writeFile(c.Workspace, filepath.FromSlash(name), bytes.NewReader(text), 0o644)
	}), `{"type":"object","properties":{"filePath":{"type":"string","description":"Defaults to catalog-info.yaml"},"entity":{"type":"object","additionalProperties":{},"description":"You can provide the same values used in the Entity schema."}},"required":["entity"],"additionalProperties":false,`+draft))
}
