package configread_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configread"
	"github.com/flytower/flytower/internal/configtest"
)

func TestReader(t *testing.T) {
	t.Parallel()
	r := configread.New(configtest.FromYAML(t, `
		a:
		  text: x
		  flag: true
		  list: [p, q]
		  size: 7
		  share: 12.5
		  schedule: {frequency: PT1M, timeout: PT2M}
	`).Sub("a"))
	if s := r.String("text", "") + r.String("none", "y"); s != "xy" {
		t.Errorf("strings %q", s)
	}
	if !r.Bool("flag", false) || !r.Bool("none", true) {
		t.Error("booleans")
	}
	if d := cmp.Diff([]string{"p", "q"}, r.Strings("list")); d != "" || r.Strings("none") != nil {
		t.Errorf("lists (-want +got):\n%s", d)
	}
	if r.IntBetween("size", 1, 1, 7) != 7 || r.IntBetween("none", 3, 1, 7) != 3 || r.Percentage("share", 0) != 12.5 {
		t.Error("numbers")
	}
	absent := core.Schedule{Timeout: time.Hour}
	if s := r.Schedule("schedule", absent); s.Frequency.Every != time.Minute || s.Timeout != 2*time.Minute || r.Schedule("none", absent) != absent {
		t.Errorf("schedules %+v", s)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

// Every mistake is kept, with where it stands.
func TestMistakes(t *testing.T) {
	t.Parallel()
	r := configread.New(configtest.FromYAML(t, "a:\n  text: 1\n  flag: maybe\n  list: x\n  size: 8\n  share: 101\n  schedule: {frequency: PT1M}\n").Sub("a"))
	r.String("text", "")
	r.Bool("flag", false)
	r.Strings("list")
	r.IntBetween("size", 1, 1, 7)
	r.Percentage("share", 0)
	r.Schedule("schedule", core.Schedule{})
	r.Wrong("absent", "is missing", "write it")
	r.Keep(nil)
	err := r.Err()
	for _, want := range []string{"app-config.yaml:3: ", "app-config.yaml:4: ", "app-config.yaml:5: ", "app-config.yaml:6: ", "app-config.yaml:7: ", `app-config.yaml:1: config key "a.absent" is missing; write it`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	var one *core.ConfigError
	if !errors.As(err, &one) {
		t.Errorf("%T", err)
	}
}
