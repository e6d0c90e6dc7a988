package catalogcommon_test

import (
	"errors"
	"testing"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestParseLocationRef(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, locationType, target string }{
		{"url:https://x.example/a", "url", "https://x.example/a"},
		{" file : /a b ", "file", "/a b"},
		{"url:a:b", "url", "a:b"},
		{"\u00a0url:\ufeffx\u2028", "url", "x"},
		{"custom:javascripts:x", "custom", "javascripts:x"},
		{"custom:x javascript:y", "custom", "x javascript:y"},
		{"", "", ""},
		{"url", "", ""},
		{"url:", "", ""},
		{"url: ", "", ""},
		{":x", "", ""},
		{" :x", "", ""},
		{"http://x.example", "", ""},
		{"https://x.example", "", ""},
		{"url:javascript:alert(1)", "", ""},
		{"url:JAVASCRIPT:alert(1)", "", ""},
		{"url:\x01\x1f java\nscr\r\tipt\n:alert(1)", "", ""},
	} {
		got, err := catalogcommon.ParseLocationRef(tc.in)
		if tc.locationType == "" {
			var typed *catalogcommon.LocationRefError
			if !errors.As(err, &typed) || typed.Ref != tc.in || typed.ErrorName() != "TypeError" {
				t.Errorf("ParseLocationRef(%q) = %v, %v, want a *LocationRefError", tc.in, got, err)
			}
			continue
		}
		if want := (catalogcommon.LocationRef{Type: tc.locationType, Target: tc.target}); err != nil || got != want {
			t.Errorf("ParseLocationRef(%q) = %v, %v, want %v", tc.in, got, err, want)
		}
	}
}

func TestFormatLocationRef(t *testing.T) {
	t.Parallel()
	if got, err := (catalogcommon.LocationRef{Type: "url", Target: "https://x"}).Format(); err != nil || got != "url:https://x" {
		t.Errorf("Format() = %q, %v", got, err)
	}
	for _, bad := range []catalogcommon.LocationRef{{"", "x"}, {"url", ""}, {"url", " jAvascript:x"}} {
		if got, err := bad.Format(); err == nil {
			t.Errorf("%+v.Format() = %q, want an error", bad, got)
		}
	}
}

func TestGeneratedLocationName(t *testing.T) {
	t.Parallel()
	l := catalogcommon.LocationRef{Type: "url", Target: "https://example.com/catalog-info.yaml"}
	if got, want := l.EntityName(), "generated-94fde8d1a3274d54a87afa4868abb452412d59c6"; got != want {
		t.Errorf("EntityName() = %s, want %s", got, want)
	}
	if got := l.EntityName(); !catalogcommon.IsObjectName(got) {
		t.Errorf("EntityName() = %s is no valid name", got)
	}
	if l.EntityName() == (catalogcommon.LocationRef{Type: "file", Target: l.Target}).EntityName() {
		t.Error("the type does not matter for the name")
	}
}

func TestEntityLocations(t *testing.T) {
	t.Parallel()
	e := catalogcommon.Entity{"kind": "Component", "metadata": map[string]any{"name": "A"}}
	_, err := e.Location()
	var missing *catalogcommon.MissingAnnotationError
	if !errors.As(err, &missing) || err.Error() != "Entity 'component:default/a' does not have the annotation backstage.io/managed-by-location" {
		t.Errorf("Location() error = %v", err)
	}
	e.SetAnnotation(catalogcommon.AnnotationLocation, "url:https://x/a.yaml")
	e.SetAnnotation(catalogcommon.AnnotationOriginLocation, "broken")
	if got, err := e.Location(); err != nil || got.Target != "https://x/a.yaml" {
		t.Errorf("Location() = %v, %v", got, err)
	}
	if _, err := e.OriginLocation(); err == nil {
		t.Error("a broken origin location passed")
	}
	if got, err := e.SourceLocation(); err != nil || got.Target != "https://x/a.yaml" {
		t.Errorf("SourceLocation() = %v, %v, want the location", got, err)
	}
	e.SetAnnotation(catalogcommon.AnnotationSourceLocation, "url:https://x/src/")
	if got, err := e.SourceLocation(); err != nil || got.Target != "https://x/src/" {
		t.Errorf("SourceLocation() = %v, %v, want the annotation", got, err)
	}
}

func FuzzParseLocationRef(f *testing.F) {
	for _, seed := range []string{"url:https://x", "file:/x", "url:javascript:x", " a : b ", "http://x", ":", "\x00:\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		l, err := catalogcommon.ParseLocationRef(in)
		if err != nil {
			return
		}
		text, err := l.Format()
		if err != nil {
			t.Fatalf("ParseLocationRef(%q) = %+v cannot be written: %v", in, l, err)
		}
		again, err := catalogcommon.ParseLocationRef(text)
		if err != nil || again != l {
			t.Fatalf("%q reads back as %+v, %v, want %+v", text, again, err, l)
		}
	})
}
