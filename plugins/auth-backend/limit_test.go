package authbackend

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flytower/flytower/internal/configtest"
)

func TestPublicLimit(t *testing.T) {
	t.Parallel()
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	ask := func(h http.Handler, addr, path string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	h := publicLimit(configtest.FromYAML(t, "{}"), slog.New(slog.DiscardHandler))(served)
	for range publicRequests {
		if code := ask(h, "203.0.113.9:1", "/guest/refresh"); code != http.StatusNoContent {
			t.Fatalf("within the limit: %d", code)
		}
	}
	for _, tt := range []struct {
		addr, path string
		want       int
	}{
		{"203.0.113.9:2", "/.well-known/jwks.json", http.StatusTooManyRequests},
		{"203.0.113.9:2", "/v1/userinfo", http.StatusNoContent},
		{"203.0.113.9:2", "/V1/UserInfo/", http.StatusNoContent},
		{"203.0.113.10:1", "/guest/refresh", http.StatusNoContent},
		{"127.0.0.1:1", "/guest/refresh", http.StatusNoContent},
		{"", "/guest/refresh", http.StatusNoContent}, // from this process
	} {
		if code := ask(h, tt.addr, tt.path); code != tt.want {
			t.Errorf("%s from %q: %d, want %d", tt.path, tt.addr, code, tt.want)
		}
	}

	for _, decided := range []string{"false", "{incomingRequestLimit: 1}"} {
		h := publicLimit(configtest.FromYAML(t, "backend: {rateLimit: {plugin: {auth: "+decided+"}}}"), slog.New(slog.DiscardHandler))(served)
		for range publicRequests + 1 {
			if code := ask(h, "203.0.113.9:1", "/guest/refresh"); code != http.StatusNoContent {
				t.Fatalf("%s: %d, although the operator decides", decided, code)
			}
		}
	}
}

func TestRouteLimits(t *testing.T) {
	t.Parallel()
	kinds := map[string][]string{
		"start": {"/github/start", "/GitHub/Start/"}, "frame": {"/github/handler/frame"}, "refresh": {"/guest/refresh"},
		"authorize": {"/v1/authorize"}, "consent": {"/v1/sessions/1", "/v1/sessions/1/approve", "/github/authorize/1"},
		"token": {"/v1/token", "/V1/Token/", "/v1/revoke"}, "register": {"/v1/register"},
		"": {"/v1/userinfo", "/.well-known/jwks.json", "/github/logout", "/v1", "/", ""},
	}
	for kind, paths := range kinds {
		for _, path := range paths {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path = path
			if got := routeKind(r); got != kind {
				t.Errorf("%s is of the kind %q, want %q", path, got, kind)
			}
		}
	}
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	// answered returns how many of 5000 requests of a client were answered.
	answered := func(config, path string) (n int) {
		l, err := newLimits(configtest.FromYAML(t, config), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		h := l.wrap(served)
		for range 5000 {
			r := httptest.NewRequest(http.MethodPost, path, nil)
			r.RemoteAddr = "203.0.113.9:1"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
				t.Error("there is no Retry-After")
			}
			if w.Code == http.StatusNoContent {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		config, path string
		want         int
	}{
		{"{}", "/v1/register", 60},
		{"{}", "/v1/token", 1200},
		{"{}", "/guest/refresh", 3000},
		{"{}", "/v1/userinfo", 5000},
		{"auth: {rateLimit: true}", "/v1/register", 60},
		{"auth: {rateLimit: false}", "/v1/register", 5000},
		{"auth: {rateLimit: {register: false}}", "/v1/register", 5000},
		{"auth: {rateLimit: {register: {incomingRequestLimit: 7}}}", "/v1/register", 7},
		{"auth: {rateLimit: {register: {window: {hours: 1}}}}", "/v1/register", 60},
		{"backend: {rateLimit: {plugin: {auth: true}}}", "/v1/register", 5000},
		{"{backend: {rateLimit: {plugin: {auth: true}}}, auth: {rateLimit: {register: true}}}", "/v1/register", 60},
	} {
		if got := answered(tt.config, tt.path); got != tt.want {
			t.Errorf("%s: %d requests to %s are answered, want %d", tt.config, got, tt.path, tt.want)
		}
	}
}
