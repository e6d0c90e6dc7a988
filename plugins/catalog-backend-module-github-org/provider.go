package catalogmodulegithuborg

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/ingest"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// provider hands in users and groups. It implements
// [catalognode.EntityProvider].
type provider struct {
	settings
	options   options
	github    *githubapi.Hosts
	scheduler core.SchedulerService
	events    core.EventsService
	database  core.DatabaseService
	log       *slog.Logger

	sink atomic.Pointer[ingest.Provider] // set once connected
}

// ProviderName implements [catalognode.EntityProvider].
func (p *provider) ProviderName() string { return p.providerName() }

func (p *provider) taskID() string { return p.ProviderName() + ":refresh" }

// Connect begins to read the organizations, and to listen to webhooks.
func (p *provider) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	sink, err := ingest.New(ctx, ingest.Options{
		Provider: p.ProviderName(), LocationKey: "github-multi-org-provider:" + p.id, Connection: c, Database: p.database, Logger: p.log,
		Fingerprint: p.fingerprint(), MaxRemovedPercentage: p.maxRemoved, ConfigKey: p.key + ".rejectRemovalsAbovePercentage",
	})
	if err != nil {
		return err
	}
	p.sink.Store(sink)
	err = p.events.Subscribe(ctx, core.Subscription{
		ID: p.ProviderName(), Topics: []string{topicInstallation, topicMembership, topicOrganization, topicTeam}, OnEvent: p.onEvent,
	})
	if err != nil {
		return err
	}
	return p.scheduler.Schedule(ctx, core.Task{
		ID: p.taskID(), Schedule: p.schedule,
		Run: func(ctx context.Context, _ core.TaskRun) error { return p.refresh(ctx) },
	})
}

func (p *provider) source() (source, error) {
	api, err := p.github.Host(p.host)
	return source{settings: p.settings, api: api, verified: p.verifiedEmails || p.options.verified}, err
}

// refresh makes all members and teams what the provider has.
func (p *provider) refresh(ctx context.Context) error {
	s, err := p.source()
	if err != nil {
		return err
	}
	_, err = p.sink.Load().Full(ctx, func(ctx context.Context, add ingest.AddFunc) error {
		orgs, err := s.organizations(ctx, 0)
		if err != nil {
			return err
		}
		// Teams first: a user is handed in once, with its groups in all
		// organizations.
		in := memberships{}
		for _, org := range orgs {
			err := s.teams(ctx, org, "", func(t Team) error {
				e, err := p.group(ctx, t)
				if err != nil || e == nil {
					return err
				}
				in.add(e)
				return add(e)
			})
			if err != nil {
				return err
			}
		}
		seen := map[string]bool{}
		for _, org := range orgs {
			err := s.users(ctx, org, func(u User) error {
				e, err := p.user(ctx, u)
				if err != nil || e == nil || seen[refOf(e)] {
					return err
				}
				seen[refOf(e)] = true
				in.assign(e)
				return add(e)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// user returns the entity of a user without its groups, or nil.
func (p *provider) user(ctx context.Context, u User) (catalogcommon.Entity, error) {
	transform := p.options.users
	if transform == nil {
		transform = func(_ context.Context, u User) (catalogcommon.Entity, error) {
			if p.verifiedEmails && len(u.VerifiedEmails) > 0 {
				u.Email = u.VerifiedEmails[0]
			}
			return DefaultUser(u), nil
		}
	}
	e, err := transform(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("making the entity of the user %s: %w", u.Login, err)
	}
	return finish(e, p.url+"/"+u.Login)
}

// group returns the entity of a team, or nil.
func (p *provider) group(ctx context.Context, t Team) (catalogcommon.Entity, error) {
	transform := p.options.teams
	if transform == nil {
		transform = func(_ context.Context, t Team) (catalogcommon.Entity, error) { return DefaultTeam(t), nil }
	}
	e, err := transform(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("making the entity of the team %s: %w", t.CombinedSlug, err)
	}
	return finish(e, p.teamURL(t.Org, t.Slug))
}

func (p *provider) teamURL(org, slug string) string {
	return p.url + "/orgs/" + org + "/teams/" + slug
}

// finish completes what a transformer returned.
func finish(e catalogcommon.Entity, at string) (catalogcommon.Entity, error) {
	if e == nil {
		return nil, nil
	}
	e, err := catalogcommon.NormalizeEntity(e)
	if err != nil {
		return nil, err
	}
	return located(e, at), nil
}

// retired takes back what a provider that is not here any more had under its
// name.
type retired string

// ProviderName implements [catalognode.EntityProvider].
func (r retired) ProviderName() string { return string(r) }

// Connect takes everything back.
func (r retired) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	_, err := c.ApplyFull(ctx, func(func(catalognode.DeferredEntity, error) bool) {})
	return err
}
