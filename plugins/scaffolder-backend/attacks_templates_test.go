package scaffolderbackend_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// TestTemplatesReachNothing: what templates of JavaScript and Python engines
// were used to reach the process. Inputs stay as they are written; files fail.
func TestTemplatesReachNothing(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), `"steps":[]`).Client(t)
	hostile := []string{
		`${{ parameters.constructor.constructor('return process')() }}`,
		`${{ parameters['constructor']['constructor']('return process.env')() }}`,
		`${{ parameters['const' ~ 'ructor']['const' ~ 'ructor']('return 1')() }}`,
		`${{ ''.__proto__.constructor('return 1')() }}`,
		`${{ ({}).toString.call.call(1) }}`,
		`${{ range.constructor('return global.process')() }}`,
		`${{ cycler.__init__.__globals__.os.popen('id').read() }}`,
		`${{ self._TemplateReference__context }}{{ 7*7 }}${{ nothing() }}`,
		`${{ process.env.PATH() }}`, `${{ require('child_process').execSync('id') }}`, `${{ globalThis.process() }}`, `${{ this.constructor() }}`,
		`${{ parameters.name | parseRepoUrl('x', 'y').constructor }}`, `${{ parameters.name | pick('constructor.constructor')('return 1')() }}`,
		`${{ parameters.name | replace(r/(.*)/, range) }}`, `${{ [range] }}`, `${{ range }}`, `${{ {a: joiner} | dump }}`,
		`${{ [1] | sort(attribute='constructor.constructor') | nosuch }}`, `${{ parameters | groupby('__proto__') }}`,
		`{% include '/etc/passwd' %}`, `{% import '/etc/passwd' as x %}`, `{% extends '/etc/passwd' %}`, `{% set constructor = 1 %}`,
	}
	var steps []any
	for i, source := range hostile {
		steps = append(steps, step(fmt.Sprint("s", i), "debug:log", map[string]any{"message": "[" + source + "]"}))
	}
	var r rehearsed
	c.Post(dryRunPath, attempt(steps, map[string]any{"name": "x"})).Expect(http.StatusOK).JSON(&r)
	for _, source := range hostile {
		if !strings.Contains(r.log(), "info\x1b[39m: ["+source+"]\n") {
			t.Errorf("%s was rendered", source)
		}
		answer := c.Post(dryRunPath, attempt([]any{step("t", "fetch:template", map[string]any{"url": "./s", "values": map[string]any{"name": "x"}})}, nil,
			file("s/f", strings.ReplaceAll(source, "parameters", "values"))))
		if answer.Status == http.StatusOK {
			t.Errorf("a file of %s was rendered: %s", source, answer.Text())
		}
	}
}

// TestWhatUsersWriteIsNotRendered: values are data, also where they look like
// templates, however often they are passed on.
func TestWhatUsersWriteIsNotRendered(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), `"steps":[]`).Client(t)
	evil := `${{ secrets.word }}{% for x in range(9) %}${{ 7*7 }}{% endfor %}{# #}`
	in := attempt([]any{
		step("log", "debug:log", map[string]any{"message": "${{ parameters.name }}", "listWorkspace": false}),
		step("render", "fetch:template", map[string]any{"url": "./s", "values": map[string]any{"name": "${{ parameters.name }}"}}),
		step("again", "workspace:template:file", map[string]any{"sourcePath": "raw", "targetPath": "g", "values": map[string]any{"name": "${{ parameters.name }}"}}),
		map[string]any{"id": "each", "action": "debug:log", "each": []any{"${{ parameters.name }}"}, "input": map[string]any{"message": "<${{ each.value }}>"}},
		map[string]any{"id": "if", "action": "debug:log", "if": "${{ parameters.name === '' }}", "input": map[string]any{}},
	}, map[string]any{"name": evil}, file("s/f", "[${{ values.name }}]"), file("s/raw", "{% raw %}[${{ values.name }}]{% endraw %}"))
	in["secrets"] = map[string]any{"word": "open sesame"}
	in["template"].(map[string]any)["spec"].(map[string]any)["output"] = map[string]any{"name": "${{ parameters.name }}"}
	var r rehearsed
	c.Post(dryRunPath, in).Expect(http.StatusOK).JSON(&r)
	files := r.files(t)
	if files["f"] != "["+evil+"]" || files["g"] != "["+evil+"]" || r.Output["name"] != evil || strings.Contains(r.log(), "4949") || strings.Contains(r.log(), "sesame") {
		t.Errorf("files %q, output %v, log:\n%s", files, r.Output, r.log())
	}
}

