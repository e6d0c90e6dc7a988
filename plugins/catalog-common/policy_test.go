package catalogcommon_test

import (
	"strings"
	"testing"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestFieldFormats(t *testing.T) {
	t.Parallel()
	x := strings.Repeat
	v := catalogcommon.DefaultValidators()
	for _, tc := range []struct {
		name      string
		format    catalogcommon.FieldFormat
		good, bad []string
	}{
		{
			"apiVersion", v.APIVersion,
			[]string{"v1", "backstage.io/v1alpha1", "a.b-c.d/V1", x("a", 63), x("a", 63) + "/v", "1"},
			[]string{"", "/v1", "a/", "a/b/c", "A/v1", "a_b/v1", "v-1", "v.1", x("a", 64), ".a/v1", "a..b/v", x("abcde.", 43) + "/v", "v1\n"},
		},
		{"kind", v.Kind, []string{"Component", "API", "a1", x("a", 63)}, []string{"", "1a", "A-b", "Ä", x("a", 64), "A b"}},
		{
			"metadata.name", v.EntityName,
			[]string{"a", "A1", "a-b_c.d", "a--b", x("a", 63)},
			[]string{"", "-a", "a-", ".a", "a_", "a b", "ü", x("a", 64), "${{ values.name }}", "a/b", "a\n"},
		},
		{"metadata.namespace", v.Namespace, []string{"a", "a-b", "a--b", "1", x("a", 63)}, []string{"", "A", "-a", "a-", "a_b", "a.b", x("a", 64)}},
		{
			"label key", v.LabelKey,
			[]string{"a", "A_b.c", "example.com/A_b", x("a", 63) + "." + x("b", 63) + "/" + x("c", 63)},
			[]string{"", "/a", "a/", "a/b/c", "Example.com/a", "a/-b", x("a", 64)},
		},
		{"label value", v.LabelValue, []string{"", "a", "A-b_c.d"}, []string{"a b", "-a", x("a", 64), " "}},
		{"annotation key", v.AnnotationKey, []string{"backstage.io/techdocs-ref", "x"}, []string{"", "a b", "a/b/c"}},
		{"annotation value", v.AnnotationValue, []string{"", "any thing\n", x("a", 9999)}, nil},
		{
			"tag", v.Tag,
			[]string{"go", "c++", "c#", "a:b", "a-b", "java8", x("a", 63)},
			[]string{"", "Go", "a--b", "-a", "a-", "a b", "a_b", "a.b", x("a", 64)},
		},
	} {
		for _, s := range tc.good {
			if !tc.format.Valid(s) {
				t.Errorf("%s: %q is refused", tc.name, s)
			}
		}
		for _, s := range tc.bad {
			if tc.format.Valid(s) {
				t.Errorf("%s: %q is accepted", tc.name, s)
			}
		}
	}
}

func TestDNSSubdomainLength(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a.", 126) + "a" // 253 characters
	if !catalogcommon.IsDNSSubdomain(long) {
		t.Error("253 characters are refused")
	}
	if catalogcommon.IsDNSSubdomain(long + "b") {
		t.Error("254 characters are accepted")
	}
}

func TestIsURL(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"https://x.example/a b?c#d", "http:x", `http:\\x\y`, "mailto:a@b", "slack://channel?id=1", "http://u:p@h:80/", "http://[::1]:8080", "http://1.2.3.4",
		"http://0x7f.1", "file:///x", "file:c:/x", "file://h/x", "a:", " https://x\n", "https://h:", "https://h:65535", "https://${host}/x", "foo://[::1]", "https://a%2Db/",
	} {
		if !catalogcommon.IsURL(s) {
			t.Errorf("IsURL(%q) = false", s)
		}
	}
	for _, s := range []string{
		"", "x", "/x", "//h/x", "1a:b", "http://", "https://?x", "http://h:65536", "http://h:8x", "http://:80", "http://u@", "http://a b/", "http://a<b", "http://[::1",
		"http://[x]", "http://256.1.1.1", "http://1.2.3.4.5", "http://%zz", "https://${{ values.host }}/x", "foo://a b", "file://h:80/", "http://a.0x1g.1e3.09",
	} {
		if catalogcommon.IsURL(s) {
			t.Errorf("IsURL(%q) = true", s)
		}
	}
}

func FuzzIsURL(f *testing.F) {
	for _, s := range []string{"https://x", "http://[::1]:1", "file://C:/x", "foo://@", "http://%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if catalogcommon.IsURL(s) && !strings.Contains(s, ":") {
			t.Fatalf("IsURL(%q) without a scheme", s)
		}
	})
}

