package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

const (
	// notifyTimeoutHeader tells for how many milliseconds the bus keeps an
	// answer without events open.
	notifyTimeoutHeader = "Backstage-Events-Notify-Timeout"
	// defaultNotifyTimeout is what the bus does unless it is configured.
	defaultNotifyTimeout = 55 * time.Second
	// requestTimeout limits every other exchange with the bus.
	requestTimeout = time.Minute
	// maxAnswer bounds an answer: ten events of five megabytes, escaped.
	maxAnswer = 128 << 20
	// shortWait is how long the bus keeps an answer without events open at
	// least, unless an event comes; one that ends earlier is not repeated at
	// once.
	shortWait = 100 * time.Millisecond
)

// remote is the bus as one plugin sees it.
type remote struct {
	plugins            core.PluginClientService
	auth               core.AuthService
	log                *slog.Logger
	must               bool // a bus that is not there is an error
	minPause, maxPause time.Duration

	// absent is set when the bus turned out not to be there.
	absent atomic.Bool
}

// errAbsent says that there is no bus, and that this is no error.
var errAbsent = errors.New("there is no event bus")

func (r *remote) call(ctx context.Context, method, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := r.plugins.Call(ctx, core.PluginRequest{Plugin: "events", Method: method, Path: path, JSON: body, As: r.auth.Own()}, nil)
	var refused *apierr.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound && !r.must {
		if !r.absent.Swap(true) {
			r.log.WarnContext(ctx, "there is no plugin \"events\": events stay within this backend; add the plugin, or set events.useEventBus to never")
		}
		return errAbsent
	}
	return err
}

// publish hands the event to the bus.
func (r *remote) publish(ctx context.Context, e core.Event, notified []string) error {
	if r.absent.Load() {
		return nil
	}
	payload := e.Payload
	if payload == nil {
		payload = json.RawMessage("null")
	}
	err := r.call(ctx, http.MethodPost, "/bus/v1/events", map[string]any{
		"event":               map[string]any{"topic": e.Topic, "payload": payload},
		"notifiedSubscribers": notified,
	})
	if err != nil && !errors.Is(err, errAbsent) {
		return fmt.Errorf("publishing an event of topic %q to the event bus: %w", e.Topic, err)
	}
	return nil
}

// follow receives the events of the subscription until ctx ends or there
// turns out to be no bus.
func (r *remote) follow(ctx context.Context, s *subscriber) error {
	known, pause := false, r.minPause
	for ctx.Err() == nil {
		var err error
		if known {
			known, err = r.poll(ctx, s)
		} else {
			err = r.call(ctx, http.MethodPut, "/bus/v1/subscriptions/"+url.PathEscape(s.id), map[string]any{"topics": s.topics})
			if errors.Is(err, errAbsent) {
				return nil
			}
			known = err == nil
		}
		switch {
		case err == nil:
			if known {
				pause = r.minPause
			}
		case ctx.Err() == nil:
			r.log.WarnContext(ctx, "the event bus failed, it is tried again", "subscriber", s.id, "pause", pause, "error", err.Error())
			sleep(ctx, pause)
			pause = min(pause*2, r.maxPause)
		}
	}
	return nil
}

// poll asks once for events and handles them. It reports whether the bus
// knows the subscription.
func (r *remote) poll(ctx context.Context, s *subscriber) (known bool, err error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := time.AfterFunc(requestTimeout, cancel)
	defer limit.Stop()
	resp, err := r.plugins.Do(waiting, core.PluginRequest{
		Plugin: "events", Path: "/bus/v1/subscriptions/" + url.PathEscape(s.id) + "/events", As: r.auth.Own(),
	})
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		var answer struct{ Events []core.Event }
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
			return true, fmt.Errorf("reading events: %w", err)
		}
		for _, e := range answer.Events {
			// The bus will not send them again, so they are handled even
			// while the plugin stops.
			s.handle(context.WithoutCancel(ctx), e)
		}
		return true, nil
	case http.StatusAccepted:
		began := time.Now()
		limit.Reset(notifyTimeout(resp.Header) + time.Second)
		_, _ = io.Copy(io.Discard, resp.Body) // however it ends, it is time to ask again
		if time.Since(began) < shortWait {
			sleep(ctx, shortWait)
		}
		return true, nil
	case http.StatusNotFound:
		return false, nil
	default:
		return true, apierr.FromResponse(resp)
	}
}

func notifyTimeout(h http.Header) time.Duration {
	ms, err := strconv.Atoi(h.Get(notifyTimeoutHeader))
	if err != nil || ms <= 0 || ms > int(time.Hour/time.Millisecond) {
		return defaultNotifyTimeout
	}
	return time.Duration(ms) * time.Millisecond
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
