package catalogmoduleincrementalingestion_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-node/incremental"
)

const base = "/api/catalog/incremental/"

func TestStartAnew(t *testing.T) {
	t.Parallel()
	o := incremental.Options{BurstLength: time.Nanosecond, RestLength: time.Hour}
	b := begin(t, o, &source{pages: []string{"a", "b", "c"}})
	b.tick()
	if message := b.post("start"); message != "staff: Next cycle triggered." { // gives up what was read
		t.Error(message)
	}
	b.wantStatus("canceling", "")
	b.source.set("x", "c")
	b.tick()
	b.wantCatalog("a b x") // nothing goes away before the last page
	b.tick()
	b.wantCatalog("c x")
	b.wantStatus("resting", "")
	b.tick()
	b.post("start") // ends the rest
	if message := b.post("start"); message != "Provider is already restarting" {
		t.Error(message)
	}
	if message := b.post("trigger"); message != "Unable to trigger next action (provider is restarting)" {
		t.Error(message)
	}
	if message := b.post("cancel"); message != "Provider is currently restarting, please wait." {
		t.Error(message)
	}
	b.wantStatus("rest complete, waiting to start", "")
	b.client.Get(base + "providers/staff/marks").Expect(200).JSON(&struct{}{})
	b.tick()
	b.wantStatus("interstitial", "")
	if d := cmp.Diff([]string{"0", "1", "0", "1", "0"}, b.source.asked); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
}

func TestCancelDuringABurst(t *testing.T) {
	t.Parallel()
	s := &source{pages: []string{"a", "b", "c"}}
	b := &bench{t: t, source: s, catalog: &catalog{entities: map[string]string{}}}
	s.before = func(_ context.Context, page int) error {
		if page == 1 {
			if message := b.post("cancel"); message != "staff: Current ingestion canceled." {
				t.Error(message)
			}
		}
		return nil
	}
	b.startWith(s, incremental.Options{BurstLength: time.Hour})
	b.wantCatalog("a")
	b.wantStatus("resting", "")
	if until := time.Until(*b.status().Status.At); until < 23*time.Hour {
		t.Errorf("it rests for %v", until)
	}
	b.tick()
	s.before = nil
	b.post("trigger")
	b.tick()
	b.wantCatalog("a b c")
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := begin(t, incremental.Options{BurstLength: time.Hour, RestLength: time.Hour}, &source{pages: []string{"a b", "c"}})
	var one, all map[string]any
	b.client.Delete(base + "providers/staff").Expect(200).JSON(&one)
	if d := cmp.Diff(map[string]any{"provider": "staff", "ingestionsDeleted": 1.0, "marksDeleted": 2.0, "markEntitiesDeleted": 3.0}, one); d != "" {
		t.Errorf("reset (-want +got):\n%s", d)
	}
	b.client.Post(base+"cleanup", nil).Expect(200).JSON(&all)
	if d := cmp.Diff(map[string]any{"ingestionsDeleted": 1.0, "ingestionMarksDeleted": 0.0, "markEntitiesDeleted": 0.0}, all); d != "" {
		t.Errorf("cleanup (-want +got):\n%s", d)
	}
	b.wantStatus("resting", "")
	b.wantCatalog("a b c")
	b.source.set("b")
	b.tick()
	b.wantCatalog("a b c")
	b.post("start")
	b.tick()
	b.wantCatalog("b") // what was there is still known
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	b := begin(t, onePage(), &source{pages: []string{"a", "b", "c"}})
	b.tick()
	var marks struct {
		Success bool
		Records []map[string]any
	}
	b.client.Get(base + "providers/staff/marks").Expect(200).JSON(&marks)
	if len(marks.Records) != 2 || !marks.Success {
		t.Fatalf("marks are %v", marks)
	}
	for i, m := range marks.Records {
		if _, err := time.Parse(time.RFC3339, m["created_at"].(string)); err != nil {
			t.Error(err)
		}
		want := map[string]any{"id": m["id"], "ingestion_id": marks.Records[0]["ingestion_id"], "created_at": m["created_at"], "sequence": float64(1 - i), "cursor": float64(2 - i)}
		if d := cmp.Diff(want, m); d != "" {
			t.Errorf("mark (-want +got):\n%s", d)
		}
	}
	for _, tc := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "health", 200, `{"healthy":true}`},
		{"GET", "providers", 200, `{"success":true,"providers":["staff"]}`},
		{"GET", "providers/ghost", 404, `{"success":false,"status":{},"last_error":"Provider 'ghost' not found"}`},
		{"GET", "providers/ghost/marks", 404, `{"success":false,"status":{},"last_error":"Provider 'ghost' not found"}`},
		{"POST", "providers/ghost/trigger", 404, `{"success":false,"message":"Provider 'ghost' not found"}`},
		{"POST", "providers/ghost/start", 404, `{"success":false,"message":"Provider 'ghost' not found"}`},
		{"POST", "providers/ghost/cancel", 404, `{"success":false,"message":"Provider 'ghost' not found"}`},
		{"DELETE", "providers/ghost", 404, `{"success":false,"message":"Provider 'ghost' not found"}`},
		{"DELETE", "providers/staff/marks", 200, `{"success":true,"message":"Expired marks for provider 'staff' removed.","deletions":{"deletions":{"markEntitiesDeleted":0,"marksDeleted":0,"ingestionsDeleted":0}}}`},
	} {
		if d := cmp.Diff(tc.want, b.client.Do(tc.method, base+tc.path, nil).Expect(tc.status).Text()); d != "" {
			t.Errorf("%s %s (-want +got):\n%s", tc.method, tc.path, d)
		}
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		denied       string
		read, change int
	}{
		{"catalog.ingestion.read", http.StatusForbidden, http.StatusOK},
		{"catalog.ingestion.manage", http.StatusOK, http.StatusForbidden},
	} {
		t.Run(tc.denied, func(t *testing.T) {
			t.Parallel()
			b := begin(t, onePage(), &source{pages: []string{"a", "b"}}, backendtest.Permissions(func(_ core.Credentials, r core.AuthorizeRequest) core.Decision {
				if r.Permission.Name == tc.denied {
					return core.Decision{Result: core.Denied}
				}
				return core.Decision{Result: core.Allowed}
			}))
			for _, path := range []string{"health", "providers", "providers/staff", "providers/staff/marks"} {
				b.client.Get(base + path).Expect(tc.read)
			}
			for _, path := range []string{"providers/staff/trigger", "providers/staff/start", "providers/staff/cancel", "cleanup"} {
				b.client.Post(base+path, nil).Expect(tc.change)
			}
			for _, path := range []string{"providers/staff/marks", "providers/staff"} {
				b.client.Delete(base + path).Expect(tc.change)
			}
			if tc.read != http.StatusOK {
				b.client.Get(base+"health").ExpectError(tc.read, "NotAllowedError")
			}
			b.srv.Client(t).As(backendtest.Nobody()).Get(base + "health").Expect(http.StatusUnauthorized)
		})
	}
}
