package clients_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
)

func patterns(t testing.TB, texts ...string) redirects.Patterns {
	t.Helper()
	all, err := redirects.ParsePatterns(texts)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// answer answers every request.
type answer func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func text(status int, body string, header ...string) answer {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func options(t testing.TB, ids ...string) clients.DocumentOptions {
	t.Helper()
	return clients.DocumentOptions{
		IDs: patterns(t, ids...), Redirects: patterns(t, "http://127.0.0.1:*/*"), Own: clients.Client{ID: "http://portal.test/cli.json", Name: "CLI"},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
}

func known(t testing.TB, o clients.DocumentOptions) clients.Known {
	t.Helper()
	d := clients.NewDocuments(o)
	t.Cleanup(d.Close)
	return clients.Known{Documents: d}
}

const id = "https://agent.test/client.json"

func TestDocuments(t *testing.T) {
	t.Parallel()
	doc := func(members string) string {
		return `{"client_id":"` + id + `","redirect_uris":["http://127.0.0.1/cb"]` + members + `}`
	}
	for name, tt := range map[string]struct {
		answer answer
		want   string // name of the client; "" is none
	}{
		"good":               {text(200, doc(`,"client_name":"Agent","jwks_uri":"https://agent.test/jwks"`)), "Agent"},
		"nameless":           {text(200, doc("")), id},
		"public":             {text(200, doc(`,"client_name":"A","token_endpoint_auth_method":"none"`)), "A"},
		"another id":         {text(200, `{"client_id":"https://agent.test/other.json","redirect_uris":["http://127.0.0.1/cb"]}`), ""},
		"no id":              {text(200, `{"redirect_uris":["http://127.0.0.1/cb"]}`), ""},
		"a secret":           {text(200, doc(`,"client_secret":"x"`)), ""},
		"secret method":      {text(200, doc(`,"token_endpoint_auth_method":"client_secret_post"`)), ""},
		"no addresses":       {text(200, `{"client_id":"`+id+`","redirect_uris":[]}`), ""},
		"a script":           {text(200, `{"client_id":"`+id+`","redirect_uris":["javascript:alert(1)"]}`), ""},
		"a fragment":         {text(200, `{"client_id":"`+id+`","redirect_uris":["https://agent.test/#x"]}`), ""},
		"too many addresses": {text(200, `{"client_id":"`+id+`","redirect_uris":["`+strings.Repeat(`http://127.0.0.1/cb","`, 60)+`http://127.0.0.1/cb"]}`), ""},
		"too long":           {text(200, doc(`,"x":"`+strings.Repeat("x", 64<<10)+`"`)), ""},
		"no JSON":            {text(200, "<html>"), ""},
		"no object":          {text(200, "[]"), ""},
		"nothing":            {text(200, ""), ""},
		"absent":             {text(404, doc("")), ""},
		"another status":     {text(204, ""), ""},
		"a redirect":         {text(302, doc(""), "Location", "https://agent.test/other.json"), ""},
		"down":               {func(*http.Request) (*http.Response, error) { return nil, errors.New("down at 10.1.2.3") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, fetches := options(t, "https://agent.test/*"), atomic.Int32{}
			o.Transport = answer(func(r *http.Request) (*http.Response, error) {
				fetches.Add(1)
				if r.URL.String() != id || r.Header.Get("Accept") != "application/json" {
					t.Errorf("asked %s with %v", r.URL, r.Header)
				}
				return tt.answer(r)
			})
			k := known(t, o)
			for range 3 { // what was found is kept, also where it is nothing
				c, err := k.Find(t.Context(), id)
				switch {
				case tt.want == "":
					if apierr.KindOf(err) != apierr.KindInput || strings.Contains(err.Error(), "10.1.2.3") {
						t.Errorf("error %v", err)
					}
				case err != nil || c.Name != tt.want || !c.Verified || !c.Public || !c.Allows("http://127.0.0.1:9/cb") || c.Allows("http://127.0.0.1:9/other"):
					t.Errorf("%+v, error %v", c, err)
				}
			}
			if n := fetches.Load(); n != 1 {
				t.Errorf("fetched %d times", n)
			}
		})
	}
}

func TestIDsOfDocuments(t *testing.T) {
	t.Parallel()
	o := options(t, "https://agent.test/*", "http://localhost:*/*", "http://intranet.test/*")
	o.Transport = answer(func(r *http.Request) (*http.Response, error) {
		return text(200, `{"client_id":"`+r.URL.String()+`","redirect_uris":["http://127.0.0.1/cb"]}`)(r)
	})
	production := known(t, o)
	o.Development = true
	development := known(t, o)
	for id, want := range map[string]string{ // where it is let in
		"https://agent.test/client.json":                 "everywhere",
		"https://agent.test/a/b":                         "everywhere",
		"http://portal.test/cli.json":                    "everywhere", // its own
		"http://localhost:8080/client.json":              "development",
		"http://intranet.test/client.json":               "",
		"https://agent.test":                             "",
		"https://agent.test/":                            "",
		"https://agent.test/x?y":                         "",
		"https://agent.test/x?":                          "",
		"https://agent.test/x#y":                         "",
		"https://u@agent.test/x":                         "",
		"https://agent.test/a/../b":                      "",
		"https://agent.test/a/%2e%2E/b":                  "",
		"https://agent.test/./b":                         "",
		"https://agent.test/b/.":                         "",
		"https://agent.test.evil.test/x":                 "",
		"https://evil.test/agent.test/x":                 "",
		"https://agent.test:444/x":                       "",
		"HTTPS://evil.test/x":                            "",
		"https://agent.test/" + strings.Repeat("x", 300): "",
		"ftp://agent.test/x":                             "",
		"":                                               "",
	} {
		for where, k := range map[string]clients.Known{"production": production, "development": development} {
			_, err := k.Find(t.Context(), id)
			if good := want == "everywhere" || want == where; good != (err == nil) || err != nil && apierr.KindOf(err) != apierr.KindInput {
				t.Errorf("%s in %s: %v", id, where, err)
			}
			// Without a fetch, and never with a secret.
			_, err = k.Authenticate(t.Context(), id, "")
			if good := want == "everywhere" || want == where; good != (err == nil) {
				t.Errorf("%s authenticates in %s: %v", id, where, err)
			}
			if _, err = k.Authenticate(t.Context(), id, "x"); apierr.KindOf(err) != apierr.KindAuthentication {
				t.Errorf("%s authenticates with a secret: %v", id, err)
			}
		}
	}
}

// A client cannot make the backend reach into its own network.
func TestDocumentsOfPrivateNetworks(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	exact := "https://127.0.0.1:" + port + "/exact.json"
	k := known(t, options(t, "*", exact))
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"} {
		if _, err := k.Find(t.Context(), "https://"+host+":"+port+"/client.json"); apierr.KindOf(err) != apierr.KindInput {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, id := range []string{"https://169.254.169.254/latest/meta-data", "https://10.0.0.1/x", "https://[fd00:ec2::254]/x"} {
		if _, err := k.Find(t.Context(), id); apierr.KindOf(err) != apierr.KindInput {
			t.Errorf("%s: %v", id, err)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Fatalf("%d connections were made", n)
	}
	// What the operator names is reached; its certificate is nobody's.
	if _, err := k.Find(t.Context(), exact); err == nil || connections.Load() != 1 {
		t.Errorf("%d connections to a host that is named: %v", connections.Load(), err)
	}
}

func TestSlowDocuments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := options(t, "https://agent.test/*")
		o.Transport = answer(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		d := clients.NewDocuments(o)
		defer d.Close()
		began := time.Now()
		_, err := clients.Known{Documents: d}.Find(t.Context(), id)
		if took := time.Since(began); apierr.KindOf(err) != apierr.KindInput || took != 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		// A client that hangs up says nothing about the document.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (clients.Known{Documents: d}).Find(ctx, "https://agent.test/2.json"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hung up: %v", err)
		}
	})
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"client_id":"` + id + `","client_name":"A","redirect_uris":["http://127.0.0.1/cb"]}`))
	f.Add([]byte(`{"client_id":"` + id + `","redirect_uris":["javascript:x"]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := options(t, "https://agent.test/*")
		o.Transport = text(200, string(raw))
		c, err := known(t, o).Find(t.Context(), id)
		if err != nil {
			return
		}
		if c.ID != id || c.Name == "" || len([]rune(c.Name)) > 255 {
			t.Errorf("%q is the client %+v", raw, c)
		}
		for _, uri := range c.RedirectURIs {
			if redirects.Check(uri) != nil {
				t.Errorf("%q has the address %q", raw, uri)
			}
		}
	})
}