// TestExpressionsEnd: regular expressions that take exponential time in
// engines that go back, in forms, inputs and files.
func TestExpressionsEnd(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 2000) + "!"
	for _, pattern := range []string{`^(a+)+$`, `^(?=((a+)+)$)\1b`} {
		quoted := text(pattern)
		s := open(t, backendtest.SQLite(t), `"parameters":[{"properties":{"name":{"type":"string","pattern":`+quoted+`}},"patternProperties":{`+quoted+`:{"type":"number"}}}],"steps":[]`)
		c := s.Client(t)
		r := c.Post(tasksPath, map[string]any{"templateRef": "template:default/t", "values": map[string]any{"name": long}})
		if r.Status != http.StatusBadRequest && r.Status != http.StatusCreated {
			t.Errorf("%s: %d %s", pattern, r.Status, r.Text())
		}
		expression := strings.ReplaceAll(pattern, "/", `\/`)
		answer := c.Post(dryRunPath, attempt([]any{
			step("log", "debug:log", map[string]any{"message": "${{ parameters.name | replace(r/" + expression + "/, '') }}"}),
			step("file", "fetch:template", map[string]any{"url": "./s", "values": map[string]any{"name": "${{ parameters.name }}"}}),
		}, map[string]any{"name": long}, file("s/f", "${{ r/"+expression+"/.test(values.name) }}")))
		if answer.Status != http.StatusOK && answer.Status != http.StatusInternalServerError && answer.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", pattern, answer.Status, answer.Text())
		}
	}
}