// edit returns a valid entity with one JSON member of metadata, or of the root
// if the name begins with a slash, set.
func edit(t *testing.T, name, value string) catalogcommon.Entity {
	t.Helper()
	e := parse(t, `{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"a","namespace":"n"},"spec":{}}`)
	if name == "" {
		return e
	}
	field := parse(t, `{"v":`+value+`}`)["v"]
	if root, ok := strings.CutPrefix(name, "/"); ok {
		e[root] = field
	} else {
		e.SetMetadata(name, field)
	}
	return e
}

func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	const help = " To learn more about catalog file format, visit: https://github.com/backstage/backstage/blob/master/docs/architecture-decisions/adr002-default-catalog-file-format.md"
	const name = "a string that is sequences of [a-zA-Z0-9] separated by any of [-_.], at most 63 characters in total"
	for _, tc := range []struct{ field, value, want string }{
		{"", "", ""},
		{"description", `""`, ""},
		{"title", `"any ü title"`, ""},
		{"labels", `{"a":""}`, ""},
		{"annotations", `{"example.com/x":" any\nthing"}`, ""},
		{"links", `[{"url":"https://x","title":"t","icon":"i","type":"y","extra":1}]`, ""},
		{"custom", `{"deep":[1]}`, ""},

		{"name", `"a b"`, `"metadata.name" is not valid; expected ` + name + ` but found "a b".` + help},
		{"namespace", `"N"`, `"metadata.namespace" is not valid; expected a string that is sequences of [a-z0-9] separated by [-], at most 63 characters in total but found "N".` + help},
		{"labels", `{"z z":"1","a a":"1"}`, `"labels.a a" is not valid; expected a valid prefix and/or suffix but found "a a".` + help},
		{"labels", `{"a":"b c"}`, `"labels.a" is not valid; expected ` + name + ` but found "b c".` + help},
		{"annotations", `{"a/b/c":"x"}`, `"annotations.a/b/c" is not valid; expected a valid prefix and/or suffix but found "a/b/c".` + help},
		{"tags", `["ok","Not"]`, `"tags.1" is not valid; expected a string that is sequences of [a-z0-9+#] separated by [-], at most 63 characters in total but found "Not".` + help},
		{"links", `[{"url":"x"}]`, `"links.0.url" is not valid; expected a string that is a valid url but found "x".` + help},
		{"links", `[{"url":"a:b","title":" "}]`, `"links.0.title" is not valid; expected a non empty string but found " ".` + help},
		{"links", `[{"url":"a:b","icon":"\u00a0"}]`, `"links.0.icon" is not valid; expected a non empty string but found "` + "\u00a0" + `".` + help},
		{"/kind", `"1x"`, `"kind" is not valid; expected a string that is a sequence of [a-zA-Z][a-z0-9A-Z], at most 63 characters in total but found "1x".` + help},
		{"/apiVersion", `"a/b/c"`, `"apiVersion" is not valid; expected a valid prefix and/or suffix but found "a/b/c".` + help},

		{"/relations", `[]`, "Unknown field relations"},
		{"/status", `{}`, "Unknown field status"},
		{"/other", `1`, "Malformed envelope, <root> must NOT have additional properties"},
		{"/spec", `[]`, "Malformed envelope, /spec must be object"},
		{"/kind", `1`, "Malformed envelope, /kind must be string"},
		{"/metadata", `{}`, "Malformed envelope, /metadata must have required property 'name'"},
		{"name", `""`, "Malformed envelope, /metadata/name must NOT have fewer than 1 characters"},
		{"namespace", `null`, "Malformed envelope, /metadata/namespace must be string"},
		{"namespace", `""`, "Malformed envelope, /metadata/namespace must NOT have fewer than 1 characters"},
		{"title", `""`, "Malformed envelope, /metadata/title must NOT have fewer than 1 characters"},
		{"labels", `{"a/b":1}`, "Malformed envelope, /metadata/labels/a~1b must be string"},
		{"annotations", `{"x":null}`, "Malformed envelope, /metadata/annotations/x must be string"},
		{"tags", `["a",""]`, "Malformed envelope, /metadata/tags/1 must NOT have fewer than 1 characters"},
		{"links", `[{}]`, "Malformed envelope, /metadata/links/0 must have required property 'url'"},
		{"/relations", `[{"type":"a b","targetRef":"x"}]`, `Malformed envelope, /relations/0/type must match pattern "^\w+$"`},
		{"/relations", `[{"type":"a","targetRef":"x","more":1}]`, "Malformed envelope, /relations/0 must NOT have additional properties"},
		{"/status", `{"items":[{"type":"t","level":"bad","message":""}]}`, "Malformed envelope, /status/items/0/level must be equal to one of the allowed values"},
		{"/status", `{"items":[{"type":"t","level":"info","message":"","error":{"name":"n"}}]}`, "Malformed envelope, /status/items/0/error must have required property 'message'"},
	} {
		got := ""
		if err := catalogcommon.DefaultPolicy(catalogcommon.Validators{})(edit(t, tc.field, tc.value)); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s = %s:\n got  %s\n want %s", tc.field, tc.value, got, tc.want)
		}
	}
}

