package command_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/core"
)

var remove = core.NewResourcePermission("things.delete", "delete", "thing")

// things is a plugin whose configuration has a policy: the text at the key
// things.policy.
var things = backend.NewPlugin("things", func(*backend.PluginEnv) backend.InitFunc {
	return func(context.Context) error { return nil }
}, core.AsksForPermissions(remove, core.NewPermission("things.list", "")), core.ExplainsPolicy(explainThings), core.ConfigCheck(checkThings),
	core.ConfigSchema(`{"properties": {"things": {"type": "object", "properties": {"policy": {"type": "string"}}}}}`))

func checkThings(c core.Config) error {
	if text, _ := c.StringOr("things.policy", ""); text == "broken" {
		return &core.ConfigError{Key: "things.policy", Position: c.Position("things.policy"), Problem: "is broken", Remedy: "mend it"}
	}
	return nil
}

func explainThings(c core.Config, q core.PolicyQuestion) (core.PolicyExplanation, bool, error) {
	text, err := c.StringOr("things.policy", "")
	if err := errors.Join(err, checkThings(c)); err != nil || text == "" {
		return core.PolicyExplanation{}, text != "", err
	}
	owner := &core.PermissionCriteria{Not: &core.PermissionCriteria{AnyOf: []core.PermissionCriteria{{Rule: "IS_OLD", ResourceType: "thing"}, {Rule: "IS_OWNER", ResourceType: "thing", Params: []byte(`{"claims":["x"]}`)}}}}
	e := core.PolicyExplanation{User: q.User, OwnershipEntityRefs: q.OwnershipEntityRefs, Permission: q.Permission, Roles: []string{"all"}, Result: core.Denied, Default: core.Denied}
	if q.Permission.ResourceType != "" {
		e.Result, e.Default, e.Conditions = core.Conditional, "", owner
		e.Rules = []core.ExplainedRule{{Role: "all", Position: "app-config.yaml:7", Effect: core.Allowed, Conditions: owner}}
	}
	return e, true, nil
}

func explain(t *testing.T, config string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app-config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, err bytes.Buffer
	code = command.Main(command.App{Args: args, Dir: dir, Stdout: &out, Stderr: &err, Features: []backend.Feature{things}})
	return code, out.String(), err.String()
}

func TestPermissionExplainOfTheConfiguration(t *testing.T) {
	t.Parallel()
	const policy = "things: {policy: some}\n"
	for name, tt := range map[string]struct {
		config, args string
		code         int
		stdout       string
		stderr       string
	}{
		"by default": {policy, "jane things.list", 0, `Denied: no rule of the user's roles speaks of it, and the default denies.

permission  things.list (no action)
user        jane
owns by     none
roles       all

The catalog was not asked for the groups of the user: name them with --group.
`, ""},
		"conditions": {policy, "jane things.delete thing:a --group g", 0, `It depends: conditions decide; a running backend, asked with --url, knows whether the resource meets them.

permission  things.delete (delete, of thing)
resource    thing:a
user        jane
owns by     g
roles       all
  allow     app-config.yaml:7, of role all
            if not any of (IS_OLD, IS_OWNER {"claims":["x"]})
`, ""},
		"json":                            {policy, "jane things.list --group g --format json", 0, "{\n  \"user\": \"jane\",\n  \"ownershipEntityRefs\": [\n    \"g\"\n  ],\n", ""},
		"a permission that is described":  {policy, "jane other --action read", 0, "Denied", ""},
		"a permission that is not known":  {policy, "jane other", 1, "", "--action"},
		"no policy":                       {"app: {}\n", "jane things.list", 1, "", "--url"},
		"a broken policy":                 {"app: {}\nthings: {policy: broken}\n", "jane things.list", 1, "", `app-config.yaml:2: config key "things.policy" is broken; mend it`},
		"no permission":                   {policy, "jane", 64, "", "expected"},
		"a format that there is not":      {policy, "jane things.list --format xml", 64, "", "format"},
		"an address that is none":         {policy, "jane things.list --url here", 1, "", "http://localhost:7007"},
		"an address where nothing is":     {policy, "jane things.list --url http://127.0.0.1:1", 1, "", "refused"},
		"a configuration that is missing": {policy, "jane things.list --config nothing.yaml", 1, "", "nothing.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, stderr := explain(t, tt.config, append([]string{"permission", "explain"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) || !strings.HasPrefix(out, tt.stdout) || tt.code == 0 && stderr != "" {
				t.Errorf("code %d, want %d\n%s%s%s", code, tt.code, out, stderr, cmp.Diff(tt.stdout, out))
			}
		})
	}
}

