package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCron(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		expression, from string
		zone             *time.Location
		want             []string
	}{
		{"*/15 * * * *", "2026-11-22 10:07:30", time.UTC, []string{"2026-11-22 10:15:00", "2026-11-22 10:30:00"}},
		{"30 5 4 * * *", "2026-11-22 10:00:00", time.UTC, []string{"2026-11-23 04:05:30"}},
		{"@secondly", "2026-11-22 10:00:00", time.UTC, []string{"2026-11-22 10:00:01", "2026-11-22 10:00:02"}},
		{"@minutely", "2026-11-22 10:00:30", time.UTC, []string{"2026-11-22 10:01:00"}},
		{"@hourly", "2026-11-22 10:00:30", time.UTC, []string{"2026-11-22 11:00:00"}},
		{"@DAILY", "2026-11-22 10:00:30", time.UTC, []string{"2026-11-23 00:00:00"}},
		{"@weekly", "2026-11-22 10:00:30", time.UTC, []string{"2026-11-29 00:00:00"}},
		{"@monthly", "2026-11-22 10:00:30", time.UTC, []string{"2026-12-01 00:00:00"}},
		{"@yearly", "2026-11-22 10:00:30", time.UTC, []string{"2027-01-01 00:00:00"}},
		{"@weekdays", "2026-11-20 10:00:00", time.UTC, []string{"2026-11-23 00:00:00", "2026-11-24 00:00:00"}},
		{"@weekends", "2026-11-18 10:00:00", time.UTC, []string{"2026-11-21 00:00:00", "2026-11-22 00:00:00", "2026-11-28 00:00:00"}},
		{"0 0 13 * 5", "2026-11-01 00:00:00", time.UTC, []string{"2026-11-06 00:00:00", "2026-11-13 00:00:00", "2026-11-20 00:00:00"}},
		{"0 0 * jan-mar 7", "2026-11-22 00:00:00", time.UTC, []string{"2027-01-03 00:00:00"}},
		{"0 0 * * fri-7", "2026-11-22 10:00:00", time.UTC, []string{"2026-11-27 00:00:00", "2026-11-28 00:00:00", "2026-11-29 00:00:00", "2026-12-04 00:00:00"}},
		{"0 0 * * SAT-SUN", "2026-11-22 10:00:00", time.UTC, []string{"2026-11-28 00:00:00", "2026-11-29 00:00:00"}},
		{"0 0 29 2 *", "2026-11-22 10:00:00", time.UTC, []string{"2028-02-29 00:00:00"}},
		{"0 12 * * *", "2026-11-22 10:00:00", berlin, []string{"2026-11-22 11:00:00"}},
		{"0 12 * * *", "2026-06-22 10:30:00", berlin, []string{"2026-06-23 10:00:00"}},
	} {
		s, err := parseCron(test.expression, test.zone)
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		at, err := time.Parse(time.DateTime, test.from)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			at = s.Next(at)
			if got := at.UTC().Format(time.DateTime); got != want {
				t.Errorf("%s: %s, want %s", test.expression, got, want)
			}
		}
	}
	for _, bad := range []string{"", "* * * *", "* * * * * * *", "60 * * * *", "* * * * 8", "0 0 31 2 *", "0 0 30 feb *", "@every 5m", "TZ=UTC * * * * *", "@never", "* * * * 6-5", "a * * * *", "* * * * 1-7/0"} {
		if _, err := parseCron(bad, time.UTC); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// field is one field of an expression, and which values it names.
type field struct {
	text    string
	matches map[int]bool
	all     bool
}

func drawField(t *rapid.T, name string, low, high int) field {
	f := field{matches: map[int]bool{}}
	if rapid.IntRange(0, 2).Draw(t, name+" kind") == 0 {
		for v := low; v <= high; v++ {
			f.matches[v] = true
		}
		f.text, f.all = "*", true
		return f
	}
	var parts []string
	for range rapid.IntRange(1, 3).Draw(t, name+" parts") {
		from := rapid.IntRange(low, high).Draw(t, name+" from")
		to := rapid.IntRange(from, high).Draw(t, name+" to")
		step := rapid.IntRange(1, 5).Draw(t, name+" step")
		switch {
		case from == to:
			step = 1
			parts = append(parts, fmt.Sprint(from))
		case step == 1:
			parts = append(parts, fmt.Sprintf("%d-%d", from, to))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d/%d", from, to, step))
		}
		for v := from; v <= to; v += step {
			f.matches[v] = true
		}
	}
	f.text = strings.Join(parts, ",")
	return f
}

// The next time is the first minute after the given one that all fields name.
func TestCronAgreesWithTryingEveryMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		minute, hour := drawField(t, "minute", 0, 59), drawField(t, "hour", 0, 23)
		day, month, weekday := drawField(t, "day", 1, 31), drawField(t, "month", 1, 12), drawField(t, "weekday", 0, 7)
		if weekday.matches[7] {
			weekday.matches[0] = true
		}
		expression := strings.Join([]string{minute.text, hour.text, day.text, month.text, weekday.text}, " ")
		s, err := parseCron(expression, time.UTC)
		if err != nil {
			if strings.Contains(err.Error(), "never comes") {
				return
			}
			t.Fatalf("%s: %v", expression, err)
		}
		from := time.Unix(rapid.Int64Range(1.7e9, 1.9e9).Draw(t, "from"), 0).UTC()
		suits := func(at time.Time) bool {
			d, w := day.matches[at.Day()], weekday.matches[int(at.Weekday())]
			onDay := d && w
			if !day.all && !weekday.all {
				onDay = d || w
			}
			return minute.matches[at.Minute()] && hour.matches[at.Hour()] && month.matches[int(at.Month())] && onDay
		}
		at := from.Truncate(time.Minute).Add(time.Minute)
		for end := at.AddDate(0, 2, 0); at.Before(end) && !suits(at); {
			at = at.Add(time.Minute)
		}
		got := s.Next(from)
		if suits(at) && !got.Equal(at) || !suits(at) && got.Before(at) {
			t.Fatalf("%s after %v: %v, want %v", expression, from, got, at)
		}
		if got != got.Truncate(time.Minute) || !suits(got) {
			t.Fatalf("%s after %v: %v does not suit", expression, from, got)
		}
	})
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "1,2-5/2 0 1 jan 7", "@daily", "0 0 * * fri-sun/2", "*/7 * * * * ?", "* * * * 7-7", "* * * * sun-7"} {
		f.Add(s)
	}
	from := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, expression string) {
		s, err := parseCron(expression, time.UTC)
		if err != nil {
			return
		}
		if next := s.Next(from); !next.IsZero() && !next.After(from) {
			t.Fatalf("%q: %v is not after %v", expression, next, from)
		}
	})
}
