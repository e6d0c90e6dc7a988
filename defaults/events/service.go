package events

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the configuration of the service.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "events": {
      "type": "object",
      "description": "How events travel. Other members belong to the plugin of that name.",
      "additionalProperties": true,
      "properties": {
        "useEventBus": {
          "type": "string",
          "enum": ["auto", "always", "never"],
          "default": "auto",
          "description": "Whether events go to other backends through the plugin events: always, never, or, with auto, if that plugin is there. Default: auto."
        }
      }
    }
  }
}`

// BusMode says whether events go to the bus.
type BusMode string

// Modes of the bus.
const (
	BusAuto   BusMode = "auto"   // if it is there
	BusAlways BusMode = "always" // it is an error if it is not there
	BusNever  BusMode = "never"
)

// ReadBusMode reads events.useEventBus.
func ReadBusMode(config core.Config) (BusMode, error) {
	text, err := config.StringOr("events.useEventBus", string(BusAuto))
	if err != nil {
		return "", err
	}
	mode := BusMode(text)
	if !slices.Contains([]BusMode{BusAuto, BusAlways, BusNever}, mode) {
		return "", &core.ConfigError{
			Key: config.Path("events.useEventBus"), Position: config.Position("events.useEventBus"),
			Problem: fmt.Sprintf("is %q", text), Remedy: "use auto, always or never",
		}
	}
	return mode, nil
}

// Factory is the default factory of core.Events.
var Factory = NewFactory()

// NewFactory returns a factory with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.Events,
		func(*backend.RootEnv) backend.MakeFunc[*Local] {
			return func(context.Context) (*Local, error) { return NewLocal(opts...), nil }
		},
		func(env *backend.FactoryEnv, root func() *Local) backend.MakeFunc[core.EventsService] {
			plugin, config, log := core.PluginMetadata.From(env), core.RootConfig.From(env), core.Logger.From(env)
			lifecycle, plugins, auth := core.Lifecycle.From(env), core.PluginClient.From(env), core.Auth.From(env)
			return func(context.Context) (core.EventsService, error) {
				mode, err := ReadBusMode(config())
				if err != nil {
					return nil, fmt.Errorf("events: %w", err)
				}
				return New(root(), Services{
					Plugin: plugin().ID(), Log: log(), Lifecycle: lifecycle(), Plugins: plugins(), Auth: auth(),
				}, mode, opts...)
			}
		})
}

// Services are what the events of a plugin work with.
type Services struct {
	// Plugin is the id of the plugin that publishes and subscribes.
	Plugin    string
	Log       *slog.Logger
	Lifecycle backend.Lifecycle
	// Plugins and Auth reach the bus; they are not needed with BusNever.
	Plugins core.PluginClientService
	Auth    core.AuthService
}

// Service has the events of one plugin.
type Service struct {
	local    *Local
	remote   *remote // nil without a bus
	services Services
	work     *work
}

// New returns the events of a plugin.
func New(local *Local, services Services, mode BusMode, opts ...Option) (*Service, error) {
	s := &Service{local: local, services: services, work: newWork()}
	if mode != BusNever {
		set := newSettings(opts)
		s.remote = &remote{
			plugins: services.Plugins, auth: services.Auth, log: services.Log, must: mode == BusAlways,
			minPause: set.minPause, maxPause: set.maxPause,
		}
	}
	if err := services.Lifecycle.OnStop("finish events", s.work.stop); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return s, nil
}

// Publish delivers the event.
func (s *Service) Publish(ctx context.Context, e core.Event) error {
	if e.Topic == "" {
		return apierr.Input("an event needs a topic")
	}
	if s.stopping() || !s.work.begin() {
		return apierr.ServiceUnavailable("plugin %s is stopping and publishes no more events", s.services.Plugin)
	}
	defer s.work.end()
	notified, err := s.local.publish(ctx, e)
	if err != nil || s.remote == nil {
		return err
	}
	return s.remote.publish(ctx, e, notified)
}

// Subscribe begins to deliver events to the subscription.
func (s *Service) Subscribe(_ context.Context, sub core.Subscription) error {
	switch {
	case sub.ID == "":
		return fmt.Errorf("plugin %s: a subscription needs an id", s.services.Plugin)
	case len(sub.Topics) == 0:
		return fmt.Errorf("plugin %s: subscription %s names no topics", s.services.Plugin, sub.ID)
	case sub.OnEvent == nil:
		return fmt.Errorf("plugin %s: subscription %s has no OnEvent function", s.services.Plugin, sub.ID)
	case s.stopping():
		return apierr.ServiceUnavailable("plugin %s is stopping and subscribes no more", s.services.Plugin)
	}
	topics := slices.Clone(sub.Topics)
	slices.Sort(topics)
	added := &subscriber{
		id: s.services.Plugin + "." + sub.ID, topics: slices.Compact(topics), onEvent: sub.OnEvent,
		timeout: s.local.timeout, log: s.services.Log, guard: s.services.Lifecycle.Guard,
		work: s.work, slots: make(chan struct{}, s.local.concurrency),
	}
	s.local.add(added)
	s.services.Lifecycle.Go("events of "+added.id, func(ctx context.Context) error {
		defer s.local.remove(added)
		if s.remote != nil {
			if err := s.remote.follow(ctx, added); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	})
	return nil
}

func (s *Service) stopping() bool {
	select {
	case <-s.services.Lifecycle.Done():
		return true
	default:
		return false
	}
}
