package rootconfig_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

const catalogSchema = `{"properties":{"catalog":{"type":"object","required":["token"],"properties":{
	"token":{"type":"string","visibility":"secret","description":"How to sign in."},
	"orphanStrategy":{"type":"string","enum":["keep","delete"],"deprecated":"use catalog.orphans"},
	"rules":{"type":"array","items":{"type":"object","properties":{"allow":{"type":"array","items":{"type":"string"}}}}}}}}}`

const checked = `app:
  baseUrl: http://localhost:3000
  extensions: [x]
backend:
  baseURL: http://localhost:7007
  workingDirectory: {}
catalog:
  token: ${CATALOG_TOKEN}
  orphanStrategy: drop
  rules:
    - allow: [Component, {}]
    - alow: []
catalgo: {}
proxy:
  endpoints: {}
  token: {$env: PROXY_TOKEN}
`

func schema(t *testing.T) *configschema.Schema {
	t.Helper()
	s, err := rootconfig.MergeSchemas(configschema.Source{Owner: "plugin catalog", Value: json.RawMessage(catalogSchema)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app-config.yaml": checked})
	root, err := load(t, dir, rootconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	report := rootconfig.Check(root, schema(t))
	var out bytes.Buffer
	report.Log(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.MessageKey {
			return a
		}
		if a.Key == slog.LevelKey {
			return slog.String("", a.Value.String())
		}
		return slog.Attr{}
	}})))
	var lines []string
	for _, v := range report.Violations {
		lines = append(lines, "violation: "+v.Error())
	}
	for _, u := range report.Unknown {
		lines = append(lines, "unknown: "+u.String())
	}
	for _, d := range report.Deprecated {
		lines = append(lines, "deprecated: "+d.String())
	}
	for _, u := range report.Unresolved {
		lines = append(lines, "unresolved: "+u.String())
	}
	want := `violation: app-config.yaml:4: config key "backend.baseUrl" is missing; add it, the backend system needs it: The URL at which the app and other backends reach this backend, without a path below it: https://portal.example.com. Required.
violation: app-config.yaml:6: config key "backend.workingDirectory" must be a string, found an object
violation: app-config.yaml:8: config key "catalog.token" is missing: the environment variable CATALOG_TOKEN is not set; add it, plugin catalog needs it: How to sign in.
violation: app-config.yaml:9: config key "catalog.orphanStrategy" is none of the allowed values; use "keep" or "delete"
violation: app-config.yaml:11: config key "catalog.rules[0].allow[1]" must be a string, found an object
unknown: app-config.yaml:5: config key "backend.baseURL" is unknown; did you mean "baseUrl"?
unknown: app-config.yaml:12: config key "catalog.rules[1].alow" is unknown; did you mean "allow"?
unknown: app-config.yaml:13: config key "catalgo" is not read by anything that is installed; did you mean "catalog"?
unknown: app-config.yaml:14: config key "proxy" is not read by anything that is installed
deprecated: app-config.yaml:9: config key "catalog.orphanStrategy" is deprecated; use catalog.orphans
unresolved: app-config.yaml:16: config key "proxy.token" has no value: the environment variable PROXY_TOKEN is not set`
	if diff := cmp.Diff(want, strings.Join(lines, "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	levels := ""
	for line := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
		level, _, _ := strings.Cut(strings.TrimPrefix(line, `""=`), " ")
		levels += level + " "
	}
	if want := "ERROR ERROR ERROR ERROR ERROR WARN WARN WARN INFO WARN INFO "; levels != want {
		t.Errorf("levels: %s, want %s", levels, want)
	}
	if n := len(report.Invalid().(interface{ Unwrap() []error }).Unwrap()); n != 5 {
		t.Errorf("%d violations, want 5", n)
	}
	strict := report.Err()
	if n := len(strict.(interface{ Unwrap() []error }).Unwrap()); n != 7 {
		t.Errorf("%d errors of the strict check, want 7:\n%v", n, strict)
	}
	if e, ok := as[*core.ConfigError](strict); !ok || e.Position.Line != 4 {
		t.Errorf("first error = %+v", e)
	}
	clean := rootconfig.Check(layers(t, "backend: {baseUrl: http://x}"), schema(t))
	if err := clean.Err(); err != nil {
		t.Errorf("a valid configuration: %v", err)
	}
}

