package frontendconfig_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/plugins/app-backend/internal/frontendconfig"
)

const schema = `{"type":"object","properties":{
	"app":{"type":"object","properties":{
		"title":{"type":"string","visibility":"frontend"},
		"baseUrl":{"type":"string","visibility":"frontend"},
		"deep":{"type":"object","deepVisibility":"frontend","properties":{"own":{"type":"string","visibility":"backend"}}},
		"arr":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string","visibility":"frontend"}}}},
		"port":{"type":"number","visibility":"frontend"},
		"old":{"type":"string","visibility":"frontend","deprecated":"use app.title"}}},
	"auth":{"type":"object","properties":{"providers":{"type":"object","visibility":"frontend","additionalProperties":{
		"type":"object","visibility":"frontend","properties":{"clientSecret":{"type":"string","visibility":"secret"}}}}}},
	"hidden":{"type":"object","properties":{"number":{"type":"number"}}},
	"secret":{"type":"string","visibility":"secret"}}}`

func merged(t testing.TB, text string) *configschema.Schema {
	t.Helper()
	s, err := configschema.Merge(configschema.Source{Owner: "app", Value: json.RawMessage(text)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, name, text string) rootconfig.Layer {
	t.Helper()
	l, err := rootconfig.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestVisibleOnly(t *testing.T) {
	t.Parallel()
	root := rootconfig.New(parse(t, "app-config.yaml", `
secret: hunter2
hidden: { number: no number, but nobody sees it }
auth: { providers: { zeta: { clientSecret: hunter2 }, alpha: {} } }
app:
  title: T
  baseUrl: http://localhost
  internal: hunter2
  deep: { z: { key: 1 }, a: [x], own: hunter2 }
  arr: [{ x: "1", y: hunter2 }, { y: hunter2 }]
  port: "80"
  old: o
`), parse(t, "env", `{ app: { port: 81, internal: hunter2 } }`))
	c, err := frontendconfig.New(root, merged(t, schema))
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"context":"env","deprecatedKeys":[],"data":{"app":{"port":81}}},` +
		`{"context":"app","deprecatedKeys":[{"key":"app.old","description":"use app.title"}],"data":{` +
		`"auth":{"providers":{"zeta":{},"alpha":{}}},` +
		`"app":{"title":"T","baseUrl":"http://localhost","deep":{"z":{"key":1},"a":["x"]},"arr":[{"x":"1"}],"port":81,"old":"o"}}}]`
	if got := string(c.JSON()); strings.Contains(got, "hunter2") || strings.Contains(got, "internal") {
		t.Fatalf("a value that is not for frontends is there: %s", got)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(c.JSON(), &a), json.Unmarshal([]byte(want), &b)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("the configuration of the frontend (-want +got):\n%s", diff)
	}
}

func TestOrderOfTheFiles(t *testing.T) {
	t.Parallel()
	root := rootconfig.New(parse(t, "app-config.yaml", "app: { title: T, port: 1, baseUrl: b, deep: { z: 1, y: { b: 1, a: 2 }, '/x/y': 3, '/a.b': { d: 1, c: 2 } } }"))
	c, err := frontendconfig.New(root, merged(t, schema))
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"context":"app","deprecatedKeys":[],"data":{"app":{"title":"T","port":1,"baseUrl":"b","deep":{"z":1,"y":{"b":1,"a":2},"/x/y":3,"/a.b":{"c":2,"d":1}}}}}]`
	if got := string(c.JSON()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestViolations(t *testing.T) {
	t.Parallel()
	root := rootconfig.New(parse(t, "app-config.yaml", "app:\n  title: [hunter2]\n  port: eighty\nhidden: { number: x }\n"))
	_, err := frontendconfig.New(root, merged(t, schema))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`app-config.yaml:3: config key "app.port" must be a number, found a string`, `app-config.yaml:2: config key "app.title"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not have %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("error %q tells too much", err)
	}
	var e *core.ConfigError
	if !errors.As(err, &e) {
		t.Errorf("error %v is no *core.ConfigError", err)
	}
}

func TestWithoutSchema(t *testing.T) {
	t.Parallel()
	c, err := frontendconfig.New(rootconfig.Static(map[string]any{"app": map[string]any{"title": "T"}}), nil)
	if err != nil || string(c.JSON()) != "[]" {
		t.Errorf("%s, %v", c.JSON(), err)
	}
}

// hostile are titles that could leave the place they are put in.
var hostile = []string{
	"</script><script>alert(1)</script>", "</SCRIPT >", "<!-- <script>", "</scr</scriptipt>", "]]>", "\u2028\u2029", "\x00\x1f", `"'\`, "*/ alert(1) /*",
	"</head>", "$& $1 $$", "/*__INJECTED_END__*/", `"__APP_INJECTED_RUNTIME_CONFIG__"`, "\\u003c/script>", "\xff",
}

func withTitle(t testing.TB, title string) *frontendconfig.Config {
	t.Helper()
	c, err := frontendconfig.New(rootconfig.Static(map[string]any{"app": map[string]any{"title": title}}), merged(t, schema))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func titleIn(t testing.TB, list string) string {
	t.Helper()
	var sources []struct {
		Data struct{ App struct{ Title string } }
	}
	if err := json.Unmarshal([]byte(list), &sources); err != nil {
		t.Fatalf("the configuration is no JSON: %v\n%s", err, list)
	}
	return sources[0].Data.App.Title
}

func FuzzInjectPage(f *testing.F) {
	for _, title := range hostile {
		f.Add(title)
	}
	f.Fuzz(func(t *testing.T, title string) {
		const begin, end = "<html><head>\n<script type=\"backstage.io/config\">\n", "\n</script>\n</head><body></head></body></html>"
		page, err := withTitle(t, title).InjectPage("<html><head></head><body></head></body></html>")
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(page, begin)
		text, okay := strings.CutSuffix(text, end)
		if !ok || !okay {
			t.Fatalf("the page is %q", page)
		}
		if strings.Contains(text, "<") {
			t.Errorf("the script can end early, or begin a comment: %q", text)
		}
		if got, want := titleIn(t, text), strings.ToValidUTF8(title, "\ufffd"); got != want && !strings.Contains(want, "\ufffd") {
			t.Errorf("the frontend reads %q, want %q", got, want)
		}
	})
}

func TestNoHead(t *testing.T) {
	t.Parallel()
	if page, err := withTitle(t, "T").InjectPage("<html></html>"); err == nil {
		t.Errorf("got %q", page)
	}
}

func TestInjectScript(t *testing.T) {
	t.Parallel()
	for _, title := range hostile {
		c := withTitle(t, title)
		for _, script := range []string{
			`a("__APP_INJECTED_RUNTIME_CONFIG__");b("__APP_INJECTED_RUNTIME_CONFIG__")`,
			"a(/*__APP_INJECTED_CONFIG_MARKER__*/\"[{\\\"x\\\":\\\"\n\\\"}]\"/*__INJECTED_END__*/);b(/*__APP_INJECTED_CONFIG_MARKER__*/\"\"/*__INJECTED_END__*/)",
		} {
			out, ok := c.InjectScript([]byte(script))
			if !ok {
				t.Fatalf("%q takes no configuration", script)
			}
			const begin, end = `/*__APP_INJECTED_CONFIG_MARKER__*/"`, `"/*__INJECTED_END__*/`
			parts := strings.Split(string(out), begin)
			if len(parts) != 3 || parts[0] != "a(" {
				t.Fatalf("got %q", out)
			}
			for _, part := range parts[1:] {
				text, _, found := strings.Cut(part, end)
				if !found {
					t.Fatalf("got %q", out)
				}
				// What the script reads: escapes of these characters mean themselves.
				plain := strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`, `\/`, `/`).Replace(text)
				if got := titleIn(t, plain); got != strings.ToValidUTF8(title, "\ufffd") {
					t.Errorf("the frontend reads %q, want %q", got, title)
				}
			}
			// A later start finds the place again.
			if again, ok := c.InjectScript(out); !ok || string(again) != string(out) {
				t.Errorf("injected again: %q, want %q", again, out)
			}
		}
	}
	if out, ok := withTitle(t, "T").InjectScript([]byte("plain")); ok {
		t.Errorf("got %q", out)
	}
}