// TestWhatGrowsIsStopped: loops, texts that double, deep values, many steps.
func TestWhatGrowsIsStopped(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := make([]any, 1001)
	for i := range many {
		many[i] = step(fmt.Sprint("s", i), "debug:log", nil)
	}
	huge := map[string]any{}
	for i := range 40 {
		huge[fmt.Sprint("k", i)] = "{% set a = 'xxxxxxxxxxxxxxxx' %}" + strings.Repeat("{% set a = a ~ a %}", 16) + "${{ a }}"
	}
	c := open(t, backendtest.SQLite(t), `"steps":[]`).Client(t)
	for name, tt := range map[string]struct {
		steps []any
		file  string
		want  string
	}{
		"a loop of loops":     {[]any{step("t", "fetch:template", map[string]any{"url": "./s"})}, strings.Repeat("{% for x in range(999) %}", 6) + "x" + strings.Repeat("{% endfor %}", 6), "limit Steps"},
		"a macro of itself":   {[]any{step("t", "fetch:template", map[string]any{"url": "./s"})}, "{% macro m() %}${{ m() }}{% endmacro %}${{ m() }}", "limit Depth"},
		"a text that doubles": {[]any{step("t", "fetch:template", map[string]any{"url": "./s"})}, "{% set a = 'x' %}" + strings.Repeat("{% set a = a ~ a %}", 60) + "${{ a }}", "limit TextBytes"},
		"a large file":        {[]any{step("t", "fetch:template", map[string]any{"url": "./s"})}, strings.Repeat("x", 7<<20)[:7<<20-1] + "${{ 1 }}", ""},
		"deep parentheses":    {[]any{step("t", "fetch:template", map[string]any{"url": "./s"})}, "${{ " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + " }}", "limit Depth"},
		"many iterations":     {[]any{map[string]any{"id": "e", "action": "debug:log", "each": "${{ range(10001) }}"}}, "", "10000 are allowed"},
		"many steps":          {many, "", "1000 are allowed"},
		"a large input":       {[]any{step("l", "debug:log", map[string]any{"message": huge})}, "", "limit ExpandedBytes"},
	} {
		files := []any{}
		if tt.file != "" {
			files = []any{file("s/f", tt.file)}
		}
		r := c.Post(dryRunPath, attempt(tt.steps, nil, files...))
		if tt.want == "" && r.Status != http.StatusOK || tt.want != "" && (r.Status < 400 || !strings.Contains(r.Text(), tt.want)) {
			t.Errorf("%s: %d %.300s", name, r.Status, r.Text())
		}
	}
	for name, body := range map[string]string{
		"values of a task":      `{"templateRef":"template:default/t","values":{"a":` + deep(100_000) + `}}`,
		"values that break off": `{"templateRef":"template:default/t","values":{"a":` + strings.Repeat("[", 100_000),
		"objects":               `{"templateRef":"template:default/t","values":` + strings.Repeat(`{"a":`, 2000) + `1` + strings.Repeat("}", 2000) + `}`,
	} {
		if r := c.Header("Content-Type", "application/json").Post(tasksPath, strings.NewReader(body)); r.Status != http.StatusBadRequest {
			t.Errorf("%s nested deep: %d %.200s", name, r.Status, r.Text())
		}
	}
	body := `{"template":{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"x"},"spec":{"type":"x","steps":[{"id":"a","action":"catalog:write","input":{"entity":{"metadata":{"x":` + deep(100_000) + `}}}}]}},"values":{},"directoryContents":[]}`
	if r := c.Header("Content-Type", "application/json").Post(dryRunPath, strings.NewReader(body)); r.Status != http.StatusBadRequest {
		t.Errorf("an entity nested deep: %d %.200s", r.Status, r.Text())
	}
	// A schema that refers to itself, and values for it.
	s := open(t, backendtest.SQLite(t), `"parameters":[{"$ref":"#"},{"properties":{"a":{"$ref":"#/properties/a"}}},{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}],"steps":[]`)
	if r := s.Client(t).Post(tasksPath, map[string]any{"templateRef": "template:default/t", "values": map[string]any{"a": 1}}); r.Status != http.StatusBadRequest && r.Status != http.StatusInternalServerError {
		t.Errorf("a schema of itself: %d %.200s", r.Status, r.Text())
	}
}

// TestLogsAreBounded: what actions log is cut off at some point; what tells
// how steps are is not.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	flood := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:flood"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		line := strings.Repeat("x", 1<<20)
		for range 20 {
			c.Logger.Info(line)
		}
		return struct{}{}, nil
	})
	c := open(t, backendtest.SQLite(t), `"steps":[{"id":"f","action":"test:flood"},{"id":"l","action":"debug:log","input":{"message":"later"}}]`, withActions(flood)).Client(t)
	told := transcript(follow(t, c, create(c, map[string]any{}, nil)))
	if len(told) > 18<<20 || strings.Count(told, "left out") != 1 || !strings.Contains(told, "Finished step debug:log") || strings.Contains(told, "info: later") {
		t.Errorf("the log has %d bytes and ends with %.300s", len(told), told[max(0, len(told)-300):])
	}
}

