package appbackend_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	appbackend "github.com/flytower/flytower/plugins/app-backend"
	appnode "github.com/flytower/flytower/plugins/app-node"
)

// secrets are in the configuration for the backend alone.
const secrets = `
app:
  title: Portal
  key: hunter2
  theme: { dark: { primary: red } }
  internal: hunter2
auth: { providers: { github: { clientSecret: hunter2 } } }
integrations: { github: [{ host: github.com, token: hunter2 }] }
`

func TestConfigInPage(t *testing.T) {
	t.Parallel()
	srv := serve(t, standard, backendtest.YAML(secrets))
	got := string(srv.Client(t).Get("/").Body)
	want := `<html><head><base href="/"><title>Portal</title>
<script type="backstage.io/config">
[
  {
    "context": "app",
    "deprecatedKeys": [],
    "data": {
      "app": {
        "title": "Portal",
        "theme": {
          "dark": {
            "primary": "red"
          }
        },
        "baseUrl": "` + srv.URL() + `"
      },
      "auth": {
        "providers": {
          "github": {}
        }
      }
    }
  }
]
</script>
</head></html>`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the page (-want +got):\n%s", diff)
	}
}

// TestSecretsStayHere looks for secrets in everything that is served.
func TestSecretsStayHere(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"template": protected,
		"script": with(standard, map[string]string{
			"index.html.tmpl": "", "static/app.js": `load("__APP_INJECTED_RUNTIME_CONFIG__")`,
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, files, backendtest.YAML(secrets))
			for _, who := range []backendtest.Identity{backendtest.Nobody(), backendtest.User("")} {
				for path := range with(files, map[string]string{"": "", "deep/link": "", ".config-schema.json": "x"}) {
					if body := string(srv.Client(t).As(who).Get("/" + strings.ReplaceAll(path, " ", "%20")).Body); strings.Contains(body, "hunter2") {
						t.Errorf("/%s has a secret: %s", path, body)
					}
				}
			}
		})
	}
}

