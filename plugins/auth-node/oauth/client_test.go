package oauth_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

func TestBoundedClient(t *testing.T) {
	t.Parallel()
	const limit = 2 << 20
	mux := http.NewServeMux()
	mux.HandleFunc("/fits", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), limit)) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), limit+1)) })
	mux.Handle("/moved", http.RedirectHandler("/fits", http.StatusTemporaryRedirect))
	mux.Handle("/circle", http.RedirectHandler("/circle", http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	client := oauth.Bounded(server.Client().Transport, time.Minute)
	for request, want := range map[string]struct {
		status, size int
		fails        bool
	}{
		"GET /fits":   {status: 200, size: limit},
		"GET /long":   {status: 200, size: limit, fails: true},
		"GET /moved":  {status: 200, size: limit},
		"POST /moved": {status: 307},
	} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || len(body) != want.size || (err != nil) != want.fails {
			t.Errorf("%s: %d with %d bytes, error %v", request, resp.StatusCode, len(body), err)
		}
	}
	if resp, err := client.Get(server.URL + "/circle"); err == nil {
		_ = resp.Body.Close()
		t.Error("the client goes in circles")
	}
}
