package actions_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/actions"
	"github.com/flytower/flytower/internal/actionfilter"
	"github.com/flytower/flytower/internal/coretest"
)

var jane = core.UserCredentials("user:default/jane", "", core.NewToken("jane"), time.Time{}, false)

// deployment has the plugins alpha and beta, which work, and broken.
func deployment(t *testing.T, requests *[]string) *coretest.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if requests != nil {
			*requests = append(*requests, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization")+" "+string(body))
		}
		plugin, path, _ := strings.Cut(r.URL.Path[1:], "/")
		switch {
		case plugin == "broken":
			apierr.Write(w, r, apierr.ServiceUnavailable("down"), "")
		case path == ".backstage/actions/v1/actions":
			apierr.WriteJSON(w, 200, map[string]any{"actions": []any{
				map[string]any{"id": plugin + ":read", "name": "read", "attributes": map[string]bool{"readOnly": true}},
				map[string]any{"id": plugin + ":delete", "name": "delete", "attributes": map[string]bool{"destructive": true}},
				map[string]any{"id": "foreign:x", "name": "x"},
			}})
		case strings.Contains(path, ":nope/"):
			apierr.Write(w, r, apierr.NotFound("no such action"), "")
		default:
			apierr.WriteJSON(w, 200, map[string]any{"output": map[string]any{"done": true}})
		}
	}))
	t.Cleanup(server.Close)
	return &coretest.Client{URLs: map[string]string{"alpha": server.URL + "/alpha", "beta": server.URL + "/beta", "broken": server.URL + "/broken"}}
}

func TestList(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := actions.New(deployment(t, nil), slog.New(slog.NewTextHandler(&log, nil)), actionfilter.Filter{
		Sources: []string{"beta", "broken", "alpha"}, Exclude: []actionfilter.Rule{{ID: "alpha:delete"}},
	})
	infos, err := s.List(t.Context(), jane)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, info := range infos {
		ids = append(ids, info.ID)
	}
	if diff := cmp.Diff([]string{"beta:read", "beta:delete", "alpha:read"}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if !strings.Contains(log.String(), "source=broken") || !strings.Contains(log.String(), "foreign:x") {
		t.Errorf("log: %s", log.String())
	}
}

func TestListWithoutSources(t *testing.T) {
	t.Parallel()
	infos, err := actions.New(&coretest.Client{}, slog.New(slog.DiscardHandler), actionfilter.Filter{}).List(t.Context(), jane)
	if err != nil || infos == nil || len(infos) != 0 {
		t.Errorf("got %v, %v, want an empty list", infos, err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	var requests []string
	s := actions.New(deployment(t, &requests), slog.New(slog.DiscardHandler), actionfilter.Filter{
		Sources: []string{"alpha", "broken"}, Exclude: []actionfilter.Rule{{ID: "alpha:delete"}},
	})
	if a, ok, err := s.Find(t.Context(), jane, "alpha:read"); err != nil || !ok || a.Name != "read" {
		t.Errorf("alpha:read: %v, %t, %v", a, ok, err)
	}
	for _, id := range []string{"alpha:nope", "alpha:delete", "beta:read", "foreign:x", "alpha", ""} {
		if a, ok, err := s.Find(t.Context(), jane, id); err != nil || ok {
			t.Errorf("%q: %v, %t, %v", id, a, ok, err)
		}
	}
	for _, r := range requests {
		if !strings.HasPrefix(r, "GET /alpha/.backstage/actions/v1/actions Bearer jane") {
			t.Errorf("it asked %s", r)
		}
	}
	if _, _, err := s.Find(t.Context(), jane, "broken:x"); apierr.KindOf(err) != apierr.KindServiceUnavailable {
		t.Errorf("a plugin that does not answer: %v", err)
	}
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	var requests []string
	s := actions.New(deployment(t, &requests), slog.New(slog.DiscardHandler), actionfilter.Filter{})
	for _, call := range []core.ActionCall{
		{As: jane, Input: json.RawMessage(`{"a":1}`)},
		{As: jane},
		{As: jane, Input: json.RawMessage(`{"a":1}`), Secrets: map[string]string{"k": "v"}},
	} {
		output, err := s.Invoke(t.Context(), "alpha:read", call)
		if err != nil {
			t.Fatal(err)
		}
		if string(output) != `{"done":true}` {
			t.Errorf("output %s", output)
		}
	}
	want := []string{
		`POST /alpha/.backstage/actions/v1/actions/alpha:read/invoke Bearer jane {"a":1}`,
		`POST /alpha/.backstage/actions/v1/actions/alpha:read/invoke Bearer jane {}`,
		`POST /alpha/.backstage/actions/v2/actions/alpha:read/invoke Bearer jane {"input":{"a":1},"secrets":{"k":"v"}}`,
	}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestInvokeErrors(t *testing.T) {
	t.Parallel()
	s := actions.New(deployment(t, nil), slog.New(slog.DiscardHandler), actionfilter.Filter{})
	var remote *apierr.ResponseError
	if _, err := s.Invoke(t.Context(), "alpha:nope", core.ActionCall{As: jane}); !errors.As(err, &remote) || remote.StatusCode != 404 || apierr.Status(err) != 404 {
		t.Errorf("unknown action: %v", err)
	}
	for _, id := range []string{"", "alpha", ":x", "alpha:"} {
		if _, err := s.Invoke(t.Context(), id, core.ActionCall{As: jane}); !errors.Is(err, apierr.Input("")) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