// TestPrototypeKeysAreData: names that mean something to JavaScript are keys
// as all others.
func TestPrototypeKeysAreData(t *testing.T) {
	t.Parallel()
	odd := `{"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}},"prototype":1,"toString":2,"hasOwnProperty":3,"length":4}`
	spec := `"parameters":[{"properties":{"constructor":{"type":"object"},"ok":{"type":"string"}}}],"steps":[
		{"id":"__proto__","action":"debug:log","input":{"message":"P${{ parameters | dump }}"}},
		{"id":"constructor","action":"debug:log","input":{"message":"U${{ user.entity.spec | dump }}"}},
		{"id":"each","action":"debug:log","each":"${{ parameters }}","input":{"message":"E${{ each.key }}"}},
		{"id":"out","action":"fs:readdir","input":{"paths":["."]}},
		{"id":"after","action":"debug:log","input":{"message":"A${{ parameters.polluted | default('clean') }}${{ steps.out.output.polluted | default('clean') }}"}},
		{"id":"write","action":"catalog:write","input":{"entity":{"metadata":{"annotations":"${{ parameters }}"}}}}]`
	s := backendtest.Start(t, backendtest.SQLite(t), backendtest.Silent(), plugin(), catalog(map[string]string{
		"template:default/t": tmpl(spec),
		"user:default/mock":  `{"apiVersion":"backstage.io/v1alpha1","kind":"User","metadata":{"name":"mock"},"constructor":1,"__proto__":2,"spec":` + odd + `}`,
	}), backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}}))
	c := s.Client(t)
	r := c.Header("Content-Type", "application/json").Post(tasksPath, strings.NewReader(`{"templateRef":"template:default/t","values":`+odd+`,"secrets":{"__proto__":"hidden secret","constructor":"x"}}`)).Expect(http.StatusCreated)
	var made struct{ ID string }
	r.JSON(&made)
	told := transcript(follow(t, c, tasksPath+"/"+made.ID))
	for _, want := range []string{"info: P" + odd, "info: U" + odd, "info: E__proto__", "info: Econstructor", "info: Acleanclean", "status: completed"} {
		if !strings.Contains(told, want+"\n") && !strings.Contains(told, want) {
			t.Errorf("there is no %q in\n%s", want, told)
		}
	}
}

// notebook keeps what the backend logs.
type notebook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func (n *notebook) feature() backend.Feature {
	return backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		return func(context.Context) (*slog.Logger, error) {
			return slog.New(slog.NewJSONHandler(n, &slog.HandlerOptions{Level: slog.LevelDebug})), nil
		}
	})
}

