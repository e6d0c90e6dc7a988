package locations

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Configured hands in catalog.locations, again whenever the configuration
// changes. It implements [catalognode.EntityProvider].
type Configured struct {
	config core.ConfigRoot
	failed func(ctx context.Context, err error)

	mu     sync.Mutex
	cancel func() // of the subscription
}

// NewConfigured returns the provider. failed is told when a changed
// configuration could not be applied.
func NewConfigured(config core.ConfigRoot, failed func(ctx context.Context, err error)) *Configured {
	return &Configured{config: config, failed: failed}
}

// ProviderName implements [catalognode.EntityProvider].
func (*Configured) ProviderName() string { return "ConfigLocationProvider" }

// Connect implements [catalognode.EntityProvider].
func (p *Configured) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	if err := p.apply(ctx, c); err != nil {
		return err
	}
	background := context.WithoutCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = p.config.Subscribe(func() {
		if err := p.apply(background, c); err != nil {
			p.failed(background, err)
		}
	})
	return nil
}

// Close ends following the configuration.
func (p *Configured) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
		p.cancel = nil
	}
	return nil
}

func (p *Configured) apply(ctx context.Context, c catalognode.ProviderConnection) error {
	list, err := Parse(p.config)
	if err != nil {
		return err
	}
	_, err = c.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		for _, l := range list {
			if !yield(deferred(l.Type, l.Target), nil) {
				return
			}
		}
	})
	return err
}

// Parse reads catalog.locations; paths become absolute.
func Parse(config core.Config) ([]catalogcommon.LocationRef, error) {
	list, err := config.List("catalog.locations")
	if err != nil {
		return nil, err
	}
	out := make([]catalogcommon.LocationRef, 0, len(list))
	for _, sub := range list {
		var l catalogcommon.LocationRef
		if l.Type, err = sub.String("type"); err != nil {
			return nil, err
		}
		if l.Target, err = sub.String("target"); err != nil {
			return nil, err
		}
		if l.Type == "file" {
			if l.Target, err = filepath.Abs(l.Target); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}
