package httprouter

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
)

// gate holds requests back until the plugin has started.
type gate struct {
	plugin   string
	wait     time.Duration
	instance backend.Instance
	stopping <-chan struct{}
	started  chan struct{}
	up       atomic.Bool
}

func (g *gate) open() {
	if !g.up.Swap(true) {
		close(g.started)
	}
}

// pass returns nil when the plugin serves, at once or after a while.
func (g *gate) pass(r *http.Request) error {
	if g.up.Load() {
		select {
		case <-g.stopping:
			return apierr.ServiceUnavailable("Service is shutting down")
		default:
			return nil
		}
	}
	if err := g.failure(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.wait)
	defer cancel()
	failed := make(chan struct{}, 1)
	defer g.instance.Subscribe(func(st backend.Status) {
		if failedIn(st, g.plugin) {
			select {
			case failed <- struct{}{}:
			default:
			}
		}
	})()
	select {
	case <-g.started:
		return nil
	case <-failed:
	case <-g.stopping:
		if err := g.failure(); err != nil {
			return err
		}
		return apierr.ServiceUnavailable("Service is shutting down")
	case <-ctx.Done():
	}
	if err := g.failure(); err != nil {
		return err
	}
	return apierr.ServiceUnavailable("Service has not started up yet")
}

// failure returns the error that callers get if the plugin failed to start.
// It leaves out why: the reason names hosts and files, and even callers with
// credentials may be anybody who can sign in. Operators find it in the log
// and below /.backstage/health/v1/detail.
func (g *gate) failure() error {
	if failedIn(g.instance.Status(), g.plugin) {
		return apierr.ServiceUnavailable("Plugin '%s' failed to start; the log of the backend says why", g.plugin)
	}
	return nil
}

func failedIn(st backend.Status, plugin string) bool {
	return slices.ContainsFunc(st.Plugins, func(p backend.PluginStatus) bool { return p.ID == plugin && p.State == backend.StateFailed })
}