func TestConfigInScript(t *testing.T) {
	t.Parallel()
	const script = `load("__APP_INJECTED_RUNTIME_CONFIG__");` + "\n"
	files := with(standard, map[string]string{"index.html.tmpl": "", "static/b.js": "// none", "static/c.js": script, "static/d.js": script})
	dir := write(t, files)
	srv := backendtest.Start(t, appbackend.Plugin, configured(map[string]any{"distDir": dir, "title": `It's "here" \`}))
	r := srv.Client(t).Get("/static/c.js")
	want := `\"title\":\"It\'s \\\"here\\\" \\\\\"`
	if text := r.Text(); !strings.HasPrefix(text, `load(/*__APP_INJECTED_CONFIG_MARKER__*/"[{\"context\":\"app\"`) || !strings.Contains(text, want) || !strings.HasSuffix(text, `"/*__INJECTED_END__*/);`) {
		t.Errorf("the script is %s", text)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control: %s", got)
	}
	if got := srv.Client(t).Get("/").Text(); got != files["index.html"] {
		t.Errorf("the page is %q", got)
	}
	if got := srv.Client(t).Get("/static/d.js").Text(); got != strings.TrimSpace(script) {
		t.Errorf("another script is %q", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "static", "c.js"))
	if err != nil || string(text) != script {
		t.Errorf("the file was changed: %q, %v", text, err)
	}
}

func TestInjectionDisabled(t *testing.T) {
	t.Parallel()
	srv := serve(t, standard, configured(map[string]any{"disableConfigInjection": true}))
	if got := srv.Client(t).Get("/x").Text(); got != standard["index.html"] {
		t.Errorf("the page is %q", got)
	}
}

func TestPublicPath(t *testing.T) {
	t.Parallel()
	srv := serve(t, standard, configured(map[string]any{"baseUrl": "https://example.com/portal//"}))
	if got := srv.Client(t).Get("/").Text(); !strings.Contains(got, `<base href="/portal/">`) {
		t.Errorf("the page is %q", got)
	}
}

func TestNoSchema(t *testing.T) {
	t.Parallel()
	srv := serve(t, with(standard, map[string]string{".config-schema.json": ""}), backendtest.Silent())
	if got := srv.Client(t).Get("/").Text(); !strings.Contains(got, "<title>Backstage</title>") || !strings.Contains(got, ">\n[]\n<") {
		t.Errorf("the page is %q", got)
	}
}

func TestSchemaOfModule(t *testing.T) {
	t.Parallel()
	module := backend.NewModule("app", "schema", func(env *backend.ModuleEnv) backend.InitFunc {
		setter := appnode.ConfigSchema.From(env)
		return func(context.Context) error {
			s, err := configschema.Merge(configschema.Source{Owner: "portal", Value: json.RawMessage(`{"properties":{"portal":{"properties":{"flag":{"visibility":"frontend"}}}}}`)})
			if err != nil {
				return err
			}
			if err := setter().Set(nil); apierr.KindOf(err) != apierr.KindInput {
				t.Errorf("no schema: %v", err)
			}
			return setter().Set(s)
		}
	})
	srv := serve(t, standard, module, backendtest.YAML("portal: { flag: true, other: hunter2 }"))
	got := srv.Client(t).Get("/").Text()
	if !strings.Contains(got, `"flag": true`) || strings.Contains(got, "hunter2") || !strings.Contains(got, "<title>Backstage</title>") {
		t.Errorf("the page is %q", got)
	}
}

// start returns why a backend with the bundle does not start.
func start(t *testing.T, files map[string]string, app string) error {
	t.Helper()
	b := newBackend(t, t.TempDir(), "app:\n  baseUrl: http://localhost\n  distDir: "+write(t, files)+"\n"+app)
	err := b.Start(t.Context())
	if err == nil {
		stop(t, b)
	}
	return err
}

func TestBrokenBundles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files map[string]string
		app   string
		want  []string
	}{
		{"template", with(standard, map[string]string{"index.html.tmpl": "<head>\n<%= foo() %></head>"}), "", []string{"dist: index.html.tmpl:2:", `"foo"`}},
		{"template asks for what is not there", with(standard, map[string]string{"index.html.tmpl": "<%= config.getString('app.none') %>"}), "", []string{"index.html.tmpl:1:", "app.none"}},
		{"no page", with(standard, map[string]string{"index.html.tmpl": "", "index.html": ""}), "", []string{"index.html", "build the frontend again"}},
		{"page without a head", with(standard, map[string]string{"index.html.tmpl": "<html>"}), "", []string{"index.html.tmpl", "</head>"}},
		{"schema is no JSON", with(standard, map[string]string{".config-schema.json": "x"}), "", []string{".config-schema.json"}},
		{"schema of another version", with(standard, map[string]string{".config-schema.json": `{"backstageConfigSchemaVersion":2}`}), "", []string{".config-schema.json", "version 2"}},
		{"violation", standard, "  port: hunter\n", []string{"app-config.yaml:4", "app.port", "must be a number", "build the frontend again"}},
		{"no package", standard, "  packageName: ../..\n", []string{"app-config.yaml:4", "app.packageName", "no name of a package"}},
		{"wrong setting", standard, "  disableConfigInjection: maybe\n", []string{"app-config.yaml:4", "app.disableConfigInjection"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := start(t, c.files, c.app)
			if err == nil {
				t.Fatal("it starts")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not have %q", err, want)
				}
			}
		})
	}
}

// newBackend returns a backend whose configuration file is in a folder.
func newBackend(t *testing.T, dir, config string, features ...backend.Feature) *backend.Backend {
	t.Helper()
	file := filepath.Join(dir, "app-config.yaml")
	config += "backend:\n  baseUrl: http://localhost\n  listen: 127.0.0.1:0\n  database: { client: better-sqlite3, connection: ':memory:' }\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	quiet := backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
	})
	b := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, Env: []string{}, ConfigFiles: []string{file}}))
	return b.Add(appbackend.Plugin, quiet).Add(features...)
}

