package permissionbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

func fixed(d core.Decision) permissionnode.Policy {
	return permissionnode.PolicyFunc(func(context.Context, permissionnode.Query, *permissionnode.User) (core.Decision, error) {
		return d, nil
	})
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	allow, deny := fixed(permissionnode.Allow()), fixed(permissionnode.Deny())
	decision := func(c chosen) core.AuthorizeResult {
		d, err := c.policy.Decide(t.Context(), permissionnode.Query{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d.Result
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	conflict := func(err error) {
		t.Helper()
		if apierr.KindOf(err) != apierr.KindConflict {
			t.Errorf("got %v, want a conflict", err)
		}
	}

	var none registry
	if _, err := none.freeze(); !errors.Is(err, errNoPolicy) || !strings.HasPrefix(err.Error(), "No policy module installed!") {
		t.Errorf("without a policy: %v", err)
	}

	var fallback registry
	ok(fallback.SetFallback(allow))
	conflict(fallback.SetFallback(deny))
	c, err := fallback.freeze()
	ok(err)
	if !c.fallback || decision(c) != core.Allowed {
		t.Errorf("%+v", c)
	}

	var both registry
	ok(both.SetPolicy(deny))
	ok(both.SetFallback(allow))
	conflict(both.SetPolicy(allow))
	ok(both.AddShadow("a", allow))
	ok(both.AddShadow("b", allow))
	conflict(both.AddShadow("a", allow))
	if err := both.SetPolicy(nil); apierr.KindOf(err) != apierr.KindInput {
		t.Errorf("nil: %v", err)
	}
	c, err = both.freeze()
	ok(err)
	if c.fallback || decision(c) != core.Denied || len(c.shadows) != 2 {
		t.Errorf("%+v", c)
	}
	conflict(both.SetFallback(allow))
	conflict(both.AddShadow("c", allow))
}

func TestShadowsAreLoggedWhereTheyDiffer(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	things := permissionnode.ResourceType{Plugin: "p", Type: "thing"}
	red := permissionnode.NewRule[struct{}](things, "IS_RED").With(struct{}{})
	unmeasured, err := newMeasures(noop.Meter{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	guard := func(ctx context.Context, _ string, fn func(context.Context) error) error { return fn(ctx) }
	d := &decider{
		policy: permissionnode.PolicyFunc(func(_ context.Context, q permissionnode.Query, _ *permissionnode.User) (core.Decision, error) {
			if q.Permission.Name == "red" {
				return things.When(red), nil
			}
			return permissionnode.Allow(), nil
		}),
		guard: guard, measures: unmeasured,
		shadows: newShadows([]shadow{
			{"strict", fixed(permissionnode.Deny())},
			{"same", fixed(permissionnode.Allow())},
			{"wrong", fixed(things.When(red))},
		}, slog.New(slog.NewJSONHandler(&out, nil)), func() time.Time { return now }),
	}
	ask := func(p core.Permission, user string) (lines []string) {
		t.Helper()
		out.Reset()
		decisions, err := d.decide(t.Context(), &permissionnode.User{Info: core.UserInfo{UserEntityRef: user}}, []item{{permission: p}})
		if err != nil {
			t.Fatal(err)
		}
		if want := core.Allowed; p.Name != "red" && decisions[p].Result != want {
			t.Errorf("a shadow decided: %v", decisions)
		}
		for line := range strings.Lines(out.String()) {
			var e struct{ Shadow, User, Permission, Decision, ShadowDecision string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, e.Shadow+" "+e.User+" "+e.Permission+" "+e.Decision+" -> "+e.ShadowDecision)
		}
		return lines
	}
	same := func(got, want []string) {
		t.Helper()
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("logged:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	basic, resource := core.NewPermission("x", ""), core.NewResourcePermission("red", "read", "thing")
	wrong := "an error: Conditional decision returned from permission policy for non-resource permission x"
	same(ask(basic, "a"), []string{"strict a x ALLOW -> DENY", "wrong a x ALLOW -> " + wrong})
	same(ask(basic, "a"), nil)
	same(ask(basic, "b"), []string{"strict b x ALLOW -> DENY", "wrong b x ALLOW -> " + wrong})
	conditional := `CONDITIONAL p thing {"rule":"IS_RED","resourceType":"thing","params":{}}`
	same(ask(resource, "a"), []string{"strict a red " + conditional + " -> DENY", "same a red " + conditional + " -> ALLOW"})
	now = now.Add(repeatAfter + time.Second)
	same(ask(basic, "a"), []string{"strict a x ALLOW -> DENY", "wrong a x ALLOW -> " + wrong})
}

// FuzzItems: whatever is sent, it is refused with a named error or makes
// items that are complete.
func FuzzItems(f *testing.F) {
	for _, seed := range []string{
		`{"items":[{"id":"1","permission":{"type":"basic","name":"x","attributes":{"action":"read"}}}]}`,
		`{"items":[{"id":"1","permission":{"type":"resource","name":"x","attributes":{},"resourceType":"t"},"resourceRef":["a","b"]}]}`,
		`{"items":[{"id":"1","permission":{"type":"resource","name":"x","attributes":{},"resourceType":"t"},"resourceRef":"a"}]}`,
		`{"items":[null]}`, `{"items":[{"resourceRef":null}]}`, `[]`, `{"items":[{"resourceRef":{}}]}`, `{"items":[{"resourceRef":[]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var q authorizeRequest
		if json.Unmarshal(text, &q) != nil {
			return
		}
		items, err := q.items()
		if err != nil {
			if apierr.KindOf(err) != apierr.KindInput {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, i := range items {
			switch {
			case i.permission.Type != typeBasic && i.permission.Type != typeResource,
				i.permission.Type == typeBasic && (i.refs.present || i.permission.ResourceType != ""),
				i.refs.present && len(i.refs.list) == 0:
				t.Fatalf("%+v of %s", i, text)
			}
			if i.refs.present {
				back, err := json.Marshal(i.refs)
				if err != nil {
					t.Fatal(err)
				}
				var again refs
				if err := json.Unmarshal(back, &again); err != nil || len(again.list) != len(i.refs.list) || again.isList != i.refs.isList {
					t.Fatalf("%s became %+v (%v)", back, again, err)
				}
			}
		}
	})
}
