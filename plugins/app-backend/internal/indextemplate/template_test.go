package indextemplate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/app-backend/internal/indextemplate"
)

var data = indextemplate.Data{
	PublicPath: "/portal",
	Config: map[string]any{
		"app": map[string]any{
			"title": "Portal & <Co>", "empty": "", "port": 80.0, "textPort": " 81 ", "on": true, "textOn": "Yes", "ratio": 0.25,
			"list": []any{"a", "b"}, "mixed": []any{"a", 1.0},
			"analytics": map[string]any{"id": "</script>", "rate": 0.0},
		},
	},
}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, template, want string }{
		{"text", "plain ${config} {{x}} %> text", "plain ${config} {{x}} %> text"},
		{"a tag that is not closed is text", "a <% b", "a <% b"},
		{"an empty tag is text", "a <%%> b", "a <%%> b"},
		{"public path", `<base href="<%= publicPath %>/">`, `<base href="/portal/">`},
		{"string", `<%= config.getString('app.title') %>`, `Portal & <Co>`},
		{"escaped", `<%- config.getString("app.title") + "'" + '"' %>`, `Portal &amp; &lt;Co&gt;&#39;&quot;`},
		{"default of the command line", `<%= config.getOptionalString("app.none") ?? "No title" %>`, `No title`},
		{"?? keeps what is empty", `[<%= config.get('app.empty') ?? 'x' %>]`, `[]`},
		{"|| does not", `<%= config.get('app.empty') || 'x' %>`, `x`},
		{"absent", `[<%= config.getOptionalString('app.none') %>]`, `[]`},
		{"numbers", `<%= config.getNumber('app.port') %> <%= config.getNumber('app.textPort') %> <%= config.getOptionalNumber('app.ratio') %> <%= -1.5 %>`, `80 81 0.25 -1.5`},
		{"booleans", `<%= config.getBoolean('app.on') %> <%= config.getOptionalBoolean('app.textOn') %>`, `true true`},
		{"list", `<%= config.getStringArray('app.list') %>`, `a,b`},
		{"levels", `<%= config.getConfig('app').getString('title') %> <%= config.getConfig("app").getConfig("analytics").has("rate") %>`, `Portal & <Co> true`},
		{"JSON", `<%= JSON.stringify(config.get('app.analytics')) %>`, `{"id":"\u003c/script\u003e","rate":0}`},
		{"not", `<%= !config.has('app.none') %> <%= !!config.has('app.none') %>`, `true false`},
		{"comparison", `<%= config.getString('app.title') === 'x' ? 'same' : 'other' %> <%= 1 == 1 %> <%= null != undefined %>`, `other true false`},
		{"precedence", `<%= true || false && false %> <%= (true || false) && false %> <%= 'a' + 1 + 2 === 'a12' %> <%= 1 + 2 %>`, `true false true 3`},
		{"block", `<% if (config.has('app.analytics')) { %>on<% } %>!`, `on!`},
		{"block that is left out", `<% if (config.has('app.none')) { %><%= config.getString('app.none') %><% } %>!`, `!`},
		{"else if", `<% if (false) { %>a<% } else if (config.has('app.list')) { %>b<% } else { %>c<% } %>`, `b`},
		{"else", "<%\n if (0) {\n%>a<% }\nelse { %>c<% } %>", `c`},
		{"nested", `<% if (true) { %>1<% if (false) { %>2<% } else { %>3<% } %>4<% } %>`, `134`},
		{"statements in a tag", `<% if (true) { if (false) { %>a<% } } %>b`, `b`},
		{"comments", "<% /* if ( */ // } \n %>a<%= /* b */ 'c' %>", `ac`},
		{"escapes", `<%= 'it\'s \u0041\x42\n' %>`, "it's AB\n"},
		{"zero is false", `<%= config.getNumber('app.analytics.rate') || 100 %>`, `100`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := indextemplate.Render("index.html.tmpl", c.template, data)
			if err != nil || got != c.want {
				t.Errorf("%s\n got %q, %v\nwant %q", c.template, got, err, c.want)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, template string
		line           int
		want           string // a part of the problem
	}{
		{"missing value", "\n\n<%= config.getString('app.none') %>", 3, `no value at "app.none"`},
		{"empty string", "<%= config.getString('app.empty') %>", 1, "not empty"},
		{"wrong type", "<%= config.getNumber('app.title') %>", 1, `no number at "app.title"`},
		{"list of others", "<%= config.getStringArray('app.mixed') %>", 1, "no list of strings"},
		{"object", "a\n<%= config.get('app') %>", 2, "an object cannot be printed"},
		{"config itself", "<%= config %>", 1, "an object cannot be printed"},
		{"a level of a text", "<%= config.getConfig('app.title') %>", 1, "no object"},
		{"unknown name", "<%= process.env.SECRET %>", 1, `"process" cannot be evaluated`},
		{"constructor", "<%= config.constructor('x') %>", 1, "config.constructor cannot be used"},
		{"prototype", "<%= ''.constructor %>", 1, `"." cannot stand here`},
		{"function", "<%= (() => 1)() %>", 1, "'=' cannot stand here"},
		{"other statement", "<% for (;;) { %><% } %>", 1, "only if"},
		{"line within a tag", "<%=\n\n  foo\n%>", 3, `"foo"`},
		{"open block", "a\n<% if (true) { %>b", 2, "not closed"},
		{"closed too often", "<% } %>", 1, "not opened"},
		{"two elses", "<% if (1) { %><% } else { %><% } else { %><% } %>", 1, "another else"},
		{"no brace", "<% if (1) %>", 1, "expected {"},
		{"no expression", "<%= %>", 1, "missing"},
		{"template string", "<%= `${config}` %>", 1, "${…}"},
		{"open string", "<%= 'a %>", 1, "not closed"},
		{"open comment", "<% /* a %>", 1, "not closed"},
		{"no key", "<%= config.getString() %>", 1, "needs a key"},
		{"sum of nothing", "<%= 'a' + config.getOptional('app.none') %>", 1, "??"},
		{"mistake in what is left out", "<% if (false) { %>\n<%= alert(1) %><% } %>", 2, `"alert"`},
		{"too deep", "<%= " + strings.Repeat("(", 5000) + " %>", 1, "nested more than"},
		{"too many blocks", strings.Repeat("<% if (1) { %>", 100), 1, "nested more than"},
		{"too long", "<%= 1" + strings.Repeat(" + 1", 5000) + " %>", 1, "more than 100 parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := indextemplate.Render("index.html.tmpl", c.template, data)
			var e *indextemplate.Error
			if !errors.As(err, &e) {
				t.Fatalf("Render: %q, %v; want an *Error", out, err)
			}
			if e.Line != c.line || !strings.Contains(e.Problem, c.want) || e.File != "index.html.tmpl" {
				t.Errorf("error %q, want line %d: …%s…", err, c.line, c.want)
			}
		})
	}
}

// FuzzRender checks that templates of any text render or fail, without a
// panic, and that what has no tags stays as it is.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"", "<%", "<%= publicPath %>", "<% if (config.has('a')) { %>x<% } else if (!true) { %>y<% } else { %>z<% } %>",
		"<%- config.getOptionalString(\"app.title\") ?? 'x' %>", "<%= 1 ? 2 : 3 %>", "<%= 'a\\u00' %>", "<%= `a` %>", "<% /* */ // \n %>",
		"<%= JSON.stringify(config.get()) %>", "<%= config.getConfig('app').get() %>", "<%= \xff %>", "<%= 1.2.3 %>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		out, err := indextemplate.Render("t", template, data)
		var e *indextemplate.Error
		switch {
		case err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Line > 1+strings.Count(template, "\n")):
			t.Errorf("error %v does not name a line of the template", err)
		case err == nil && !strings.Contains(template, "<%") && out != template:
			t.Errorf("got %q", out)
		}
	})
}
