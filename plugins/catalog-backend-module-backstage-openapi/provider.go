package catalogmodulebackstageopenapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// settings are those at catalog.providers.backstageOpenapi.
type settings struct {
	Plugins   []string       `json:"plugins"`
	Format    string         `json:"definitionFormat"`
	Overrides map[string]any `json:"entityOverrides"`
}

// Validate is called when the settings are read.
func (s *settings) Validate() error {
	if s.Format != "" && s.Format != "json" && s.Format != "yaml" {
		return fmt.Errorf("definitionFormat must be json or yaml, found %q", s.Format)
	}
	return nil
}

// provider hands the entity in. It implements [catalognode.EntityProvider].
type provider struct {
	settings
	baseURL   string
	discovery core.DiscoveryService
	scheduler core.SchedulerService
	log       *slog.Logger
	auth      core.AuthService
	peers     core.PluginClientService
	installed core.SystemMetadata

	connection catalognode.ProviderConnection
	last       map[string]map[string]any // documents by plugin; one run at a time has them
}

// ProviderName implements [catalognode.EntityProvider].
func (*provider) ProviderName() string { return providerName }

// Connect begins to ask.
func (p *provider) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	p.connection = c
	return p.scheduler.Schedule(ctx, core.Task{
		ID: providerName + ":refresh", Run: func(ctx context.Context, _ core.TaskRun) error { return p.refresh(ctx) },
		Schedule: core.Schedule{Frequency: core.Frequency{Every: time.Minute}, Timeout: time.Minute},
	})
}

func (p *provider) refresh(ctx context.Context) error {
	plugins := p.Plugins
	if plugins == nil {
		plugins = p.installed.Plugins()
	}
	all := newMerged(p.baseURL)
	documents := map[string]map[string]any{}
	for _, plugin := range slices.Compact(slices.Sorted(slices.Values(plugins))) {
		doc, err := p.ask(ctx, plugin)
		switch {
		case errors.Is(err, errNone):
			p.log.DebugContext(ctx, "a plugin has no OpenAPI document", "plugin", plugin)
			continue
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			p.log.ErrorContext(ctx, "the OpenAPI document of a plugin could not be read; what it said before counts", "plugin", plugin, "error", err)
			if doc = p.last[plugin]; doc == nil {
				continue
			}
		}
		below, err := p.below(ctx, plugin)
		if err != nil {
			return err
		}
		documents[plugin] = doc
		if taken := all.add(plugin, below, doc); len(taken) > 0 {
			p.log.WarnContext(ctx, "two plugins document the same paths; those of the first count", "plugin", plugin, "paths", taken)
		}
	}
	p.last = documents
	if len(documents) == 0 {
		p.log.WarnContext(ctx, "no plugin has an OpenAPI document; the catalog keeps what it has")
		return nil
	}
	e, err := p.entity(all.result())
	if err != nil {
		return err
	}
	_, err = p.connection.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		yield(catalognode.DeferredEntity{Entity: e, LocationKey: locationKey}, nil)
	})
	return err
}

// below returns the path at which a plugin is.
func (p *provider) below(ctx context.Context, plugin string) (string, error) {
	text, err := p.discovery.BaseURL(ctx, plugin)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("the URL of the plugin %s: %w", plugin, err)
	}
	return strings.TrimSuffix(u.Path, "/"), nil
}

// errNone says that a plugin has no document.
var errNone = errors.New("there is no OpenAPI document")

// maxDocument bounds a document.
const maxDocument = 16 << 20

// ask returns the document of a plugin.
func (p *provider) ask(ctx context.Context, plugin string) (doc map[string]any, err error) {
	response, err := p.peers.Do(ctx, core.PluginRequest{Plugin: plugin, Path: "/openapi.json", As: p.auth.Own()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return nil, errNone
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer has the status %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("the document is larger than %d MiB", maxDocument>>20)
	}
	v, err := jsonvalue.Parse(text)
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok || doc["openapi"] == nil {
		return nil, errors.New("the answer is no OpenAPI document")
	}
	return doc, nil
}

// entity returns the entity with a document.
func (p *provider) entity(doc map[string]any) (catalogcommon.Entity, error) {
	var text bytes.Buffer
	if p.Format == "yaml" {
		dumper, err := yaml.NewDumper(&text, yaml.WithIndent(2), yaml.WithLineWidth(-1))
		if err != nil {
			return nil, fmt.Errorf("set up the YAML writer: %w", err)
		}
		if err := errors.Join(dumper.Dump(doc), dumper.Close()); err != nil {
			return nil, fmt.Errorf("write the OpenAPI document as YAML: %w", err)
		}
	} else if err := json.Indent(&text, jsonvalue.Append(nil, doc), "", "  "); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document as JSON: %w", err)
	}
	e := map[string]any{
		"metadata": map[string]any{"name": "internal_backstage_openapi_doc", "title": "Backstage API"},
		"spec":     map[string]any{"lifecycle": "production", "owner": "backstage"},
	}
	overrides, err := jsonvalue.Normalize(p.Overrides)
	if err != nil {
		return nil, fmt.Errorf("%s.entityOverrides: %w", configKey, err)
	}
	if o, ok := overrides.(map[string]any); ok {
		override(e, o)
	}
	override(e, map[string]any{
		"apiVersion": catalogcommon.APIVersionV1beta1, "kind": "API",
		"metadata": map[string]any{"annotations": map[string]any{catalogcommon.AnnotationLocation: location, catalogcommon.AnnotationOriginLocation: location}},
		"spec":     map[string]any{"type": "openapi", "definition": text.String()},
	})
	return e, nil
}

// override merges objects; of other values, those of over count.
func override(e, over map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(over)) {
		there, isObject := e[key].(map[string]any)
		next, alsoObject := over[key].(map[string]any)
		if isObject && alsoObject {
			override(there, next)
			continue
		}
		e[key] = over[key]
	}
}
