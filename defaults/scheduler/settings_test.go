package scheduler

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/core"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]core.Schedule{
		`{"version":2,"cadence":"PT10M","timeoutAfterDuration":"PT1M"}`:                                 {Frequency: core.Frequency{Every: 10 * time.Minute}, Timeout: time.Minute},
		`{"version":2,"cadence":"PT36H","initialDelayDuration":"PT5S","timeoutAfterDuration":"PT1.5S"}`: {Frequency: core.Frequency{Every: 36 * time.Hour}, InitialDelay: 5 * time.Second, Timeout: 1500 * time.Millisecond},
		`{"version":2,"cadence":"0 3 * * mon","timeoutAfterDuration":"PT1H30M20S"}`:                     {Frequency: core.Frequency{Cron: "0 3 * * mon"}, Timeout: time.Hour + 30*time.Minute + 20*time.Second},
		`{"version":2,"cadence":"manual","timeoutAfterDuration":"PT0.001S"}`:                            {Frequency: core.Frequency{Manual: true}, Timeout: time.Millisecond},
	} {
		set, p, err := newSettings(s, time.UTC)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		text, err := json.Marshal(set)
		if err != nil || string(text) != want {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
		if p.timeout != s.Timeout || p.every != s.Frequency.Every || p.delay != s.InitialDelay || p.manual() != s.Frequency.Manual {
			t.Errorf("%s became %+v", want, p)
		}
	}
	for want, s := range map[string]core.Schedule{
		"exactly one":       {Timeout: time.Minute},
		"timeout":           {Frequency: core.Frequency{Manual: true}},
		"cron expression":   {Frequency: core.Frequency{Cron: "often"}, Timeout: time.Minute},
		"not possible":      {Frequency: core.Frequency{Every: time.Nanosecond}, Timeout: time.Minute},
		"initial delay":     {Frequency: core.Frequency{Manual: true}, Timeout: time.Minute, InitialDelay: -1},
		"exactly one of":    {Frequency: core.Frequency{Manual: true, Cron: "@daily"}, Timeout: time.Minute},
		"never comes":       {Frequency: core.Frequency{Cron: "0 0 31 2 *"}, Timeout: time.Minute},
		"must be positive":  {Frequency: core.Frequency{Manual: true}, Timeout: -time.Minute},
		"a frequency of -1": {Frequency: core.Frequency{Every: -1}, Timeout: time.Minute},
	} {
		if _, _, err := newSettings(s, time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		cadence string
		due     time.Time
		want    time.Time
	}{
		{"PT1H", now.Add(-10 * time.Minute), now.Add(50 * time.Minute)}, // from start to start
		{"PT1H", now.Add(-5 * time.Hour), now},                          // what was missed is not made up for
		{"P1D", now, now.AddDate(0, 0, 1)},
		{"@daily", now.Add(-time.Hour), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)},
		{"manual", now, time.Time{}},
	} {
		p, err := settings{Version: 2, Cadence: test.cadence, Timeout: "PT1M"}.plan(time.UTC)
		if err != nil {
			t.Errorf("%s: %v", test.cadence, err)
			continue
		}
		if got := p.afterRun(test.due, now); !got.Equal(test.want) {
			t.Errorf("%s due at %v: next run at %v, want %v", test.cadence, test.due, got, test.want)
		}
	}
}

// Whatever other versions write, reading it ends, and what is accepted has a
// next run or none.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{
		`{"version":2,"cadence":"PT10M","timeoutAfterDuration":"PT1M"}`, `{"version":2,"cadence":"manual","timeoutAfterDuration":"P1DT2H"}`,
		`{"version":1}`, `{"version":2,"cadence":"* * * * *","initialDelayDuration":"PT5S","timeoutAfterDuration":"PT1M"}`, `[]`, `{"version":2,"cadence":"P","timeoutAfterDuration":""}`,
	} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseSettings(text, time.UTC)
		if err != nil {
			return
		}
		if next := p.afterRun(now, now); next.Before(now) && !next.IsZero() {
			t.Fatalf("%s: next run at %v", text, next)
		}
		if p.interval(now) <= 0 {
			t.Fatalf("%s: interval %v", text, p.interval(now))
		}
	})
}
