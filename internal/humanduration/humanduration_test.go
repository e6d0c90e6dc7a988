package humanduration_test

import (
	"testing"
	"time"

	"github.com/flytower/flytower/internal/humanduration"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		in   any
		want time.Duration
		err  string
	}{
		{in: "500ms", want: 500 * time.Millisecond},
		{in: "2 seconds", want: 2 * time.Second},
		{in: "1.5h", want: 90 * time.Minute},
		{in: ".5s", want: 500 * time.Millisecond},
		{in: "90 minutes", want: 90 * time.Minute},
		{in: "1d", want: day},
		{in: "1W", want: 7 * day},
		{in: "1y", want: 365*day + 6*time.Hour},
		{in: " 5 m ", want: 5 * time.Minute},
		{in: "0s", want: 0},
		{in: "PT0S", want: 0},
		{in: "P1DT2H", want: 26 * time.Hour},
		{in: "PT1.5S", want: 1500 * time.Millisecond},
		{in: "P1Y2M3W4D", want: (365 + 60 + 21 + 4) * day},
		{in: map[string]any{"years": 1.0}, want: 365 * day},
		{in: map[string]any{"months": 1.0}, want: 30 * day},
		{in: map[string]any{"seconds": "5", "minutes": 1.0}, want: 65 * time.Second},
		{in: map[string]any{"hours": 1, "milliseconds": 5}, want: time.Hour + 5*time.Millisecond},

		{in: "5", err: `is no duration: "5" has no unit; write for example "5m", "PT5M" or {minutes: 5}`},
		{in: 5.0, err: `is no duration: the number 5 has no unit; write for example "5m", "PT5M" or {minutes: 5}`},
		{in: "-1s", err: "is a negative duration; durations are zero or more"},
		{in: "soon", err: `is no duration: "soon"; write for example "5m", "PT5M" or {minutes: 5}`},
		{in: "5 fortnights", err: `is no duration: "5 fortnights" has the unknown unit "fortnights"; use ms, s, m, h, d, w or y`},
		{in: "", err: `is no duration: ""; write for example "5m", "PT5M" or {minutes: 5}`},
		{in: "P", err: `is no ISO 8601 duration: "P"; write for example PT5M or P1DT12H`},
		{in: "P1DT", err: `is no ISO 8601 duration: "P1DT"; write for example PT5M or P1DT12H`},
		{in: "P1..D", err: `is no ISO 8601 duration: "P1..D"; write for example PT5M or P1DT12H`},
		{in: "400y", err: "is too long for a duration; the limit is about 292 years"},
		{in: map[string]any{}, err: `is an empty duration; write for example "5m", "PT5M" or {minutes: 5}`},
		{in: map[string]any{"seconds": 1.0, "foo": 2.0}, err: `has the unknown part "foo"; a duration has years, months, weeks, days, hours, minutes, seconds, milliseconds`},
		{in: map[string]any{"seconds": "x"}, err: `has a part "seconds" that is no number: "x"`},
		{in: map[string]any{"seconds": true}, err: `has a part "seconds" that is no number`},
		{in: true, err: `is no duration; write for example "5m", "PT5M" or {minutes: 5}`},
	} {
		got, err := humanduration.Parse(tt.in)
		if text := errorText(err); text != tt.err || got != tt.want {
			t.Errorf("Parse(%v) = %v, %q; want %v, %q", tt.in, got, text, tt.want, tt.err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseString(f *testing.F) {
	for _, seed := range []string{"5m", "PT5M", "P1Y2M3W4DT5H6M7.5S", "1.5 hours", "-1s", "1e9d", "P,D"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := humanduration.ParseString(s)
		if d < 0 || err != nil && d != 0 {
			t.Errorf("ParseString(%q) = %v, %v", s, d, err)
		}
	})
}