func TestReloadIsChecked(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		dir := t.TempDir()
		main := map[string]string{"app-config.yaml": "backend: {baseUrl: http://x}\nv: first\nextra: 1\n"}
		write(t, dir, main)
		out := &logs{got: make(chan string, 1000)}
		b := backend.New(backend.WithDefaults(
			rootconfig.NewFactory(rootconfig.Options{Dir: dir, Args: []string{}, Env: []string{}, Strict: strict}), reporter(out),
		))
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		config, err := backend.Get(b, core.RootConfig)
		if err != nil {
			t.Fatal(err)
		}
		await := func(want string) {
			t.Helper()
			for {
				select {
				case got := <-out.got:
					if got == want {
						return
					}
				case <-time.After(30 * time.Second):
					t.Fatalf("not logged: %s", want)
				}
			}
		}
		await(`app-config.yaml:3: config key "extra" is not read by anything that is installed`)
		write(t, dir, map[string]string{"app-config.yaml": "# moved\nbackend: {baseUrl: http://x, workingDirectory: {}, wrokingDirectory: /tmp}\nv: second\nextra: 1\n"})
		want := "second"
		if strict {
			want = "first"
			await("The configuration cannot be reloaded, the last good one stays in use")
		} else {
			await(`app-config.yaml:2: config key "backend.wrokingDirectory" is unknown; did you mean "workingDirectory"?`)
		}
		if got, err := config.String("v"); got != want || err != nil {
			t.Errorf("strict %v: v = %q, %v", strict, got, err)
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		out.mu.Lock()
		if n := strings.Count(out.text.String(), `\"extra\" is not read`); n != 1 {
			t.Errorf("the unchanged finding was logged %d times", n)
		}
		out.mu.Unlock()
	}
}

func TestFrameworkSchemaIsDocumented(t *testing.T) {
	t.Parallel()
	s, err := configschema.Merge(configschema.Source{Owner: "framework", Value: json.RawMessage(rootconfig.ConfigSchema)})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Document() {
		if k.Description == "" {
			t.Errorf("%s has no description", k.Key)
		}
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	root := layers(t, `
backend:
  listen: {port: 7007}
  database:
    connection: {host: db, password: secret}
  cors: {origin: "*"}
catalog:
  token: abc
  rules: [{allow: [a, "yes: x"], m: 1}, plain, {n: null}]
  empty: {}
  none: null
  text: "a\nb"
  yes: "true"
`, "backend: {listen: {port: 80}}\nlist: []\n")
	root.SetSchema(schema(t))
	var out strings.Builder
	if err := root.Print(&out); err != nil {
		t.Fatal(err)
	}
	want := `backend:
  listen:
    port: 80 # app-config.local.yaml:1
  database:
    connection:
      host: db # app-config.yaml:5
      password: "***" # app-config.yaml:5
  cors:
    origin: "*" # app-config.yaml:6
list: [] # app-config.local.yaml:2
catalog:
  token: "***" # app-config.yaml:8
  rules:
    - allow:
        - a # app-config.yaml:9
        - "yes: x" # app-config.yaml:9
      m: 1 # app-config.yaml:9
    - plain # app-config.yaml:9
    - {} # app-config.yaml:9
  empty: {} # app-config.yaml:10
  text: "a\nb" # app-config.yaml:12
  yes: "true" # app-config.yaml:13
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := rootconfig.Parse("printed", out.String())
	if err != nil {
		t.Fatalf("what is printed is no YAML: %v", err)
	}
	if got := fmt.Sprint(again.Data()["list"]); got != "[]" {
		t.Errorf("list = %s", got)
	}
}

// A configuration may have parts for plugins that are not here.
func TestPrintMasksWhatNoSchemaDescribes(t *testing.T) {
	t.Parallel()
	root := layers(t, `
auth: {providers: {github: {clientId: abc, clientSecret: hunter1}}}
jenkins: {instances: [{name: a, apiKey: hunter2}], tokens: [hunter3], tokenUrl: "https://x/token"}
proxy: {target: "http://user:hunter4@host/a", headers: {Authorization: Bearer hunter5}, credentials: true, plain: "http://host:80/a@b"}
`)
	var out strings.Builder
	if err := root.Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter") {
		t.Errorf("a secret is shown:\n%s", out.String())
	}
	for _, want := range []string{"clientId: abc #", `clientSecret: "***" #`, `"http://user:***@host/a"`, "credentials: true #", `"http://host:80/a@b"`, "tokenUrl: https://x/token #"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %s:\n%s", want, out.String())
		}
	}
}
