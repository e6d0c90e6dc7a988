package catalogmodulegithub

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/ingest"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// provider hands in the locations of the catalog files. It implements
// [catalognode.EntityProvider].
type provider struct {
	settings
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

// Connect begins to list the repositories, and to listen to webhooks.
func (p *provider) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	sink, err := ingest.New(ctx, ingest.Options{
		Provider: p.ProviderName(), LocationKey: p.ProviderName(), Connection: c, Database: p.database, Logger: p.log,
		Fingerprint: p.fingerprint(), MaxRemovedPercentage: p.maxRemoved, ConfigKey: p.key + ".rejectRemovalsAbovePercentage",
	})
	if err != nil {
		return err
	}
	p.sink.Store(sink)
	err = p.events.Subscribe(ctx, core.Subscription{ID: p.ProviderName(), Topics: []string{topicPush, topicRepository}, OnEvent: p.onEvent})
	if err != nil {
		return err
	}
	return p.scheduler.Schedule(ctx, core.Task{
		ID: p.taskID(), Schedule: p.schedule,
		Run: func(ctx context.Context, _ core.TaskRun) error { return p.refresh(ctx) },
	})
}

// refresh lists all repositories and makes them what the provider has.
func (p *provider) refresh(ctx context.Context) error {
	api, err := p.github.Host(p.host)
	if err != nil {
		return err
	}
	_, err = p.sink.Load().Full(ctx, func(ctx context.Context, add ingest.AddFunc) error {
		owners, err := p.owners(ctx, api, 0)
		if err != nil {
			return err
		}
		for _, owner := range owners {
			err := p.list(ctx, api, owner, func(r repository) error {
				if !p.filters.match(r) || p.validate && !r.hasFile {
					return nil
				}
				return add(location(p.target(r)))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// installationsFor is how long the installations of an app are believed when
// a webhook arrives. A run always reads them.
const installationsFor = 10 * time.Minute

// owners returns whose repositories count, as it was no longer than maxAge
// ago.
func (p *provider) owners(ctx context.Context, api *githubapi.API, maxAge time.Duration) ([]string, error) {
	if p.organization != "" {
		return []string{p.organization}, nil
	}
	installations, err := api.Installations(ctx, p.app, maxAge)
	if err != nil {
		return nil, err
	}
	owners := make([]string, len(installations))
	for i, in := range installations {
		owners[i] = in.Owner
	}
	return owners, nil
}

// concerns reports whether the repositories of the owner count.
func (p *provider) concerns(ctx context.Context, owner string) (bool, error) {
	if p.organization != "" {
		return strings.EqualFold(owner, p.organization), nil
	}
	api, err := p.github.Host(p.host)
	if err != nil {
		return false, err
	}
	owners, err := p.owners(ctx, api, installationsFor)
	if err != nil {
		return false, err
	}
	for _, o := range owners {
		if strings.EqualFold(o, owner) {
			return true, nil
		}
	}
	return false, nil
}

// exists reports whether the catalog file of the repository is there, or is
// not asked for.
func (p *provider) exists(ctx context.Context, r repository) (bool, error) {
	if !p.validate {
		return true, nil
	}
	api, err := p.github.Host(p.host)
	if err != nil {
		return false, err
	}
	return p.fileExists(ctx, api, r.owner, r.name)
}
