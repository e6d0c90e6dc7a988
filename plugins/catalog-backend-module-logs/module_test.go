package catalogmodulelogs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogmodulelogs "github.com/flytower/flytower/plugins/catalog-backend-module-logs"
)

func TestErrorsAreLogged(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))
	srv := backendtest.Start(t, catalogmodulelogs.Module,
		backend.NewServiceFactory(core.Logger, func(*backend.FactoryEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return logger, nil }
		}))
	events := backendtest.Service(t, srv, "catalog", core.Events)
	for _, payload := range []string{
		`{"entity":"component:default/box","location":"url:https://x","errors":[{"name":"InputError","message":"no owner"},{"name":"Error","message":"no type"}]}`,
		`not an event`,
	} {
		if err := events.Publish(t.Context(), core.Event{Topic: catalogmodulelogs.Topic, Payload: json.RawMessage(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	// What else runs may log too, until it has ended.
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	type line struct{ Level, Msg, Entity, Location string }
	var have []line
	for d := json.NewDecoder(&text); d.More(); {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Entity != "" {
			have = append(have, l)
		}
	}
	want := []line{
		{"WARN", "no owner", "component:default/box", "url:https://x"},
		{"WARN", "no type", "component:default/box", "url:https://x"},
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("log (-want +have):\n%s", diff)
	}
}
