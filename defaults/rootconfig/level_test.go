package rootconfig_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

const base = `
a:
  b: 1
  c: [1, 2]
  d: {x: 1}
n: 5
port: "7007"
s: ""
`

const over = `
a:
  b: null
  c: [3]
  d: {y: 2}
n: null
flag: "on"
`

func TestLayers(t *testing.T) {
	t.Parallel()
	config := layers(t, base, over)
	got, _ := config.Value("")
	want := map[string]any{
		"a":    map[string]any{"c": []any{3.0}, "d": map[string]any{"y": 2.0, "x": 1.0}},
		"flag": "on", "port": "7007", "s": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "flag", "port", "s"}, config.Keys("")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if config.Has("a.b") || !config.Has("a.c") || config.Has("n") || config.Has("x.y") || !config.Has("s") || !config.Has("") || config.Has("a.c.z") {
		t.Error("Has is wrong")
	}
	if n, err := config.NumberOr("port", 0); n != 7007 || err != nil {
		t.Errorf("port = %v, %v", n, err)
	}
	if b, err := config.BoolOr("flag", false); !b || err != nil {
		t.Errorf("flag = %v, %v", b, err)
	}
	if got := config.Position("a.d.x").String() + " " + config.Position("a.d.y").String(); got != "app-config.yaml:5 app-config.local.yaml:5" {
		t.Errorf("positions = %s", got)
	}
	if diff := cmp.Diff([]string{"app-config.yaml", "app-config.local.yaml"}, config.Sources()); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	first := config.Layers()[0].Data()
	if diff := cmp.Diff(5.0, first["n"]); diff != "" {
		t.Errorf("n of the first layer (-want +got):\n%s", diff)
	}
	// The caller owns what it gets.
	got.(map[string]any)["a"].(map[string]any)["c"] = nil
	if !config.Has("a.c") {
		t.Error("a change of a value changed the configuration")
	}
}

