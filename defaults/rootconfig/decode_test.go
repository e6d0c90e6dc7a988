package rootconfig_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
)

type common struct {
	Name string `json:"name"`
}

type rule struct {
	Allow []string `json:"allow"`
}

type settings struct {
	common
	Port     int               `json:"port"`
	Small    uint8             `json:"small"`
	Ratio    float64           `json:"ratio"`
	On       bool              `json:"on"`
	Every    time.Duration     `json:"every"`
	Rules    []rule            `json:"rules"`
	Labels   map[string]string `json:"labels"`
	Nested   *rule             `json:"nested,omitempty"`
	Raw      json.RawMessage   `json:"raw"`
	Any      any               `json:"any"`
	Addr     netip.Addr        `json:"addr"`
	Untagged string
	Hidden   string `json:"-"`
}

func (s *settings) Validate() error {
	if s.Port == 13 {
		return errors.New("the port must not be 13")
	}
	return nil
}

func TestDecode(t *testing.T) {
	t.Parallel()
	config := layers(t, `
s:
  name: ""
  port: "8080"
  ratio: "0.5"
  on: yes
  every: {minutes: 1}
  rules: [{allow: [a, b]}, {}]
  labels: {x: "1"}
  nested: {allow: []}
  raw: {k: [1]}
  any: [true]
  addr: 127.0.0.1
  Untagged: u
  small: null
`)
	got := settings{Small: 7, common: common{Name: "default"}}
	if err := config.Decode("s", &got); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Port: 8080, Small: 7, Ratio: 0.5, On: true, Every: time.Minute, Rules: []rule{{Allow: []string{"a", "b"}}, {}},
		Labels: map[string]string{"x": "1"}, Nested: &rule{Allow: []string{}}, Raw: json.RawMessage(`{"k":[1]}`),
		Any: []any{true}, Addr: netip.MustParseAddr("127.0.0.1"), Untagged: "u",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before := got
	if err := config.Decode("absent", &got); err != nil || got.Port != before.Port {
		t.Errorf("an absent key changed the struct: %v", err)
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	config := layers(t, `
s:
  prot: 1
  small: 256
  rules: [{alow: []}, 5]
  every: 5
  labels: {x: 1}
  addr: nowhere
  Hidden: x
bad: {port: 13}
text: x
`)
	var s settings
	want := `app-config.yaml:3: config key "s.prot" is unknown; did you mean "port"?
app-config.yaml:4: config key "s.small" is out of range
app-config.yaml:5: config key "s.rules[0].alow" is unknown; did you mean "allow"?
app-config.yaml:5: config key "s.rules[1]" must be an object, found a number
app-config.yaml:6: config key "s.every" is no duration: the number 5 has no unit; write for example "5m", "PT5M" or {minutes: 5}
app-config.yaml:7: config key "s.labels.x" must be a string, found a number; put it in quotes
app-config.yaml:8: config key "s.addr" is not valid: ParseAddr("nowhere"): unable to parse IP
app-config.yaml:9: config key "s.Hidden" is unknown; known here: Untagged, addr, any, every, labels, name, nested, on, port, ratio, raw, rules, small`
	err := config.Decode("s", &s)
	if diff := cmp.Diff(want, errorText(err, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e, ok := as[*core.ConfigError](err); !ok || e.Key != "s.prot" {
		t.Errorf("first error = %+v", e)
	}
	for key, want := range map[string]string{
		"bad":  `app-config.yaml:10: config key "bad" is not valid: the port must not be 13`,
		"text": `app-config.yaml:11: config key "text" must be an object, found a string`,
	} {
		if got := errorText(config.Decode(key, &settings{}), ""); got != want {
			t.Errorf("error:\n%s\nwant:\n%s", got, want)
		}
	}
	if err := config.Decode("s", settings{}); err == nil {
		t.Error("a struct that is no pointer is accepted")
	}
}
