package catalogcommon_test

import (
	"errors"
	"strings"
	"testing"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	const (
		malformed = `Entity reference "%" was not on the form [<kind>:][<namespace>/]<name>`
		noKind    = `Entity reference "%" had missing or empty kind (e.g. did not start with "component:" or similar)`
	)
	group := catalogcommon.RefDefaults{Kind: "Group", Namespace: "Org"}
	for _, tc := range []struct {
		in       string
		defaults catalogcommon.RefDefaults
		want     string // kind|namespace|name
		wantErr  string
	}{
		{in: "Component:NS/Name", want: "Component|NS|Name"},
		{in: "component:name", want: "component|default|name"},
		{in: "name", defaults: group, want: "Group|Org|name"},
		{in: "ns/name", defaults: group, want: "Group|ns|name"},
		{in: "user:name", defaults: group, want: "user|Org|name"},
		{in: "user:ns/name", defaults: group, want: "user|ns|name"},
		{in: "name", defaults: catalogcommon.RefDefaults{Kind: "k"}, want: "k|default|name"},
		{in: "ns/na:me", defaults: group, want: "Group|ns|na:me"},
		{in: "k:ns/na:me/x", want: "k|ns|na:me/x"},
		{in: "k:a:b", want: "k|default|a:b"},
		{in: "", wantErr: "Entity reference must not be empty"},
		{in: "name", wantErr: noKind},
		{in: "ns/name", wantErr: noKind},
		{in: ":name", defaults: group, wantErr: malformed},
		{in: "k:", defaults: group, wantErr: malformed},
		{in: "k:/name", defaults: group, wantErr: malformed},
		{in: "/name", defaults: group, wantErr: malformed},
		{in: "k:ns/", defaults: group, wantErr: malformed},
		{in: ":", wantErr: malformed},
		{in: "/", wantErr: malformed},
	} {
		got, err := catalogcommon.ParseRef(tc.in, tc.defaults)
		if tc.wantErr != "" {
			want := strings.Replace(tc.wantErr, "%", tc.in, 1)
			if err == nil || err.Error() != want {
				t.Errorf("ParseRef(%q) error = %v, want %s", tc.in, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseRef(%q): %v", tc.in, err)
		} else if s := got.Kind + "|" + got.Namespace + "|" + got.Name; s != tc.want {
			t.Errorf("ParseRef(%q) = %s, want %s", tc.in, s, tc.want)
		}
	}
}

func TestRefErrorNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "Error", "name": "Error", "k:": "TypeError"} {
		_, err := catalogcommon.ParseRef(in, catalogcommon.RefDefaults{})
		var refErr *catalogcommon.RefError
		if !errors.As(err, &refErr) || refErr.ErrorName() != want {
			t.Errorf("ParseRef(%q) error = %#v, want one named %s", in, err, want)
		}
	}
}

func TestRefString(t *testing.T) {
	t.Parallel()
	a := catalogcommon.Ref{Kind: "Component", Namespace: "Dev", Name: "ÄPI"}
	if got, want := a.String(), "component:dev/äpi"; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
	if got, want := (catalogcommon.Ref{Kind: "K", Name: "n"}).String(), "k:default/n"; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
	if !a.Equal(catalogcommon.Ref{Kind: "COMPONENT", Namespace: "dev", Name: "äpi"}) {
		t.Error("refs that differ in case are not equal")
	}
	if a.IsZero() || !(catalogcommon.Ref{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestRefFromValue(t *testing.T) {
	t.Parallel()
	defaults := catalogcommon.RefDefaults{Kind: "Group", Namespace: "org"}
	for _, tc := range []struct {
		in   any
		want string
	}{
		{"a", "group:org/a"},
		{map[string]any{"name": "a"}, "group:org/a"},
		{map[string]any{"kind": "User", "namespace": "x", "name": "a"}, "user:x/a"},
		{map[string]any{"kind": "User"}, ""},
		{nil, ""},
		{3.0, ""},
	} {
		got, err := catalogcommon.RefFromValue(tc.in, defaults)
		if tc.want == "" {
			if err == nil {
				t.Errorf("RefFromValue(%v) = %s, want an error", tc.in, got)
			}
		} else if err != nil || got.String() != tc.want {
			t.Errorf("RefFromValue(%v) = %s, %v, want %s", tc.in, got, err, tc.want)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"component:default/a", "a", "a/b", "k:a:b", ":", "/", "k:/", "ä:ö/ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		ref, err := catalogcommon.ParseRef(in, catalogcommon.RefDefaults{Kind: "component"})
		if err != nil {
			return
		}
		if ref.Kind == "" || ref.Namespace == "" || ref.Name == "" {
			t.Fatalf("ParseRef(%q) = %+v has an empty part", in, ref)
		}
		again, err := catalogcommon.ParseRef(ref.String(), catalogcommon.RefDefaults{})
		if err != nil {
			t.Fatalf("own form %q of %q: %v", ref.String(), in, err)
		}
		if again.String() != strings.ToLower(ref.String()) {
			t.Fatalf("%q reads back as %q", ref.String(), again.String())
		}
	})
}