// TestSecretsStayHidden tells a secret in all the ways that actions may tell
// it, and looks for it in all that people see: events, tasks, errors, outputs,
// audit records and the log of the backend.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	const secret = "Tr0ub4dor&3/+=\"<\\'ü correct"
	key := "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQDKx7Zq\n-----END KEY-----"
	plain := []byte(secret)
	inJSON := strings.Trim(text(secret), `"`)
	forms := map[string]string{
		"plain": secret, "JSON": inJSON, "JSON in JSON": strings.Trim(text(inJSON), `"`), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
		"lower-case escapes": strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(secret), "%2F", "%2f"), "%2B", "%2b"),
		"HTML":               html.EscapeString(secret), "hexadecimal": hex.EncodeToString(plain), "base64": base64.StdEncoding.EncodeToString(plain),
		"base64 after one": base64.StdEncoding.EncodeToString(append([]byte("x"), plain...)), "base64 after two": base64.StdEncoding.EncodeToString(append([]byte("xy"), plain...)),
		"base64 for URLs": base64.RawURLEncoding.EncodeToString(plain), "basic": "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)),
		"a line of a key": strings.Split(key, "\n")[1], "another line": strings.Split(key, "\n")[2],
	}
	tell := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:tell"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
		All map[string]string `json:"all"`
	}, err error) {
		out.All = forms
		for name, form := range forms {
			c.Logger.Info("a form: <" + form + ">")
			c.Logger.Warn("attributes", name, form, "error", errors.New(form), "list", []string{form}, slog.Group("g", "x", form))
			c.Logger.With("kept", form).WithGroup("h").Error("more", form, 1)
		}
		return out, nil
	})
	refuse := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:refuse"}, func(_ context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		var all strings.Builder
		for _, form := range forms {
			all.WriteString("; " + form)
		}
		return struct{}{}, fmt.Errorf("cannot log in: %s", all.String())
	})
	panics := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:panic"}, func(context.Context, *scaffoldernode.ActionContext, struct{}) (struct{}, error) {
		panic("with " + secret)
	})
	steps := `{"id":"tell","action":"test:tell"},
		{"id":"log","action":"debug:log","input":{"message":"it is ${{ secrets.word }}","listWorkspace":false}},
		{"id":"parts","action":"debug:log","each":"${{ secrets.word | list }}","input":{"message":"${{ each.value }}"}},
		{"id":"codes","action":"debug:log","each":["${{ secrets.word.charCodeAt(0) }}"],"input":{"message":"code ${{ each.value }}"}},
		{"id":"case","action":"debug:log","input":{"message":"${{ secrets.word | upper }}"}},
		{"id":"twice","action":"debug:log","input":{"message":"${{ secrets.word | replace('o', '0') | dump }}"}},
		{"id":"write","action":"catalog:write","input":{"entity":{"metadata":{"name":"${{ secrets.word }}"}}}},
		{"id":"show","action":"debug:log","input":{"listWorkspace":"with-contents"}},
		{"id":"name","action":"catalog:write","input":{"filePath":"${{ secrets.hex }}","entity":{"metadata":{}}}},
		{"id":"list","action":"fs:readdir","input":{"paths":["."]}}`
	spec := `"steps":[` + steps + `%s],"output":{"all":"${{ steps.tell.output.all }}","list":"${{ steps.list.output.files }}","secret":"${{ secrets.word }}","links":[{"title":"${{ steps.tell.output.all.plain }}","url":"u"}]}`
	for name, last := range map[string]string{"completed": "", "failed": `,{"id":"refuse","action":"test:refuse"}`, "panicked": `,{"id":"panic","action":"test:panic"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &notebook{}
			s := backendtest.Start(t, backendtest.SQLite(t), backendtest.AllowPanics(), log.feature(), plugin(), withActions(tell, refuse, panics), catalog(map[string]string{
				"template:default/t": tmpl(fmt.Sprintf(spec, last)),
				"user:default/mock":  `{"apiVersion":"backstage.io/v1alpha1","kind":"User","metadata":{"name":"mock"},"spec":{}}`,
			}), backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}}))
			c := s.Client(t)
			path := create(c, map[string]any{}, map[string]any{"word": secret, "key": key, "hex": hex.EncodeToString([]byte("a secret name"))})
			all := follow(t, c, path)
			seen := map[string]string{
				"events": c.Get(path + "/events").Text(), "stream": c.Get(path + "/eventstream").Text(), "task": c.Get(path).Text(),
				"list": c.Get(tasksPath).Text(), "log of the backend": log.String(),
			}
			if told := transcript(all); !strings.Contains(told, "status: "+strings.Replace(name, "panicked", "failed", 1)) {
				t.Errorf("the task did not end so:\n%s", told)
			}
			forms := map[string]string{"upper case": strings.ToUpper(secret), "name of a file": hex.EncodeToString([]byte("a secret name")), "0": strings.ReplaceAll(secret, "o", "0")}
			for name, form := range formsOf(forms, secret, key) {
				for where, found := range seen {
					// Each place may have the text once more as a string of JSON.
					for _, shown := range []string{form, strings.Trim(text(form), `"`)} {
						if i := strings.Index(found, shown); i >= 0 {
							t.Errorf("%s is in the %s: %s", name, where, found[max(0, i-100):min(len(found), i+100)])
						}
					}
				}
			}
			for _, e := range all {
				if strings.HasSuffix(e.Body.Message, ": T") || strings.Contains(e.Body.Message, `"message": "T"`) || strings.Contains(e.Body.Message, `"value":"T"`) || strings.Contains(e.Body.Message, `"value":"84"`) || strings.Contains(e.Body.Message, "code 84") || strings.Contains(e.Body.Message, `"/"`) {
					t.Errorf("a part of the secret was told: %s", e.Body.Message)
				}
			}
		})
	}
}

// formsOf adds the forms that are looked for: the heart of each, since what
// is around depends on its neighbours.
func formsOf(forms map[string]string, secret, key string) map[string]string {
	forms["plain"] = secret
	forms["query"] = url.QueryEscape(secret)
	forms["path"] = url.PathEscape(secret)
	forms["HTML"] = html.EscapeString(secret)
	forms["hexadecimal"] = hex.EncodeToString([]byte(secret))
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte("xyz"[:shift] + secret))
		forms[fmt.Sprint("base64 at ", shift)] = encoded[4:24]
	}
	for _, line := range strings.Split(key, "\n")[1:3] {
		forms["line "+line] = line
	}
	return forms
}