// What plugins know to be wrong, the command check tells too.
func TestCheckAsksPlugins(t *testing.T) {
	t.Parallel()
	code, out, _ := explain(t, "things: {policy: broken}\n", "check")
	if want := `error    app-config.yaml:1: config key "things.policy" is broken; mend it` + "\n"; code != 1 || !strings.Contains(out, want) {
		t.Errorf("code %d\n%s", code, out)
	}
	code, out, _ = explain(t, "things: {policy: [broken]}\n", "check")
	if n := strings.Count(out, "things.policy"); code != 1 || n != 1 {
		t.Errorf("code %d, told %d times\n%s", code, n, out)
	}
}

func TestPermissionExplainOfARunningBackend(t *testing.T) {
	t.Parallel()
	var got []string
	answer := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"user":"user:default/jane","ownershipEntityRefs":["a","b","c","d","e","f","g","h","i","j","k","l"],"roles":[],
			"permission":{"type":"resource","name":"things.delete","attributes":{"action":"delete"},"resourceType":"thing"},"resourceRef":"thing:a","resourceExists":true,
			"result":"DENY","shadow":true,"rules":[{"role":"all","position":"p.yaml:3","effect":"DENY","conditions":{"rule":"IS_OLD"},"holds":true}]}`))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+body.String())
		switch r.Header.Get("Authorization") {
		case "":
			apierr.Write(w, r, apierr.Authentication("Missing credentials"), "")
		case "Bearer weak":
			apierr.Write(w, r, apierr.NotAllowed("permission.policy.explain is needed"), "")
		case "Bearer lost":
			apierr.Write(w, r, apierr.NotFound("nothing here"), "")
		case "Bearer odd":
			_, _ = w.Write([]byte("<html>"))
		default:
			answer(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	ask := func(args ...string) (int, string, string) {
		return explain(t, "", append([]string{"permission", "explain", "--url", srv.URL + "/", "jane", "things.delete"}, args...)...)
	}
	for token, want := range map[string]string{"": "FLYTOWER_TOKEN", "weak": "permission.policy.explain is needed", "lost": "permission.policy", "odd": "no explanation"} {
		args := []string{}
		if token != "" {
			args = append(args, "--token", token)
		}
		if code, _, stderr := ask(args...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("token %q: code %d, %s", token, code, stderr)
		}
	}
	got = nil
	code, out, stderr := ask("thing:a", "--token", "good", "--group", "G", "--group", "team:x/h", "--resource-type", "thing")
	want := `Denied: a rule denies it.

permission  things.delete (delete, of thing)
resource    thing:a
user        user:default/jane
owns by     a, b, c, d, e, f, g, h, i, j and 2 more
roles       none
  deny      p.yaml:3, of role all
            if IS_OLD, which holds

The policy is a shadow: it is not followed.
`
	if diff := cmp.Diff(want, out); diff != "" || code != 0 {
		t.Errorf("code %d %s\n%s", code, stderr, diff)
	}
	sent := `POST /api/permission/policy/explain Bearer good {"ownershipEntityRefs":["user:default/jane","group:default/g","team:x/h"],"permission":{"type":"resource","name":"things.delete","attributes":{},"resourceType":"thing"},"resourceRef":"thing:a","user":"jane"}`
	if diff := cmp.Diff([]string{sent}, got); diff != "" {
		t.Error(diff)
	}
}