func stop(t *testing.T, b *backend.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestWhereTheBundleIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, at, manifest, app string
		want                    bool
	}{
		{"monorepo", "packages/app", `{"name":"app"}`, "", true},
		{"without a manifest", "packages/app", "", "", true},
		{"installed", "node_modules/app", `{"name":"app"}`, "", true},
		{"beside", "app", `{"name":"app"}`, "", true},
		{"another package", "packages/app", `{"name":"other"}`, "", false},
		{"broken manifest", "packages/app", `{`, "", false},
		{"named", "packages/portal", `{"name":"portal"}`, "packageName: portal", true},
		{"with a scope", "packages/portal", `{"name":"@acme/portal"}`, "packageName: '@acme/portal'", true},
		{"with a scope, installed", "node_modules/@acme/portal", `{"name":"@acme/portal"}`, "packageName: '@acme/portal'", true},
		{"folder", "some/where", "", "distDir: some/where/dist", true},
		{"folder goes first", "some/where", "", "{distDir: some/where/dist, packageName: none}", true},
		{"no such folder", "packages/app", "", "distDir: some/where", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir := filepath.Join(root, filepath.FromSlash(c.at))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if c.manifest != "" {
				if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(c.manifest), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(write(t, standard), filepath.Join(dir, "dist")); err != nil {
				t.Fatal(err)
			}
			app := strings.Trim(c.app, "{}")
			b := newBackend(t, root, "app: { baseUrl: 'http://localhost', title: Portal, "+app+" }\n")
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer stop(t, b)
			if got := strings.Contains(get(t, b, "/x"), page); got != c.want {
				t.Errorf("served: %t, want %t", got, c.want)
			}
		})
	}
}

// TestOldPages updates a frontend while a page of the earlier one is open.
func TestOldPages(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		var mu sync.Mutex
		kept := make(chan string, 10)
		watch := backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) {
				return slog.New(slog.NewJSONHandler(&lines{mu: &mu, out: kept}, nil)), nil
			}
		})
		run := func(files map[string]string, more ...backend.Feature) *backendtest.Server {
			srv := serve(t, files, append(more, database, watch)...)
			return srv
		}
		first := run(with(protected, map[string]string{"static/old.1.js": "old", "public/static/old.2.js": "old public"}))
		<-kept
		<-kept
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}

		second := run(protected)
		<-kept
		<-kept
		user, nobody := second.Client(t).As(backendtest.User("")), second.Client(t).As(backendtest.Nobody())
		r := user.Get("/static/old.1.js").Expect(200)
		if r.Text() != "old" || r.Header.Get("Content-Type") != "application/javascript; charset=UTF-8" || !strings.Contains(r.Header.Get("Cache-Control"), "max-age=1209600") {
			t.Errorf("an earlier script: %q, %v", r.Text(), r.Header)
		}
		if r := user.Header("Range", "bytes=1-").Get("/static/old.1.js"); r.Status != 206 || r.Text() != "ld" {
			t.Errorf("a part of it: %d %q", r.Status, r.Text())
		}
		if got := user.Do("HEAD", "/static/old.1.js", nil).Expect(200).Header.Get("Content-Length"); got != "3" {
			t.Errorf("Content-Length %s", got)
		}
		user.Post("/static/old.1.js", nil).Expect(404)
		user.Get("/static/old.2.js").Expect(404)
		user.Get("/static/main.abc.js.map").Expect(200)
		nobody.Get("/static/old.1.js").Expect(404)
		if got := nobody.Get("/static/old.2.js").Expect(200).Text(); got != "old public" {
			t.Errorf("got %q", got)
		}
		if err := second.Stop(); err != nil {
			t.Fatal(err)
		}

		third := run(protected, configured(map[string]any{"disableStaticFallbackCache": true}))
		third.Client(t).As(backendtest.User("")).Get("/static/old.1.js").Expect(404)
	})
}

// lines sends on what the log says of kept files.
type lines struct {
	mu  *sync.Mutex
	out chan<- string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(string(line), "Keeping the static files") {
		l.out <- string(line)
	}
	return len(line), nil
}
