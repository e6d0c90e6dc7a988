package catalogbackend_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/testdb"
	unprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// opened starts a backend that need not have the entities.
func opened(t *testing.T, db *testdb.Database, config string, more ...backend.Feature) *portal {
	t.Helper()
	p, err := tryOpen(t, db, config, more...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// read registers a file and waits until its component is there.
func (p *portal) read(path, text, name string) answer {
	p.t.Helper()
	p.source.Store(path, text)
	p.register(path)
	var a answer
	p.eventually(name+" is there", func() bool {
		a = p.do(getMethod, "/entities/by-name/component/default/"+name, "")
		return a.status == http.StatusOK
	})
	return a
}

func extends(name string, fn func(catalognode.ProcessingExtensionPoint) error) backend.Feature {
	return backend.NewModule("catalog", name, func(env *backend.ModuleEnv) backend.InitFunc {
		processing := catalognode.Processing.From(env)
		return func(context.Context) error { return fn(processing()) }
	})
}

// stamp is a processor that notes that it was there.
type stamp string

func (s stamp) ProcessorName() string { return string(s) }

func (s stamp) PreProcess(_ context.Context, e catalogcommon.Entity, _ catalognode.Step) (catalogcommon.Entity, error) {
	e.SetAnnotation("example.com/stamps", e.Annotation("example.com/stamps")+string(s))
	return e, nil
}

func stamps(names ...string) backend.Feature {
	return extends("stamps", func(x catalognode.ProcessingExtensionPoint) error {
		for _, n := range names {
			if err := x.AddProcessor(stamp(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// hands is a provider of one component.
type hands string

func (h hands) ProviderName() string { return string(h) }

func (h hands) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	at := "url:http://source.example.com/" + string(h)
	_, err := c.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		yield(catalognode.DeferredEntity{LocationKey: string(h), Entity: catalogcommon.Entity{
			"apiVersion": "backstage.io/v1alpha1", "kind": "Component",
			"metadata": map[string]any{"name": string(h), "annotations": map[string]any{catalogcommon.AnnotationLocation: at, catalogcommon.AnnotationOriginLocation: at}},
			"spec":     map[string]any{"type": "x", "lifecycle": "y", "owner": "z"},
		}}, nil)
	})
	return err
}

func provides(name string) backend.Feature {
	return extends("provides", func(x catalognode.ProcessingExtensionPoint) error { return x.AddProvider(hands(name)) })
}

func TestProcessorSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, want string }{
		"as added":  {"", "ab"},
		"priority":  {"  processorOptions: {b: {priority: 1}}\n", "ba"},
		"disabled":  {"  processorOptions: {a: {disabled: true}}\n", "b"},
		"all":       {"  processorOptions: {a: {disabled: true}, b: {disabled: true}}\n", "<nil>"},
		"of others": {"  processorOptions: {c: {disabled: true}}\n", "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t, testdb.NewSQLite(t), c.config, stamps("a", "b"))
			a := p.do(getMethod, "/entities/by-name/component/default/ticketing", "")
			var body struct {
				Metadata struct{ Annotations map[string]any }
			}
			decode(t, a.text, &body)
			if got := fmt.Sprint(body.Metadata.Annotations["example.com/stamps"]); got != c.want {
				t.Errorf("stamps %s, want %s", got, c.want)
			}
		})
	}
}

func TestBuiltInProcessorsThatAreOff(t *testing.T) {
	t.Parallel()
	withText := strings.Replace(guide, "metadata: {name: audio-guide}", "metadata: {name: audio-guide, description: {$text: ./text.md}}", 1)
	p := open(t, testdb.NewSQLite(t), "")
	p.source.Store("/text.md", "Listen!")
	if a := p.read("/a.yaml", withText, "audio-guide"); a.get("metadata.description") != "Listen!" {
		t.Errorf("with the processor of placeholders: %s", a.text)
	}
	p = opened(t, testdb.NewSQLite(t), "  processorOptions: {PlaceholderProcessor: {disabled: true}}\n", unprocessed.Module)
	p.source.Store("/text.md", "Listen!")
	p.source.Store("/a.yaml", withText)
	p.register("/a.yaml")
	p.eventually("the placeholder is no description", func() bool {
		return strings.Contains(p.failed(), "description")
	})
	p = opened(t, testdb.NewSQLite(t), "  disableDefaultProcessors: true\n", unprocessed.Module)
	p.eventually("nothing reads the location", func() bool {
		return strings.Contains(p.failed(), "No processor was able to handle reading of file:")
	})
}

// failed returns what could not be processed, as text.
func (p *portal) failed() string { return p.do(getMethod, "/entities/unprocessed/failed", "").text }

func TestYAMLMerge(t *testing.T) {
	t.Parallel()
	const text = `
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: merged}
x: &base {type: service, lifecycle: production}
spec: {<<: *base, owner: foyer}
`
	p := open(t, testdb.NewSQLite(t), "  enableYamlMerge: true\n")
	valid := strings.Replace(strings.Replace(text, "x: &base {type: service, lifecycle: production}\n", "", 1), "<<: *base", "<<: {type: service, lifecycle: production}", 1)
	if a := p.read("/a.yaml", valid, "merged"); a.get("spec.lifecycle") != "production" {
		t.Errorf("%s", a.text)
	}
}

func TestConflictsOfLocationsThatRefresh(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "  defaultLocationConflictStrategy: refresh\n")
	p.read("/a.yaml", guide, "audio-guide")
	p.source.Store("/a.yaml", strings.Replace(guide, "experimental", "production", 1))
	p.register("/a.yaml") // fails on a conflict
	p.eventually("it is read again", func() bool { return p.lifecycleOf("audio-guide") == "production" })
	again := p.do(postMethod, "/locations?onConflict=reject", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+"/a.yaml"))
	if again.status != http.StatusConflict {
		t.Errorf("rejected at request: %d %s", again.status, again.text)
	}
}

