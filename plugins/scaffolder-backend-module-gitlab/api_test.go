package scaffoldermodulegitlab

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flytower/flytower/integration/hostclient"
	"github.com/flytower/flytower/internal/configtest"
)

// reply is an answer of a host.
type reply struct {
	status int
	header string // "name: value"
	body   string
}

// answering returns the API of a host that answers in turn, and what counts
// its requests.
func answering(t *testing.T, replies ...reply) (a *api, requests *atomic.Int32, slept *time.Duration) {
	t.Helper()
	requests, slept = &atomic.Int32{}, new(time.Duration)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r := replies[min(int(requests.Add(1)), len(replies))-1]
		if name, value, ok := strings.Cut(r.header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(r.status)
		_, _ = w.Write([]byte(r.body))
	}))
	t.Cleanup(srv.Close)
	now := testNow
	g, err := open(configtest.FromYAML(t, fmt.Sprintf("integrations: {gitlab: [{host: %q, apiBaseUrl: %q, token: t, retry: {retryStatusCodes: [409]}}]}", strings.TrimPrefix(srv.URL, "http://"), srv.URL)), options{http: hostclient.Options{
		Now: func() time.Time { return now }, Random: func() float64 { return 0 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			now, *slept = now.Add(d), *slept+d
			return context.Cause(ctx)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	a, err = g.at(target{RepoURL: strings.TrimPrefix(srv.URL, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	return a, requests, slept
}

// TestPatience repeats what may be repeated, when the host says.
func TestPatience(t *testing.T) {
	t.Parallel()
	get := func(a *api) error { return a.get(t.Context(), "/x", nil, nil) }
	post := func(a *api) error { return a.post(t.Context(), "/x", map[string]any{}, nil) }
	for what, tt := range map[string]struct {
		send     func(*api) error
		replies  []reply
		requests int32
		slept    time.Duration
		err      string
	}{
		"a limit on a read":                {get, []reply{{429, "Retry-After: 7", ""}, {200, "", "{}"}}, 2, 7 * time.Second, ""},
		"a limit on a change":              {post, []reply{{429, "Retry-After: 7", ""}, {201, "", "{}"}}, 2, 7 * time.Second, ""},
		"a fault of a read":                {get, []reply{{502, "", ""}, {200, "", "{}"}}, 2, 50 * time.Millisecond, ""},
		"a fault of a change":              {post, []reply{{502, "", ""}, {201, "", "{}"}}, 1, 0, "answered with status 502"},
		"a conflict is no answer":          {get, []reply{{409, "", ""}, {200, "", "{}"}}, 2, 50 * time.Millisecond, ""},
		"a conflict of a change":           {post, []reply{{409, "", `{"message":"Taken"}`}}, 1, 0, "GitLab answered 409 Conflict: Taken"},
		"a change of a project that moved": {post, []reply{{307, "Location: /y", ""}, {201, "", "{}"}}, 1, 0, "GitLab answered 307"},
	} {
		a, requests, slept := answering(t, tt.replies...)
		err := tt.send(a)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", what, err)
		}
		if requests.Load() != tt.requests || *slept != tt.slept {
			t.Errorf("%s: %d requests in %v", what, requests.Load(), *slept)
		}
	}
}

// TestMessages reads the shapes in which GitLab says what is wrong.
func TestMessages(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"message":"404 Project Not Found"}`:                                "404 Project Not Found",
		`{"message":{"name":["is too short","is invalid"],"base":["no"]}}`:   "base no, name is too short, name is invalid",
		`{"message":["Source branch \"x\" does not exist"]}`:                 `Source branch "x" does not exist`,
		`{"error":"title is missing"}`:                                       "title is missing",
		`{"error":"invalid_token","error_description":"Token was revoked."}`: "invalid_token, Token was revoked.",
		`{"message":42}`: "(no message)",
		`<html>`:         "(no message)",
		``:               "(no message)",
		`{"message":"` + strings.Repeat("ä", 2000) + `"}`: strings.Repeat("ä", 500) + "…",
	} {
		if got := message([]byte(body)); got != want {
			t.Errorf("%.50s: %q, want %q", body, got, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{`{"message":{"a":["b",{"c":1}]}}`, `{"error":[[]]}`, "{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if got := message([]byte(body)); got == "" && !strings.Contains(body, `""`) || len(got) > 1010 {
			t.Errorf("%q: %q", body, got)
		}
	})
}

func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	a, _, _ := answering(t, reply{200, "", "<html>"})
	if err := a.get(t.Context(), "/x", nil, &struct{}{}); err == nil || !strings.Contains(err.Error(), "the answer of GitLab is malformed") {
		t.Errorf("a page: %v", err)
	}
	a, _, _ = answering(t, reply{200, "X-Next-Page: 2", "[1]"})
	if _, err := list[int](t.Context(), a, "/x", nil); err == nil || !strings.Contains(err.Error(), "has more than 50000 entries") {
		t.Errorf("a list without an end: %v", err)
	}
}

// TestPages follows lists that have only links.
func TestPages(t *testing.T) {
	t.Parallel()
	a, requests, _ := answering(t, reply{200, `Link: <https://x>; rel="first", <https://x>; rel="next"`, "[1]"}, reply{200, `Link: <https://x>; rel="first"`, "[2]"})
	if got, err := list[int](t.Context(), a, "/x", nil); err != nil || !slices.Equal(got, []int{1, 2}) || requests.Load() != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestMetadataAddressesAreOutOfReach has an integration at one.
func TestMetadataAddressesAreOutOfReach(t *testing.T) {
	t.Parallel()
	g, err := open(configtest.FromYAML(t, `integrations: {gitlab: [{host: "169.254.169.254", apiBaseUrl: "http://169.254.169.254/api/v4", token: t}]}`), options{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	a, err := g.at(target{RepoURL: "169.254.169.254"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.me(t.Context()); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("the error is %v", err)
	}
}
