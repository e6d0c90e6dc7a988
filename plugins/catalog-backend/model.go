package catalogbackend

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// modelWarning is how often the log tells that sources of the model are
// waited for.
const modelWarning = 3 * time.Second

// readModel reads all sources at once and compiles their layers. It returns
// nil if there is no source.
func readModel(ctx context.Context, sources []catalognode.ModelSource, every time.Duration, log *slog.Logger) (*model.Model, error) {
	if len(sources) == 0 {
		return nil, nil
	}
	layers := make([][]model.Layer, len(sources))
	group, reading := errgroup.WithContext(ctx)
	for i, read := range sources {
		group.Go(func() (err error) {
			layers[i], err = read(reading)
			return err
		})
	}
	done := make(chan struct{})
	var warning sync.WaitGroup
	warning.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				log.WarnContext(ctx, "the catalog waits for the sources of its model", "sources", len(sources))
			}
		}
	})
	err := group.Wait()
	close(done)
	warning.Wait()
	if err != nil {
		return nil, err
	}
	all := slices.Concat(layers...)
	for _, l := range all {
		log.InfoContext(ctx, "loaded a layer of the catalog's model", "layer", l.ID)
	}
	return model.Compile(all...)
}