func TestPolicyStageSetsTheNamespaceFirst(t *testing.T) {
	t.Parallel()
	e := edit(t, "", "")
	delete(e.Metadata(), "namespace")
	e["status"] = map[string]any{}
	if err := catalogcommon.DefaultPolicy(catalogcommon.Validators{})(e); err == nil {
		t.Error("status passed")
	}
	if got := e.Metadata()["namespace"]; got != "default" {
		t.Errorf("namespace = %v, want default", got)
	}
}

func TestFieldFormatPolicyAlone(t *testing.T) {
	t.Parallel()
	policy := catalogcommon.FieldFormatPolicy(catalogcommon.Validators{})
	for field, want := range map[string]string{"/kind": "kind must have a value", "name": "metadata.name must have a value", "labels": "labels.k must have a value"} {
		value := "null"
		if field == "labels" {
			value = `{"k":null}`
		}
		if err := policy(edit(t, field, value)); err == nil || err.Error() != want {
			t.Errorf("%s: error = %v, want %s", field, err, want)
		}
	}
	if err := policy(edit(t, "name", "3")); err == nil || !strings.Contains(err.Error(), `found "3"`) {
		t.Errorf("a number as name: error = %v", err)
	}
}

func TestValidatorsAreReplaceable(t *testing.T) {
	t.Parallel()
	custom := catalogcommon.Validators{
		Tag:       catalogcommon.FieldFormat{Valid: func(s string) bool { return s == strings.ToUpper(s) }, Expects: "shouting"},
		Namespace: catalogcommon.FieldFormat{Valid: func(string) bool { return false }},
	}
	policy := catalogcommon.FieldFormatPolicy(custom)
	e := edit(t, "tags", `["LOUD"]`)
	delete(e.Metadata(), "namespace")
	if err := policy(e); err != nil {
		t.Errorf("custom tag format: %v", err)
	}
	e.SetMetadata("tags", []any{"quiet"})
	if err := policy(e); err == nil || !strings.HasPrefix(err.Error(), `"tags.0" is not valid; expected shouting but found "quiet".`) {
		t.Errorf("error = %v", err)
	}
	if err := policy(edit(t, "", "")); err == nil || !strings.HasPrefix(err.Error(), `"metadata.namespace" is not valid; To learn`) {
		t.Errorf("a format that expects nothing: %v", err)
	}
	if err := policy(edit(t, "name", `"a b"`)); err == nil {
		t.Error("the other formats are gone")
	}
}

func TestValidateEnvelope(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{`{"apiVersion":"a","kind":"b","metadata":{"name":"c","labels":1},"anything":[1]}`, ""},
		{`{}`, "<root> must have required property 'apiVersion' - missingProperty: apiVersion"},
		{`{"apiVersion":"","kind":"b","metadata":{"name":"c"}}`, "/apiVersion must NOT have fewer than 1 characters - limit: 1"},
		{`{"apiVersion":"a","kind":"b","metadata":[]}`, "/metadata must be object - type: object"},
		{`{"apiVersion":"a","kind":"b","metadata":{}}`, "/metadata must have required property 'name' - missingProperty: name"},
		{`{"apiVersion":"a","kind":"b","metadata":{"name":1,"namespace":""}}`, "/metadata/name must be string - type: string"},
		{`{"apiVersion":"a","kind":"b","metadata":{"name":"c","namespace":""}}`, "/metadata/namespace must NOT have fewer than 1 characters - limit: 1"},
	} {
		got := ""
		if err := catalogcommon.ValidateEnvelope(parse(t, tc.text)); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s:\n got  %s\n want %s", tc.text, got, tc.want)
		}
	}
	if err := catalogcommon.ValidateEnvelope(nil); err == nil {
		t.Error("a nil entity passed")
	}
	if err := catalogcommon.ValidateEntity(edit(t, "/status", `{"items":[]}`)); err != nil {
		t.Errorf("ValidateEntity refuses status: %v", err)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"A","metadata":{"name":"n","labels":{"a":"b"},"tags":["x"],"links":[{"url":"a:b"}]}}`))
	f.Add([]byte(website))
	policy := catalogcommon.DefaultPolicy(catalogcommon.Validators{})
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := catalogcommon.ParseEntity(text)
		if err != nil || policy(e) != nil {
			return
		}
		if err := catalogcommon.ValidateEnvelope(e); err != nil {
			t.Fatalf("%s passes the policy but not the envelope check: %v", text, err)
		}
		if _, err := catalogcommon.ParseRef(e.Ref().String(), catalogcommon.RefDefaults{}); err != nil {
			t.Fatalf("%s has a ref that does not parse: %v", text, err)
		}
	})
}