func TestProvidersThatAreOff(t *testing.T) {
	t.Parallel()
	p := opened(t, testdb.NewSQLite(t), "  providerOptions: {ConfigLocationProvider: {disabled: true}, extra: {disabled: false}}\n", provides("extra"))
	p.read("/a.yaml", guide, "audio-guide")
	p.eventually("the provider that is on has its entity there", func() bool { return p.lifecycleOf("extra") == "y" })
	if a := p.do(getMethod, "/entities?filter=kind=component&fields=metadata.name&order=asc:metadata.name", ""); a.text != `[{"metadata":{"name":"audio-guide"}},{"metadata":{"name":"extra"}}]` {
		t.Errorf("entities: %s", a.text)
	}
}

// The entities of a provider that is not installed any more go, or stay.
func TestProvidersThatAreGone(t *testing.T) {
	t.Parallel()
	for strategy, status := range map[string]int{"delete": http.StatusNotFound, "keep": http.StatusOK} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			db := testdb.NewSQLite(t)
			config := "  orphanProviderStrategy: " + strategy + "\n"
			p := opened(t, db, config, provides("extra"))
			p.eventually("its entity is there", func() bool { return p.lifecycleOf("extra") == "y" })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := p.backend.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			p = opened(t, db, config)
			if a := p.do(getMethod, "/entities/by-name/component/default/extra", ""); a.status != status {
				t.Errorf("%d %s", a.status, a.text)
			}
		})
	}
}

// An orphan is marked; with the strategy keep that is all.
func TestOrphansThatAreKept(t *testing.T) {
	t.Parallel()
	o := newObserved()
	p := open(t, testdb.NewSQLite(t), "  orphanStrategy: keep\n", o.factory())
	p.read("/a.yaml", guide, "audio-guide")
	p.source.Store("/a.yaml", strings.Replace(guide, "audio-guide", "other", 1))
	p.register("/b.yaml")
	all := p.do(getMethod, "/locations", "")
	ref := fmt.Sprint(all.get("0.data.entityRef"))
	if all.get("0.data.target") != p.files.URL+"/a.yaml" {
		ref = fmt.Sprint(all.get("1.data.entityRef"))
	}
	if a := p.do(postMethod, "/refresh", fmt.Sprintf(`{"entityRef":%q}`, ref)); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.text)
	}
	p.eventually("it is an orphan", func() bool {
		var body struct {
			Metadata struct{ Annotations map[string]string }
		}
		a := p.do(getMethod, "/entities/by-name/component/default/audio-guide", "")
		decode(t, a.text, &body)
		return body.Metadata.Annotations["backstage.io/orphan"] == "true"
	})
	p.eventually("its new final form was measured", func() bool {
		got := o.metrics(t)
		return got["catalog.stitching.queue.delay"] > 0 && got["catalog.stitching.duration{result=changed}"] > 0
	})
}

