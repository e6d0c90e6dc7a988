package locations

import (
	"context"
	"strings"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// SCMRefresher reads entities anew when a source host tells that their files
// changed. It implements [catalognode.EntityProvider], and hands in nothing.
type SCMRefresher struct {
	events catalognode.SCMEventsService
	// refresh makes due what depends on, or was read at, one of the locations,
	// or below one of the prefixes.
	refresh func(ctx context.Context, locations, prefixes []string) (int, error)

	mu     sync.Mutex
	cancel func()
}

// NewSCMRefresher returns the provider.
func NewSCMRefresher(events catalognode.SCMEventsService, refresh func(ctx context.Context, locations, prefixes []string) (int, error)) *SCMRefresher {
	return &SCMRefresher{events: events, refresh: refresh}
}

// ProviderName implements [catalognode.EntityProvider].
func (*SCMRefresher) ProviderName() string { return "GenericScmEventRefreshProvider" }

// Connect begins to listen.
func (p *SCMRefresher) Connect(context.Context, catalognode.ProviderConnection) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = p.events.Subscribe(p.ProviderName(), p.onEvents)
	return nil
}

// Close ends listening.
func (p *SCMRefresher) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
	return nil
}

func (p *SCMRefresher) onEvents(ctx context.Context, events []catalognode.SCMEvent) error {
	var files, prefixes []string
	for _, e := range events {
		switch {
		case e.Type == catalognode.SCMLocationUpdated:
			files = append(files, engine.StoredKey("url:"+e.URL))
			if tree, ok := treeURL(e.URL); ok {
				files = append(files, engine.StoredKey("url:"+tree))
			}
		case e.Type == catalognode.SCMRepositoryUpdated && !strings.ContainsAny(e.URL, "?#"):
			// What follows a query is no path below the repository.
			prefixes = append(prefixes, "url:"+strings.TrimRight(e.URL, "/")+"/")
		}
	}
	if len(files)+len(prefixes) == 0 {
		return nil
	}
	n, err := p.refresh(ctx, files, prefixes)
	p.events.ActionTaken(ctx, catalognode.SCMActionRefresh, n)
	return err
}

// treeURL returns the other URL of a file, under which placeholders and
// relative targets at GitHub and GitLab name it.
func treeURL(u string) (string, bool) {
	before, after, ok := strings.Cut(u, "/blob/")
	return before + "/tree/" + after, ok
}
