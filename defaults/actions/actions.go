// Package actions is the default alpha.core.actions: it lists and invokes the
// actions that the plugins of a deployment publish.
//
//	infos, err := actions().List(ctx, who)
//	output, err := actions().Invoke(ctx, "catalog:get-catalog-entity", core.ActionCall{Input: input, As: who})
//
// The plugins that are asked are those of backend.actions.pluginSources,
// wherever they run, always on behalf of the caller.
package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/actionfilter"
)

// ConfigSchema describes the configuration of the service.
const ConfigSchema = actionfilter.ConfigSchema

const (
	// DefaultListTimeout is how long a plugin may take to list its actions.
	DefaultListTimeout = 10 * time.Second
	// concurrentSources bounds how many plugins are asked at once.
	concurrentSources = 8
)

// Option adjusts the service.
type Option func(*Service)

// WithListTimeout sets how long a plugin may take to list its actions before
// it is left out; the default is [DefaultListTimeout].
func WithListTimeout(d time.Duration) Option { return func(s *Service) { s.listTimeout = d } }

// Factory is the default factory of core.Actions.
var Factory = NewFactory()

// NewFactory returns a factory with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactory(core.Actions, func(env *backend.FactoryEnv) backend.MakeFunc[core.ActionsService] {
		config, plugins, log := core.RootConfig.From(env), core.PluginClient.From(env), core.Logger.From(env)
		return func(context.Context) (core.ActionsService, error) {
			filter, err := actionfilter.Read(config())
			if err != nil {
				return nil, fmt.Errorf("actions: %w", err)
			}
			return New(plugins(), log(), filter, opts...), nil
		}
	})
}

// Service lists and invokes actions. It is safe for concurrent use.
type Service struct {
	plugins     core.PluginClientService
	log         *slog.Logger
	filter      actionfilter.Filter
	listTimeout time.Duration
}

// New returns a service that asks the sources of the filter.
func New(plugins core.PluginClientService, log *slog.Logger, filter actionfilter.Filter, opts ...Option) *Service {
	s := &Service{plugins: plugins, log: log, filter: filter, listTimeout: DefaultListTimeout}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// List returns the actions that who may see, in the order of the configured
// sources. A source that fails is logged and left out.
func (s *Service) List(ctx context.Context, who core.Credentials) ([]core.ActionInfo, error) {
	lists := make([][]core.ActionInfo, len(s.filter.Sources))
	var group errgroup.Group
	group.SetLimit(concurrentSources)
	for i, plugin := range s.filter.Sources {
		group.Go(func() error {
			list, err := s.listOf(ctx, who, plugin)
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "a plugin did not list its actions, they are left out", "source", plugin, "error", err.Error())
			}
			lists[i] = list
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all := []core.ActionInfo{}
	for _, list := range lists {
		all = append(all, list...)
	}
	return all, nil
}

// Find returns one action, and asks the plugin that has it only.
func (s *Service) Find(ctx context.Context, who core.Credentials, id string) (core.ActionInfo, bool, error) {
	plugin, _, ok := strings.Cut(id, ":")
	if !ok || !slices.Contains(s.filter.Sources, plugin) {
		return core.ActionInfo{}, false, nil
	}
	list, err := s.listOf(ctx, who, plugin)
	if err != nil {
		return core.ActionInfo{}, false, fmt.Errorf("asking %s for its actions: %w", plugin, err)
	}
	for _, a := range list {
		if a.ID == id {
			return a, true, nil
		}
	}
	return core.ActionInfo{}, false, nil
}

func (s *Service) listOf(ctx context.Context, who core.Credentials, plugin string) ([]core.ActionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.listTimeout)
	defer cancel()
	var answer struct{ Actions []core.ActionInfo }
	if err := s.plugins.Call(ctx, core.PluginRequest{Plugin: plugin, Path: "/.backstage/actions/v1/actions", As: who}, &answer); err != nil {
		return nil, err
	}
	shown := answer.Actions[:0]
	for _, a := range answer.Actions {
		if source, _, ok := strings.Cut(a.ID, ":"); !ok || source != plugin {
			s.log.WarnContext(ctx, "a plugin listed an action of another plugin, it is left out", "source", plugin, "action", a.ID)
			continue
		}
		if s.filter.Shows(plugin, a.ID, a.Attributes) {
			shown = append(shown, a)
		}
	}
	return shown, nil
}

// Invoke runs an action and returns its output. The error of the plugin
// passes through as a *apierr.ResponseError.
func (s *Service) Invoke(ctx context.Context, id string, call core.ActionCall) (json.RawMessage, error) {
	plugin, name, ok := strings.Cut(id, ":")
	if !ok || plugin == "" || name == "" {
		return nil, apierr.Input("%q is no id of an action, which have the form plugin:name", id)
	}
	input := call.Input
	if len(input) == 0 {
		input = json.RawMessage(`{}`)
	}
	version, body := "v1", any(input)
	if call.Secrets != nil {
		version, body = "v2", map[string]any{"input": input, "secrets": call.Secrets}
	}
	var answer struct{ Output json.RawMessage }
	err := s.plugins.Call(ctx, core.PluginRequest{
		Plugin: plugin, Method: http.MethodPost, Path: "/.backstage/actions/" + version + "/actions/" + url.PathEscape(id) + "/invoke",
		JSON: body, As: call.As,
	}, &answer)
	if err != nil {
		return nil, fmt.Errorf("invoking action %s: %w", id, err)
	}
	return answer.Output, nil
}
