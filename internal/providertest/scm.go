package providertest

import (
	"context"
	"slices"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func (c *Catalog) onSCMEvents(_ context.Context, events []catalognode.SCMEvent) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, events...)
	return nil
}

// TakeSCMEvents returns the events of source hosts since the last call.
func (c *Catalog) TakeSCMEvents() []catalognode.SCMEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.told
	c.told = nil
	return out
}

// Analyzer returns the analyzer for a URL, nil if the modules added none.
func (c *Catalog) Analyzer(url string) catalognode.LocationAnalyzer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.analyzers, func(a catalognode.LocationAnalyzer) bool { return a.Supports(url) }); i >= 0 {
		return c.analyzers[i]
	}
	return nil
}

// SetContent sets what [catalognode.Client.CheckLocation] answers for a
// target: an error, or what is there. Other targets are input errors.
func (c *Catalog) SetContent(target string, answer any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contents[target] = answer
}

type analysis struct{ c *Catalog }

func (x analysis) AddLocationAnalyzer(a ...catalognode.LocationAnalyzer) error {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.c.analyzers = append(x.c.analyzers, a...)
	return nil
}

func (analysis) SetLocationAnalyzer(catalognode.AnalyzerFactory) error { return nil }

// identity is that of the catalog.
type identity struct{ core.AuthService }

func (identity) Own() core.Credentials { return core.Credentials{} }

type client struct {
	catalognode.Client
	c *Catalog
}

func (x client) CheckLocation(_ context.Context, typ, target string, _ core.Credentials) (catalognode.LocationCheck, error) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	switch answer := x.c.contents[typ+":"+target].(type) {
	case catalognode.LocationCheck:
		return answer, nil
	case error:
		return catalognode.LocationCheck{}, answer
	case []catalogcommon.Entity:
		return catalognode.LocationCheck{Entities: answer}, nil
	default:
		return catalognode.LocationCheck{}, apierr.Input("nothing can be registered at %s:%s", typ, target)
	}
}
