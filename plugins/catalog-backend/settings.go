package catalogbackend

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

//go:embed config.schema.json
var configSchema string

// settings are what the plugin reads from the configuration once.
type settings struct {
	// interval is how often volatile entities are processed; 0 is never.
	interval                             time.Duration
	disableDefaults, readonly, yamlMerge bool
	keepOrphans, keepOrphanProviders     bool
	refreshOnConflict                    bool
	askForModel                          bool // of the description of actions
	scmEvents                            scmReactions
	processors                           map[string]processorOptions
	disabledProviders                    []string
	limits                               map[string]store.Limits // by provider
	configured                           string                  // what results depend on, as text
}

type processorOptions struct {
	disabled bool
	priority *float64
}

// scmReactions are what the catalog does about events of source hosts.
type scmReactions struct{ refresh, unregister, move bool }

// readSCMReactions reads true, false, or an object of reactions that are on
// unless it says otherwise.
func readSCMReactions(c core.Config) (r scmReactions, err error) {
	const key = "catalog.scmEvents"
	if v, _ := c.Value(key); !isObject(v) {
		on, err := c.BoolOr(key, false)
		return scmReactions{on, on, on}, err
	}
	for _, flag := range []struct {
		to  *bool
		key string
	}{{&r.refresh, "refresh"}, {&r.unregister, "unregister"}, {&r.move, "move"}} {
		if *flag.to, err = c.Sub(key).BoolOr(flag.key, true); err != nil {
			return r, err
		}
	}
	return r, nil
}

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

// defaultInterval is the lower end of the time after which a volatile entity
// is processed again; the upper end is half as much more.
const defaultInterval = 100 * time.Second

// minInterval keeps a mistyped interval from asking sources without a pause.
const minInterval = time.Second

func readSettings(c core.Config) (s settings, err error) {
	s = settings{interval: defaultInterval, processors: map[string]processorOptions{}}
	if v, _ := c.Value("catalog.processingInterval"); v == false {
		s.interval = 0
	} else if s.interval, err = c.DurationOr("catalog.processingInterval", defaultInterval); err != nil {
		return s, err
	} else {
		s.interval = max(s.interval, minInterval)
	}
	for _, flag := range []struct {
		to  *bool
		key string
	}{
		{&s.disableDefaults, "catalog.disableDefaultProcessors"},
		{&s.readonly, "catalog.readonly"},
		{&s.yamlMerge, "catalog.enableYamlMerge"},
		{&s.askForModel, "catalog.actions.experimentalCatalogLayersDescriptions.enabled"},
	} {
		if *flag.to, err = c.BoolOr(flag.key, false); err != nil {
			return s, err
		}
	}
	for _, choice := range []struct {
		to                *bool
		key, absent, word string
		words             []string
	}{
		{&s.keepOrphans, "catalog.orphanStrategy", "delete", "keep", []string{"delete", "keep"}},
		{&s.keepOrphanProviders, "catalog.orphanProviderStrategy", "delete", "keep", []string{"delete", "keep"}},
		{&s.refreshOnConflict, "catalog.defaultLocationConflictStrategy", "reject", "refresh", []string{"reject", "refresh"}},
	} {
		v, err := c.StringOr(choice.key, choice.absent)
		if err != nil {
			return s, err
		}
		if !slices.Contains(choice.words, v) {
			return s, &core.ConfigError{Key: c.Path(choice.key), Position: c.Position(choice.key), Problem: "must be one of " + strings.Join(choice.words, ", ") + ", found " + v}
		}
		*choice.to = v == choice.word
	}
	if err := s.readOptions(c); err != nil {
		return s, err
	}
	if s.scmEvents, err = readSCMReactions(c); err != nil {
		return s, err
	}
	watched := map[string]any{}
	for _, key := range []string{"catalog.rules", "catalog.locations", "catalog.processors", "catalog.processorOptions", "catalog.enableYamlMerge"} {
		if v, ok := c.Value(key); ok {
			watched[key] = v
		}
	}
	raw, err := json.Marshal(watched)
	s.configured = string(raw)
	return s, err
}

