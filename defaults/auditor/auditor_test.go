package auditor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auditor"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/coretest"
)

var tokens = coretest.Tokens{
	"jane": core.UserCredentials("user:default/jane", "", core.NewToken("jane"), time.Time{}, false),
	"ci":   core.ServiceCredentials("external:ci", core.NewToken("ci"), nil, nil),
}

func TestRecords(t *testing.T) {
	t.Parallel()
	var records []auditor.Record
	a := auditor.New("things", tokens, slog.New(slog.DiscardHandler), func(_ context.Context, r auditor.Record) { records = append(records, r) })
	record := a.Begin(t.Context(), core.AuditEvent{ID: "clean-up", Severity: core.SeverityHigh, Meta: map[string]any{"a": 1, "b": 1}})
	record.Success(t.Context(), map[string]any{"b": 2})
	record.Fail(t.Context(), errors.New("too late, it was told already"), nil)
	a.Begin(t.Context(), core.AuditEvent{ID: "other"}).Fail(t.Context(), errors.New("no space"), map[string]any{"c": 3})

	actor := auditor.Actor{ActorID: "plugin:things"}
	want := []auditor.Record{
		{Plugin: "things", EventID: "clean-up", Severity: "high", Actor: actor, Meta: map[string]any{"a": 1, "b": 1}, Status: "initiated"},
		{Plugin: "things", EventID: "clean-up", Severity: "high", Actor: actor, Meta: map[string]any{"a": 1, "b": 2}, Status: "succeeded"},
		{Plugin: "things", EventID: "other", Severity: "low", Actor: actor, Status: "initiated"},
		{Plugin: "things", EventID: "other", Severity: "low", Actor: actor, Meta: map[string]any{"c": 3}, Status: "failed", Error: "no space"},
	}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestActorOfRequest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ token, actor string }{{"jane", "user:default/jane"}, {"ci", "external:ci"}, {"", ""}, {"forged", ""}} {
		var records []auditor.Record
		var log bytes.Buffer
		a := auditor.New("things", tokens, slog.New(slog.NewTextHandler(&log, nil)), func(_ context.Context, r auditor.Record) { records = append(records, r) })
		server := httptest.NewServer(http.StripPrefix("/api/things", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			a.Begin(r.Context(), core.AuditEvent{ID: "get", Request: r})
		})))
		t.Cleanup(server.Close)
		req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/api/things/a%2Fb?c=d&token=hunter2", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Header["User-Agent"] = "portal.example:7007", []string{"test/1"}
		if tc.token != "" {
			req.Header.Set("Authorization", "Bearer "+tc.token)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := []auditor.Record{{
			Plugin: "things", EventID: "get", Severity: "low", Status: "initiated",
			Actor:   auditor.Actor{ActorID: tc.actor, IP: "127.0.0.1", Hostname: "portal.example", UserAgent: "test/1"},
			Request: &auditor.Request{URL: "/api/things/a%2Fb?c=d&token=***", Method: "POST"},
		}}
		if diff := cmp.Diff(want, records); diff != "" {
			t.Errorf("token %q (-want +got):\n%s", tc.token, diff)
		}
		if forged := tc.token == "forged"; forged != strings.Contains(log.String(), "actor of an audit event is unknown") {
			t.Errorf("token %q: log %s", tc.token, log.String())
		}
	}
}

func TestLogSink(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	handler := slog.NewJSONHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	sink := auditor.LogSink(slog.New(handler).With("plugin", "things"), auditor.DefaultLevels())
	record := auditor.Record{
		Plugin: "things", EventID: "delete", Severity: core.SeverityMedium, Actor: auditor.Actor{ActorID: "user:default/jane"},
		Request: &auditor.Request{URL: "/x", Method: "DELETE"}, Meta: map[string]any{"id": 1}, Status: auditor.Failed, Error: "no",
	}
	sink(t.Context(), record)
	record.Severity = core.SeverityLow // below the level of the log
	sink(t.Context(), record)
	want := `{"level":"INFO","msg":"things.delete","plugin":"things","isAuditEvent":true,"eventId":"delete","severityLevel":"medium",` +
		`"actor":{"actorId":"user:default/jane"},"status":"failed","request":{"url":"/x","method":"DELETE"},"meta":{"id":1},"error":"no"}` + "\n"
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestReadLevels(t *testing.T) {
	t.Parallel()
	got, err := auditor.ReadLevels(configtest.FromYAML(t, `backend: { auditor: { severityLogLevelMappings: { low: info, critical: error } } }`))
	if err != nil {
		t.Fatal(err)
	}
	want := auditor.Levels{"low": slog.LevelInfo, "medium": slog.LevelInfo, "high": slog.LevelInfo, "critical": slog.LevelError}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
	_, err = auditor.ReadLevels(configtest.FromYAML(t, `backend: { auditor: { severityLogLevelMappings: { high: loud } } }`))
	if err == nil || !strings.Contains(err.Error(), "severityLogLevelMappings.high") || !strings.Contains(err.Error(), "use debug, info, warn or error") {
		t.Errorf("got %v", err)
	}
}

func TestConfigSchemaIsJSON(t *testing.T) {
	t.Parallel()
	if !json.Valid([]byte(auditor.ConfigSchema)) {
		t.Error("it is not JSON")
	}
}
