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