func (s *settings) readOptions(c core.Config) error {
	for _, name := range c.Keys("catalog.processorOptions") {
		sub := c.Sub("catalog.processorOptions").Sub(name)
		disabled, err := sub.BoolOr("disabled", false)
		if err != nil {
			return err
		}
		o := processorOptions{disabled: disabled}
		if sub.Has("priority") {
			p, err := sub.NumberOr("priority", 0)
			if err != nil {
				return err
			}
			o.priority = &p
		}
		s.processors[name] = o
	}
	s.limits = map[string]store.Limits{}
	for _, name := range c.Keys("catalog.providerOptions") {
		sub := c.Sub("catalog.providerOptions").Sub(name)
		disabled, err := sub.BoolOr("disabled", false)
		if err != nil {
			return err
		}
		if disabled {
			s.disabledProviders = append(s.disabledProviders, name)
		}
		if s.limits[name], err = readLimits(sub); err != nil {
			return err
		}
	}
	return nil
}

// readLimits reads what a full mutation of a provider may take away.
func readLimits(c core.Config) (l store.Limits, err error) {
	if l.NotEmpty, err = c.BoolOr("rejectEmptySourceCollections", false); err != nil {
		return l, err
	}
	const key = "rejectRemovalsAbovePercentage"
	if !c.Has(key) {
		return l, nil
	}
	percent, err := c.NumberOr(key, 0)
	if err == nil && (percent < 0 || percent > 100) {
		err = &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: fmt.Sprintf("must be a percentage from 0 to 100, found %g", percent)}
	}
	l.Removals = &percent
	return l, err
}

// defaultPriority is that of processors that name none.
const defaultPriority = 20

func (s settings) priority(p catalognode.Processor) float64 {
	if o := s.processors[p.ProcessorName()].priority; o != nil {
		return *o
	}
	if own, ok := p.(catalognode.Prioritized); ok {
		return float64(own.ProcessorPriority())
	}
	return defaultPriority
}

// providers returns the enabled providers; one of a module goes before a
// built-in one of the same name.
func (s settings) providers(added []catalognode.EntityProvider, builtin ...catalognode.EntityProvider) []catalognode.EntityProvider {
	var out []catalognode.EntityProvider
	for _, p := range append(slices.Clone(added), builtin...) {
		name := p.ProviderName()
		taken := slices.ContainsFunc(out, func(o catalognode.EntityProvider) bool { return o.ProviderName() == name })
		if !taken && !slices.Contains(s.disabledProviders, name) {
			out = append(out, p)
		}
	}
	return out
}

// modelVersion changes whenever this program makes another entity of the same
// input than its predecessor did.
const modelVersion = 1

// fingerprint names what the results of processing depend on beside the
// entities. m is nil without model layers.
func (s settings) fingerprint(chain []catalognode.Processor, m *model.Model) string {
	names := make([]string, len(chain))
	for i, p := range chain {
		names[i] = p.ProcessorName()
	}
	text := fmt.Appendf(nil, "%d %s %s", modelVersion, strings.Join(names, ","), s.configured)
	if m != nil {
		text = append(text, m.Fingerprint()...)
	}
	return catalogcommon.HashJSON(text)
}

// orphanAge is how long an entity that nobody hands in any more stays, so that
// it can move from one file to another.
const orphanAge = 30 * time.Second

// keptChanges is how many changes of final entities are kept for followers.
const keptChanges = 1_000_000

// housekeeping schedules what has to be done from time to time, by one
// instance.
func housekeeping(ctx context.Context, scheduler core.SchedulerService, state *store.Store, s settings) error {
	return scheduler.Schedule(ctx, core.Task{
		ID:       "catalog_orphan_cleanup",
		Schedule: core.Schedule{Frequency: core.Frequency{Every: orphanAge}, Timeout: 24 * time.Second},
		Run: func(ctx context.Context, _ core.TaskRun) error {
			if !s.keepOrphans {
				if _, err := state.RemoveOrphans(ctx, orphanAge); err != nil {
					return err
				}
			}
			return state.TrimChanges(ctx, keptChanges)
		},
	})
}
