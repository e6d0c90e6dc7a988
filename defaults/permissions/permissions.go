// Package permissions is the default core.permissions: it asks the permission
// plugin, wherever it runs, whether a caller may do something.
//
//	results, err := permissions().Authorize(ctx, who, core.AuthorizeRequest{Permission: CreateThing})
//	if err == nil && results[0] != core.Allowed {
//		err = apierr.NotAllowed("you may not create things")
//	}
//
// Services are decided here, by the restrictions that their token carries.
// Users, and callers without credentials, are decided by the permission
// plugin, without a request if it is in the same process, and are all allowed
// unless permission.enabled is true. Checks that
// are the same, of the same caller, and under way at the same time, are asked
// once. An answer that lacks a decision is an error, never an allowance.
package permissions

import (
	"context"
	"fmt"
	"slices"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the configuration of the service.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "permission": {
      "type": "object",
      "description": "Who may do what.",
      "properties": {
        "enabled": {
          "type": "boolean",
          "visibility": "frontend",
          "default": false,
          "description": "Whether users are asked for permission. Default: false, users may do everything."
        },
        "EXPERIMENTAL_enableBatchedRequests": {
          "type": "boolean",
          "default": false,
          "description": "Ask for all resources of a permission in one item; the permission plugin must understand that. Default: false."
        }
      }
    }
  }
}`

// Options configure a service.
type Options struct {
	// Enabled asks the permission plugin; otherwise users may do everything.
	Enabled bool
	// Batched asks for all resources of a permission in one item.
	Batched bool
}

// ReadOptions reads the options from the configuration.
func ReadOptions(config core.Config) (Options, error) {
	enabled, err := config.BoolOr("permission.enabled", false)
	if err != nil {
		return Options{}, err
	}
	batched, err := config.BoolOr("permission.EXPERIMENTAL_enableBatchedRequests", false)
	return Options{Enabled: enabled, Batched: batched}, err
}

// Factory is the default factory of core.Permissions.
var Factory = backend.NewServiceFactory(core.Permissions, func(env *backend.FactoryEnv) backend.MakeFunc[core.PermissionsService] {
	config, plugins := core.RootConfig.From(env), core.PluginClient.From(env)
	plugin, place := core.PluginMetadata.From(env), core.LocalPermissions.From(env)
	return func(context.Context) (core.PermissionsService, error) {
		options, err := ReadOptions(config())
		if err != nil {
			return nil, fmt.Errorf("permissions: %w", err)
		}
		s := New(plugins(), options)
		s.local = &local{caller: plugin().ID(), place: place(), here: func() bool { return plugins().Local("permission") }}
		return s, nil
	}
})

// Service asks for decisions. It is safe for concurrent use.
type Service struct {
	options  Options
	remote   *remote
	local    *local // may be nil
	inflight inflight
}

// New returns a service that reaches the permission plugin through plugins.
func New(plugins core.PluginClientService, options Options) *Service {
	return &Service{options: options, remote: &remote{plugins: plugins, batched: options.Batched}}
}

// Authorize decides each request, in order.
func (s *Service) Authorize(ctx context.Context, who core.Credentials, requests ...core.AuthorizeRequest) ([]core.AuthorizeResult, error) {
	results := make([]core.AuthorizeResult, len(requests))
	if decide := s.byToken(who); decide != nil {
		for i, r := range requests {
			results[i] = decide(r.Permission)
		}
		return results, nil
	}
	checks := make([]check, len(requests))
	for i, r := range requests {
		checks[i] = check{permission: r.Permission, ref: r.ResourceRef}
	}
	decisions, err := s.inflight.do(ctx, who, checks, s.ask)
	if err != nil {
		return nil, err
	}
	for i, d := range decisions {
		results[i] = d.Result
	}
	return results, nil
}

// AuthorizeConditional decides each permission as far as possible, in order.
func (s *Service) AuthorizeConditional(ctx context.Context, who core.Credentials, permissions ...core.Permission) ([]core.Decision, error) {
	if decide := s.byToken(who); decide != nil {
		decisions := make([]core.Decision, len(permissions))
		for i, p := range permissions {
			decisions[i].Result = decide(p)
		}
		return decisions, nil
	}
	checks := make([]check, len(permissions))
	for i, p := range permissions {
		checks[i] = check{permission: p, conditional: true}
	}
	return s.inflight.do(ctx, who, checks, s.ask)
}

// ask puts the checks to the permission plugin, wherever it runs.
func (s *Service) ask(ctx context.Context, who core.Credentials, checks []check) ([]core.Decision, error) {
	if d, ok := s.local.decider(who); ok {
		return s.local.ask(ctx, d, who, checks)
	}
	return s.remote.ask(ctx, who, checks)
}

// byToken returns how to decide without the permission plugin, nil if it must
// be asked.
func (s *Service) byToken(who core.Credentials) func(core.Permission) core.AuthorizeResult {
	switch {
	case who.IsService():
		return func(p core.Permission) core.AuthorizeResult { return ofService(who.Principal.Restrictions, p) }
	case !s.options.Enabled:
		return func(core.Permission) core.AuthorizeResult { return core.Allowed }
	default:
		return nil
	}
}

func ofService(r *core.AccessRestrictions, p core.Permission) core.AuthorizeResult {
	switch {
	case r == nil:
		return core.Allowed
	case len(r.PermissionNames) > 0 && !slices.Contains(r.PermissionNames, p.Name):
		return core.Denied
	case len(r.PermissionActions) > 0 && !slices.Contains(r.PermissionActions, p.Attributes.Action):
		return core.Denied
	default:
		return core.Allowed
	}
}