// A replica that processes nothing still serves, and takes registrations.
func TestReplicasThatOnlyServe(t *testing.T) {
	t.Parallel()
	o := newObserved()
	p := opened(t, testdb.NewSQLite(t), "  processingInterval: false\n", o.factory())
	p.source.Store("/a.yaml", guide)
	p.register("/a.yaml")
	if got := o.metrics(t); got["catalog.processing.queue.length"] != 2 || got["catalog.processed.entities.count{result=changed}"] != 0 {
		t.Errorf("metrics: %v", got)
	}
	if a := p.do(getMethod, "/entities", ""); a.status != http.StatusOK || a.text != "[]" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// The action that queries describes the model, or refers to the action that
// does, which describes the layers in force.
func TestDescriptionsOfActions(t *testing.T) {
	t.Parallel()
	for config, describes := range map[string]bool{
		"": true,
		"  actions: {experimentalCatalogLayersDescriptions: {enabled: false}}\n": true,
		"  actions: {experimentalCatalogLayersDescriptions: {enabled: true}}\n":  false,
	} {
		t.Run(strings.TrimSpace(config), func(t *testing.T) {
			t.Parallel()
			p := opened(t, testdb.NewSQLite(t), config, catalognode.ProvideStaticModel(model.AIResources()))
			var listed struct {
				Actions []struct{ ID, Description string }
			}
			decode(t, p.do(getMethod, "/.backstage/actions/v1/actions", "").text, &listed)
			found := false
			for _, a := range listed.Actions {
				if a.ID != "catalog:query-catalog-entities" {
					continue
				}
				found = true
				if strings.Contains(a.Description, "| Component |") != describes || strings.Contains(a.Description, "get-catalog-model-description") == describes {
					t.Errorf("%s", a.Description)
				}
			}
			if !found {
				t.Error("the action is not listed")
			}
			text := fmt.Sprint(p.do(postMethod, "/.backstage/actions/v1/actions/catalog:get-catalog-model-description/invoke", "{}").get("output.description"))
			for _, want := range []string{"| Component | `backstage.io/v1alpha1`, `backstage.io/v1beta1` |", "**`lifecycle`**", "AiResource of type `rule`", "| `ownedBy` | `ownerOf` |", "`backstage.io/managed-by-location`"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
		})
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"  orphanStrategy: perhaps\n":                                              `config key "catalog.orphanStrategy" must be one of delete, keep, found perhaps`,
		"  orphanProviderStrategy: 7\n":                                            `config key "catalog.orphanProviderStrategy"`,
		"  defaultLocationConflictStrategy: ignore\n":                              `must be one of reject, refresh, found ignore`,
		"  processingInterval: often\n":                                            `config key "catalog.processingInterval"`,
		"  readonly: perhaps\n":                                                    `config key "catalog.readonly"`,
		"  actions: {experimentalCatalogLayersDescriptions: {enabled: perhaps}}\n": `config key "catalog.actions.experimentalCatalogLayersDescriptions.enabled"`,
		"  scmEvents: perhaps\n":                                                   `config key "catalog.scmEvents"`,
		"  scmEvents: {refresh: perhaps}\n":                                        `config key "catalog.scmEvents.refresh"`,
		"  processorOptions: {a: {priority: first}}\n":                             `config key "catalog.processorOptions.a.priority"`,
		"  providerOptions: {a: {disabled: perhaps}}\n":                            `config key "catalog.providerOptions.a.disabled"`,
		"  processors: {github: {providers: []}}\n":                                `config key "catalog.processors.github" is deprecated and has no effect; configure the host at integrations.github`,
		"  processors: {gitlabApi: {}, azureApi: {a: 1}}\n":                        `config key "catalog.processors.azureApi" is deprecated`,
	} {
		t.Run(strings.TrimSpace(config), func(t *testing.T) {
			t.Parallel()
			_, err := tryOpen(t, testdb.NewSQLite(t), config)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "app-config.yaml:") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Locations that would find others, and whose processor is not there, stop
// the start: nobody would notice that they find nothing.
func TestLocationsWithoutTheirProcessor(t *testing.T) { // not parallel: it sets the environment
	const config = "  locations:\n    - {type: github-discovery, target: 'https://github.com/acme'}\n    - {type: ldap-org, target: x}\n"
	_, err := tryOpen(t, testdb.NewSQLite(t), config)
	for _, want := range []string{
		`"catalog.locations[0].type" is github-discovery, which is read by the processor GithubDiscoveryProcessor that is not installed`, "catalog.providers.github",
		`"catalog.locations[1].type" is ldap-org`, "BACKSTAGE_CATALOG_SKIP_MISSING_PROCESSORS_CHECK=1",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not said: %s\n\nin: %v", want, err)
		}
	}
	if _, err := tryOpen(t, testdb.NewSQLite(t), config, stamps("GithubDiscoveryProcessor", "LdapOrgReaderProcessor")); err != nil {
		t.Errorf("with the processors: %v", err)
	}
	t.Setenv("BACKSTAGE_CATALOG_SKIP_MISSING_PROCESSORS_CHECK", "1")
	if _, err := tryOpen(t, testdb.NewSQLite(t), config); err != nil {
		t.Errorf("without the check: %v", err)
	}
}
