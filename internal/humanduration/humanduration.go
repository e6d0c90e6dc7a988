// Package humanduration reads durations the way people write them in
// configuration files: as ISO 8601 ("PT5M"), as numbers with a unit ("5m",
// "1.5 hours"), or as objects of parts ({minutes: 5}).
//
//	d, err := humanduration.Parse("90 minutes") // 1h30m0s
//
// A month counts 30 days and a year 365, in objects and in ISO 8601; a year
// that follows a number ("1y") counts 365.25 days.
package humanduration

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// forms ends the errors of this package with what may be written instead.
const forms = `write for example "5m", "PT5M" or {minutes: 5}`

// parts are the members of a duration object.
var parts = map[string]time.Duration{
	"years": 365 * day, "months": 30 * day, "weeks": week, "days": day,
	"hours": time.Hour, "minutes": time.Minute, "seconds": time.Second, "milliseconds": time.Millisecond,
}

// PartNames lists the members that a duration object may have, largest first.
func PartNames() []string {
	return []string{"years", "months", "weeks", "days", "hours", "minutes", "seconds", "milliseconds"}
}

// Parse returns the duration that v describes: a string for [ParseString] or
// a map[string]any for [ParseParts].
func Parse(v any) (time.Duration, error) {
	switch v := v.(type) {
	case string:
		return ParseString(v)
	case map[string]any:
		return ParseParts(v)
	case float64, int:
		return 0, fmt.Errorf("is no duration: the number %v has no unit; %s", v, forms)
	default:
		return 0, errors.New("is no duration; " + forms)
	}
}

// ParseString reads an ISO 8601 duration or a number with a unit.
func ParseString(s string) (time.Duration, error) {
	text := strings.TrimSpace(s)
	if strings.HasPrefix(text, "P") {
		return parseISO(text)
	}
	return parseUnit(text)
}

// ParseParts reads an object of parts, whose values are numbers or numeric
// strings.
func ParseParts(m map[string]any) (time.Duration, error) {
	if len(m) == 0 {
		return 0, errors.New("is an empty duration; " + forms)
	}
	names := make([]string, 0, len(m))
	for name := range m {
		if _, ok := parts[name]; !ok {
			return 0, fmt.Errorf("has the unknown part %q; a duration has %s", name, strings.Join(PartNames(), ", "))
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var total float64
	for _, name := range names {
		var n float64
		switch v := m[name].(type) {
		case float64:
			n = v
		case int:
			n = float64(v)
		case string:
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				return 0, fmt.Errorf("has a part %q that is no number: %q", name, v)
			}
			n = f
		default:
			return 0, fmt.Errorf("has a part %q that is no number", name)
		}
		total += n * float64(parts[name])
	}
	return finish(total)
}

var isoForm = regexp.MustCompile(`^P(?:([0-9.,]+)Y)?(?:([0-9.,]+)M)?(?:([0-9.,]+)W)?(?:([0-9.,]+)D)?(T(?:([0-9.,]+)H)?(?:([0-9.,]+)M)?(?:([0-9.,]+)S)?)?$`)

var isoUnits = map[int]time.Duration{
	1: 365 * day, 2: 30 * day, 3: week, 4: day, 6: time.Hour, 7: time.Minute, 8: time.Second,
}

func parseISO(s string) (time.Duration, error) {
	bad := fmt.Errorf("is no ISO 8601 duration: %q; write for example PT5M or P1DT12H", s)
	m := isoForm.FindStringSubmatch(s)
	if m == nil || m[5] == "T" {
		return 0, bad
	}
	var total float64
	found := false
	for i := 1; i <= 8; i++ {
		if i == 5 || m[i] == "" {
			continue
		}
		n, err := strconv.ParseFloat(strings.Replace(m[i], ",", ".", 1), 64)
		if err != nil {
			return 0, bad
		}
		total += n * float64(isoUnits[i])
		found = true
	}
	if !found {
		return 0, bad
	}
	return finish(total)
}

var unitForm = regexp.MustCompile(`^(-?(?:[0-9]+)?\.?[0-9]+) *([a-zA-Z]*)$`)

func parseUnit(s string) (time.Duration, error) {
	m := unitForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("is no duration: %q; %s", s, forms)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("is no duration: %q; %s", s, forms)
	}
	var unit time.Duration
	switch strings.ToLower(m[2]) {
	case "":
		return 0, fmt.Errorf("is no duration: %q has no unit; %s", s, forms)
	case "years", "year", "yrs", "yr", "y":
		unit = 365*day + day/4
	case "weeks", "week", "w":
		unit = week
	case "days", "day", "d":
		unit = day
	case "hours", "hour", "hrs", "hr", "h":
		unit = time.Hour
	case "minutes", "minute", "mins", "min", "m":
		unit = time.Minute
	case "seconds", "second", "secs", "sec", "s":
		unit = time.Second
	case "milliseconds", "millisecond", "msecs", "msec", "ms":
		unit = time.Millisecond
	default:
		return 0, fmt.Errorf("is no duration: %q has the unknown unit %q; use ms, s, m, h, d, w or y", s, m[2])
	}
	return finish(n * float64(unit))
}

// finish rounds to the nanosecond and refuses what has no place in a
// configuration.
func finish(f float64) (time.Duration, error) {
	switch {
	case math.IsNaN(f) || f >= math.MaxInt64:
		return 0, errors.New("is too long for a duration; the limit is about 292 years")
	case f < 0:
		return 0, errors.New("is a negative duration; durations are zero or more")
	}
	return time.Duration(math.Round(f)), nil
}
