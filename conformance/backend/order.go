package main

import (
	"context"
	"sync"
	"time"

	"github.com/flytower/flytower/backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// recordedOrder makes the catalog read the sources in the order of the records.
// Two of them hand in the same entity, and whoever comes first keeps it: in the
// records that is the shorter way, entities/invalid.yaml. On a busy machine
// the longer way, through entities/all.yaml, could win now and then.
var recordedOrder = backend.NewModule("catalog", "recorded-order", func(env *backend.ModuleEnv) backend.InitFunc {
	processing := catalognode.Processing.From(env)
	return func(context.Context) error {
		return processing().AddProcessor(&order{taken: make(chan struct{})})
	}
}, backend.WithDescription("Reads sources in the order of the records"))

const (
	// contended is the entity that two sources hand in.
	contended = "component:default/zeta"
	// later leads to the source that lost.
	later = "location:default/example-root"
	// patience is how long the later source waits for the other one, which
	// need not be configured.
	patience = 10 * time.Second
)

type order struct {
	once  sync.Once
	taken chan struct{}
}

func (*order) ProcessorName() string { return "RecordedOrderProcessor" }

func (o *order) PreProcess(ctx context.Context, entity catalogcommon.Entity, _ catalognode.Step) (catalogcommon.Entity, error) {
	switch entity.Ref().String() {
	case contended: // who is processed was stored
		o.once.Do(func() { close(o.taken) })
	case later:
		select {
		case <-o.taken:
		case <-time.After(patience):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return entity, nil
}
