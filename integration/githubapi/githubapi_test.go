package githubapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/fakegithub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const text = "query org($login: String!) { organization(login: $login) { login } }"

type answer struct{ Organization *struct{ Login string } }

func open(t *testing.T, gh *fakegithub.Server, config string) *githubapi.Hosts {
	t.Helper()
	hosts, err := githubapi.New(configtest.FromYAML(t, config), gh.Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hosts.Close)
	return hosts
}

func host(t *testing.T, gh *fakegithub.Server) *githubapi.API {
	t.Helper()
	gh.Change(func(w *fakegithub.World) { w.Organization("acme") })
	api, err := open(t, gh, gh.Integration()).Host(gh.Host)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func ask(ctx context.Context, api *githubapi.API, login string, interactive bool) (answer, error) {
	var out answer
	err := api.Query(ctx, githubapi.Query{Name: "org", Text: text, Variables: map[string]any{"login": login}, Owner: login, Interactive: interactive}, &out)
	return out, err
}

func TestQuery(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	api := host(t, gh)
	out, err := ask(t.Context(), api, "ACME", false)
	if err != nil || out.Organization == nil || out.Organization.Login != "acme" {
		t.Fatalf("%+v, %v", out, err)
	}
	_, err = ask(t.Context(), api, "nobody", false)
	if apierr.KindOf(err) != apierr.KindNotFound {
		t.Errorf("absent organization: %v", err)
	}
	if s := err.Error(); !strings.Contains(s, "nobody") || !strings.Contains(s, gh.Host) || strings.Contains(s, fakegithub.Token) {
		t.Errorf("message %q", s)
	}
}

// Only the host's own word is an answer.
func TestFailures(t *testing.T) {
	t.Parallel()
	for label, tc := range map[string]struct {
		failure  fakegithub.Failure
		kind     apierr.Kind
		requests int // 0 is any
	}{
		"502":           {fakegithub.BadGateway, apierr.KindServiceUnavailable, 4},
		"broken off":    {fakegithub.BrokenOff, apierr.KindServiceUnavailable, 4},
		"timeout":       {fakegithub.TimedOut, apierr.KindServiceUnavailable, 4},
		"garbage":       {fakegithub.Garbage, apierr.KindServiceUnavailable, 4},
		"limited":       {fakegithub.SecondaryLimit, apierr.KindServiceUnavailable, 0},
		"429":           {fakegithub.TooMany, apierr.KindServiceUnavailable, 0},
		"soft limit":    {fakegithub.SoftLimit, apierr.KindServiceUnavailable, 9},
		"401":           {fakegithub.Unauthorized, apierr.KindNotAllowed, 1},
		"partial":       {fakegithub.PartialErrors, apierr.KindNotAllowed, 1},
		"no data":       {fakegithub.Failure{Status: 200, Body: `{}`}, apierr.KindServiceUnavailable, 4},
		"403":           {fakegithub.Failure{Status: 403, Body: `{"message":"Resource protected by SAML"}`}, apierr.KindNotAllowed, 1},
		"404":           {fakegithub.Failure{Status: 404, Body: `{}`}, apierr.KindError, 1},
		"wrong shape":   {fakegithub.Failure{Status: 200, Body: `{"data":{"organization":7}}`}, apierr.KindError, 1},
		"other error":   {fakegithub.Failure{Status: 200, Body: `{"errors":[{"type":"ODD","message":"m","path":["a",1]},{"message":"n"}]}`}, apierr.KindError, 1},
		"absent, mixed": {fakegithub.Failure{Status: 200, Body: `{"errors":[{"type":"NOT_FOUND","message":"m"},{"type":"ODD","message":"n"}]}`}, apierr.KindError, 1},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			api := host(t, gh)
			gh.FailFrom(1, tc.failure)
			_, err := ask(t.Context(), api, "acme", false)
			if err == nil || apierr.KindOf(err) != tc.kind {
				t.Errorf("%v is a %s", err, apierr.KindOf(err))
			}
			if n := gh.Requests(); tc.requests > 0 && n != tc.requests {
				t.Errorf("%d requests, want %d", n, tc.requests)
			}
			gh.Inject(nil)
			if err := gh.Sleep(t.Context(), 2*time.Hour); err != nil {
				t.Fatal(err)
			}
			if _, err := ask(t.Context(), api, "acme", false); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// Those who wait for an answer do not wait for a limit.
func TestInteractiveQueriesFailAtLimits(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	api := host(t, gh)
	gh.FailFrom(1, fakegithub.SecondaryLimit)
	if _, err := ask(t.Context(), api, "acme", true); apierr.KindOf(err) != apierr.KindServiceUnavailable {
		t.Errorf("%v", err)
	}
	if gh.Slept() > 0 || gh.Requests() != 1 {
		t.Errorf("slept %s, %d requests", gh.Slept(), gh.Requests())
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	api := host(t, gh)
	ctx, cancel := context.WithCancel(t.Context())
	gh.Inject(func(int, *fakegithub.Request) *fakegithub.Failure { cancel(); return &fakegithub.BadGateway })
	if _, err := ask(ctx, api, "acme", false); err == nil {
		t.Error("no error")
	}
	if n := gh.Requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	hosts := open(t, gh, "integrations: {github: [{host: raw.example.com, rawBaseUrl: 'https://raw.example.com/raw'}]}")
	for _, name := range []string{"raw.example.com", "unknown.example.com"} {
		if _, err := hosts.Host(name); apierr.KindOf(err) != apierr.KindNotFound || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	api, err := hosts.Host("GitHub.com")
	if err != nil || api.HostName() != "github.com" || api.HasApps() {
		t.Errorf("github.com: %v", err)
	}
}

// A token that changes in the configuration is used at once.
func TestReload(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) { w.Organization("acme") })
	hosts := open(t, gh, strings.Replace(gh.Integration(), fakegithub.Token, "old", 1))
	api, err := hosts.Host(gh.Host)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t.Context(), api, "acme", false); apierr.KindOf(err) != apierr.KindNotAllowed {
		t.Errorf("old token: %v", err)
	}
	if err := hosts.Reload(configtest.FromYAML(t, "integrations: {github: [{host: 'http://x'}]}")); err == nil {
		t.Error("a wrong configuration was taken over")
	}
	if err := hosts.Reload(configtest.FromYAML(t, gh.Integration())); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t.Context(), api, "acme", false); err != nil {
		t.Errorf("new token: %v", err)
	}
}

func TestPagesThatDoNotGoOn(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	api := host(t, gh)
	gh.FailFrom(1, fakegithub.Failure{Status: 200, Body: `{"data":{"pageInfo":{"hasNextPage":true,"endCursor":"x"}}}`})
	type page struct{ PageInfo githubapi.PageInfo }
	pages := 0
	err := githubapi.Each(t.Context(), api, githubapi.Query{Name: "q", Text: "query q { x }", Owner: "acme"}, githubapi.Paging{PageSize: 1},
		func(p *page) (githubapi.PageInfo, error) { pages++; return p.PageInfo, nil })
	if apierr.KindOf(err) != apierr.KindServiceUnavailable || pages != 2 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	api, err := open(t, gh, gh.AppIntegration("acme", "globex")).Host(gh.Host)
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range []int64{0, fakegithub.AppID} {
		found, err := api.Installations(t.Context(), app, time.Hour)
		if err != nil || len(found) != 2 || found[0].Owner != "acme" || found[0].OwnerType != "Organization" || found[0].AppID != fakegithub.AppID {
			t.Errorf("app %d: %+v, %v", app, found, err)
		}
	}
	gh.Install("initech")
	for _, step := range []struct {
		maxAge time.Duration
		want   string
	}{{time.Hour, "acme"}, {0, "initech"}, {time.Hour, "initech"}} {
		if found, err := api.Installations(t.Context(), 0, step.maxAge); err != nil || found[0].Owner != step.want {
			t.Errorf("no older than %s: %+v, %v", step.maxAge, found, err)
		}
	}
	if _, err := api.Installations(t.Context(), 99, 0); apierr.KindOf(err) != apierr.KindNotFound {
		t.Errorf("unknown app: %v", err)
	}
}