func TestNullHidesAtEveryDepth(t *testing.T) {
	t.Parallel()
	config := layers(t, "a: {b: {c: 1, d: 2}}", "a: {b: null}")
	if config.Has("a.b.c") {
		t.Error("null does not hide what lies below it")
	}
	config = layers(t, "a: null", "a: {b: 1}")
	if n, err := config.IntOr("a.b", 0); n != 1 || err != nil {
		t.Errorf("a.b = %v, %v", n, err)
	}
	config = layers(t, "a: {b: 1}", "a: text")
	if _, err := config.IntOr("a.b", 0); err == nil {
		t.Error("a string that replaced an object has members")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	config := layers(t, base+`
list: [{id: x}, y]
strings: [a, 1]
empty: [""]
no: perhaps
half: 1.5
inf: .inf
wait: 5
soon: {minute: 5}
un: "12a"
"Über": 1
`, over)
	for _, tt := range []struct {
		name string
		call func(core.Config) error
		want string
	}{
		{"empty string", get(core.Config.String, "s"), `app-config.yaml:8: config key "s" must be a non-empty string, found an empty string`},
		{"hidden", get(core.Config.String, "n"), `app-config.local.yaml:6: config key "n" is missing`},
		{"missing", get(core.Config.String, "a.z.y"), `app-config.local.yaml:2: config key "a.z.y" is missing`},
		{"number is no string", get(core.Config.String, "half"), `app-config.yaml:14: config key "half" must be a non-empty string, found a number; put it in quotes`},
		{"through a list", get(core.Config.String, "a.c.z"), `app-config.local.yaml:4: config key "a.c" must be an object, found a list`},
		{"string is no number", or(core.Config.NumberOr, "flag"), `app-config.local.yaml:7: config key "flag" must be a number, found a string that is none`},
		{"nearly a number", or(core.Config.NumberOr, "un"), `app-config.yaml:18: config key "un" must be a number, found a string that is none`},
		{"object is no number", or(core.Config.NumberOr, "a"), `app-config.local.yaml:2: config key "a" must be a number, found an object`},
		{"infinite", or(core.Config.NumberOr, "inf"), `app-config.yaml:15: config key "inf" must be a finite number`},
		{"fraction", or(core.Config.IntOr, "half"), `app-config.yaml:14: config key "half" must be a whole number, found 1.5`},
		{"no boolean", or(core.Config.BoolOr, "no"), `app-config.yaml:13: config key "no" must be a boolean, found a string that is none; write true or false`},
		{"list is no boolean", or(core.Config.BoolOr, "a.c"), `app-config.local.yaml:4: config key "a.c" must be a boolean, found a list`},
		{"no unit", or(core.Config.DurationOr, "wait"), `app-config.yaml:16: config key "wait" is no duration: the number 5 has no unit; write for example "5m", "PT5M" or {minutes: 5}`},
		{"unknown part", or(core.Config.DurationOr, "soon"), `app-config.yaml:17: config key "soon" has the unknown part "minute"; a duration has years, months, weeks, days, hours, minutes, seconds, milliseconds`},
		{"element", get(core.Config.Strings, "strings"), `app-config.yaml:11: config key "strings[1]" must be a non-empty string, found a number; put it in quotes`},
		{"empty element", get(core.Config.Strings, "empty"), `app-config.yaml:12: config key "empty[0]" must be a non-empty string, found an empty string`},
		{"string is no list", get(core.Config.Strings, "flag"), `app-config.local.yaml:7: config key "flag" must be a list of strings, found a string; put it in brackets`},
		{"element is no object", get(core.Config.List, "list"), `app-config.yaml:10: config key "list[1]" must be an object, found a string`},
		{"invalid key", get(core.Config.String, "a..b"), `config key "a..b" is no valid key: ""; the parts of a key consist of letters and digits, joined by -, _ or :, and begin with a letter`},
		{"invalid part", get(core.Config.String, "a.2b"), `config key "a.2b" is no valid key: "2b"; the parts of a key consist of letters and digits, joined by -, _ or :, and begin with a letter`},
		{"below a sub", func(c core.Config) error { _, err := c.Sub("a").Sub("d").String("q"); return err }, `app-config.local.yaml:5: config key "a.d.q" is missing`},
		{"below nothing", func(c core.Config) error { _, err := c.Sub("p.q").String("r"); return err }, `app-config.yaml: config key "p.q.r" is missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.call(config)
			if _, ok := as[*core.ConfigError](err); !ok {
				t.Fatalf("error is %T: %v", err, err)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("error:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func get[T any](method func(core.Config, string) (T, error), key string) func(core.Config) error {
	return func(c core.Config) error { _, err := method(c, key); return err }
}

func or[T any](method func(core.Config, string, T) (T, error), key string) func(core.Config) error {
	return func(c core.Config) error { var zero T; _, err := method(c, key, zero); return err }
}

func TestConversions(t *testing.T) {
	t.Parallel()
	config := layers(t, `
numbers: {a: " 1e3 ", b: "0x10", c: "-.5", d: 7, e: "0b101", f: "0o17"}
yes: {a: y, b: YES, c: " True ", d: on, e: 1, f: true, g: "1"}
no: {a: n, b: No, c: false, d: OFF, e: 0, f: "0"}
durations: {a: {minutes: 5}, b: PT1M, c: 2 hours, d: 10ms}
key:with-all_parts: x
EXPERIMENTAL_enable: true
`)
	for key, want := range map[string]float64{"a": 1000, "b": 16, "c": -0.5, "d": 7, "e": 5, "f": 15} {
		if got, err := config.NumberOr("numbers."+key, -1); got != want || err != nil {
			t.Errorf("number %s = %v, %v; want %v", key, got, err, want)
		}
	}
	for _, answer := range []string{"yes", "no"} {
		for _, key := range config.Keys(answer) {
			if got, err := config.Sub(answer).BoolOr(key, answer == "no"); got != (answer == "yes") || err != nil {
				t.Errorf("boolean %s.%s = %v, %v", answer, key, got, err)
			}
		}
	}
	for key, want := range map[string]time.Duration{"a": 5 * time.Minute, "b": time.Minute, "c": 2 * time.Hour, "d": 10 * time.Millisecond, "absent": 42} {
		if got, err := config.Sub("durations").DurationOr(key, 42); got != want || err != nil {
			t.Errorf("duration %s = %v, %v; want %v", key, got, err, want)
		}
	}
	if s, err := config.String("key:with-all_parts"); s != "x" || err != nil {
		t.Errorf("key with all parts: %q, %v", s, err)
	}
	if s, err := config.StringOr("absent", "z"); s != "z" || err != nil {
		t.Errorf("absent string = %q, %v", s, err)
	}
	if l, err := config.Strings("absent"); l != nil || err != nil {
		t.Errorf("absent strings = %v, %v", l, err)
	}
	if l, err := config.List("absent"); l != nil || err != nil {
		t.Errorf("absent list = %v, %v", l, err)
	}
}

func TestListElements(t *testing.T) {
	t.Parallel()
	config := layers(t, "locations:\n  - type: file\n    opts: {x: 1}\n  - type: url\n")
	list, err := config.List("locations")
	if err != nil || len(list) != 2 {
		t.Fatalf("%d elements, %v", len(list), err)
	}
	if s, err := list[1].String("type"); s != "url" || err != nil {
		t.Errorf("type = %q, %v", s, err)
	}
	if got := list[0].Sub("opts").Path("x"); got != "locations[0].opts.x" {
		t.Errorf("path = %q", got)
	}
	_, err = list[1].String("target")
	if want := `app-config.yaml:4: config key "locations[1].target" is missing`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	config := rootconfig.Static(map[string]any{"backend": map[string]any{"listen": 7007, "tags": []string{"a"}}})
	if v, ok := config.Value("backend.listen"); v != 7007.0 || !ok {
		t.Errorf("listen = %v, %v", v, ok)
	}
	_, err := config.String("backend.baseUrl")
	if want := `static: config key "backend.baseUrl" is missing`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("a value without JSON form is accepted")
		}
	}()
	rootconfig.Static(map[string]any{"f": func() {}})
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	root := rootconfig.Static(map[string]any{"n": 1})
	var calls []string
	sub := root.Sub("deep")
	cancelPanic := root.Subscribe(func() { panic("first") })
	root.Subscribe(func() { calls = append(calls, "second") })
	cancel := root.Subscribe(func() { calls = append(calls, "third") })
	if root.Set(rootconfig.Map("static", map[string]any{"n": 1})) {
		t.Error("an equal configuration counts as a change")
	}
	if !root.Set(rootconfig.Map("static", map[string]any{"deep": map[string]any{"x": 2}})) {
		t.Error("a different configuration does not count as a change")
	}
	cancel()
	cancelPanic()
	root.Set(rootconfig.Map("static", map[string]any{"n": 3}))
	if diff := cmp.Diff([]string{"second", "third", "second"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if sub.Has("x") {
		t.Error("a level does not follow its root")
	}
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"a.b", "", ".", "a..b", "A-b_c:d", "a[0]"} {
		f.Add(seed)
	}
	config := rootconfig.Static(map[string]any{"a": map[string]any{"b": "x"}})
	f.Fuzz(func(t *testing.T, key string) {
		_, ok := config.Value(key)
		if ok != config.Has(key) {
			t.Errorf("Has and Value disagree about %q", key)
		}
		if got := config.Path(key); got != key {
			t.Errorf("Path(%q) = %q", key, got)
		}
		if _, err := config.String(key); err == nil && key != "a.b" {
			t.Errorf("String(%q) found something", key)
		}
	})
}
