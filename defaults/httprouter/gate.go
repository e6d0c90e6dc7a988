package httprouter

import (
	"context"
	"errors"
	"net/http"
	"strings"
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

// errFailed says that the plugin failed to start; reason is for callers that
// may know it.
type errFailed struct{ plugin, reason string }

func (e *errFailed) Error() string { return "Plugin '" + e.plugin + "' failed to start" }

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
		if failureIn(st, g.plugin) != nil {
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

func (g *gate) failure() error {
	if err := failureIn(g.instance.Status(), g.plugin); err != nil {
		return err
	}
	return nil
}

func failureIn(st backend.Status, plugin string) *errFailed {
	for _, p := range st.Plugins {
		if p.ID == plugin && p.State == backend.StateFailed {
			return &errFailed{plugin, shorten(p.Error)}
		}
	}
	return nil
}

// maxReason bounds the text of an error that callers see, in bytes.
const maxReason = 300

func shorten(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// answerTo returns the error that the caller may see: the reason of a failed
// start is for callers with credentials only.
func answerTo(err error, hasCredentials func() bool) error {
	var failed *errFailed
	if !errors.As(err, &failed) {
		return err
	}
	if failed.reason != "" && hasCredentials() {
		return apierr.ServiceUnavailable("%s: %s", failed.Error(), failed.reason)
	}
	return apierr.ServiceUnavailable("%s; the log of the backend says why", failed.Error())
}
