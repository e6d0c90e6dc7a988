package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// feedSource is the environment variable with the address of a source.
const feedSource = "E2E_SOURCE"

// feed hands in what a source has: all of it once a second, on one replica at
// a time, and single entities when somebody calls the route like a webhook.
var feed = backend.NewModule("catalog", "feed", func(env *backend.ModuleEnv) backend.InitFunc {
	processing, scheduler, router := catalognode.Processing.From(env), core.Scheduler.From(env), core.HTTPRouter.From(env)
	return func(ctx context.Context) error {
		f := &feeder{source: os.Getenv(feedSource)}
		router().HandleErr("POST /feed/webhook", f.webhook)
		if err := processing().AddProvider(f); err != nil {
			return err
		}
		return scheduler().Schedule(ctx, core.Task{
			ID:       "feed:refresh",
			Schedule: core.Schedule{Frequency: core.Frequency{Every: time.Second}, Timeout: time.Minute},
			Run: func(ctx context.Context, _ core.TaskRun) error {
				_, err := f.connection.ApplyFull(ctx, f.all(ctx))
				return err
			},
		})
	}
})

type feeder struct {
	source     string
	connection catalognode.ProviderConnection
}

func (*feeder) ProviderName() string { return "feed" }

func (f *feeder) Connect(_ context.Context, c catalognode.ProviderConnection) error {
	f.connection = c
	return nil
}

// read asks the source for a document.
func (f *feeder) read(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.source+path, nil)
	if err != nil {
		return err
	}
	resp, err := network.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return apierr.NotFound("%s is not there", path)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the source answers %s", resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (f *feeder) all(ctx context.Context) iter.Seq2[catalognode.DeferredEntity, error] {
	return func(yield func(catalognode.DeferredEntity, error) bool) {
		var list []catalogcommon.Entity
		if err := f.read(ctx, "/entities", &list); err != nil {
			yield(catalognode.DeferredEntity{}, err)
			return
		}
		for _, e := range list {
			if !yield(catalognode.DeferredEntity{Entity: e, LocationKey: "feed"}, nil) {
				return
			}
		}
	}
}

// webhook is told which entities changed, and looks how they are now.
func (f *feeder) webhook(w http.ResponseWriter, r *http.Request) error {
	var names []string
	if err := json.NewDecoder(r.Body).Decode(&names); err != nil {
		return apierr.Input("not a list of names: %w", err)
	}
	var d catalognode.Delta
	for _, name := range names {
		var e catalogcommon.Entity
		switch err := f.read(r.Context(), "/entities/"+name, &e); {
		case apierr.KindOf(err) == apierr.KindNotFound:
			d.Removed = append(d.Removed, "component:default/"+name)
		case err != nil:
			return apierr.ServiceUnavailable("%w", err)
		default:
			d.Added = append(d.Added, catalognode.DeferredEntity{Entity: e, LocationKey: "feed"})
		}
	}
	if _, err := f.connection.ApplyDelta(r.Context(), d); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
