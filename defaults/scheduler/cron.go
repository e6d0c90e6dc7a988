package scheduler

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// presets are the names for expressions.
var presets = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@hourly":   "0 * * * *",
	"@minutely": "* * * * *",
	"@secondly": "* * * * * *",
	"@weekdays": "0 0 * * 1-5",
	"@weekends": "0 0 * * 0,6",
}

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// parseCron reads an expression of five or six fields, or a preset, for the
// time zone. Where both the day of the month and that of the week are limited,
// either is enough. Days that never come are an error.
func parseCron(expression string, zone *time.Location) (*cron.SpecSchedule, error) {
	text := strings.ToLower(strings.TrimSpace(expression))
	if known, ok := presets[text]; ok {
		text = known
	}
	fields := strings.Fields(text)
	if n := len(fields); n != 5 && n != 6 || strings.Contains(text, "=") {
		return nil, fmt.Errorf("%q is not a cron expression: it needs five or six fields, or a name such as @daily", expression)
	}
	last := len(fields) - 1
	days, err := weekdays(fields[last])
	if err != nil {
		return nil, fmt.Errorf("%q is not a cron expression: %w", expression, err)
	}
	fields[last] = days
	s, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, fmt.Errorf("%q is not a cron expression: %w", expression, err)
	}
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q is not a cron expression", expression)
	}
	spec.Location = zone
	// Eight years have a 29th of February, even around 2100; the parser looks
	// five years ahead.
	reference := time.Date(2024, 1, 1, 0, 0, 0, 0, zone)
	if spec.Next(reference).IsZero() {
		return nil, fmt.Errorf("%q never comes", expression)
	}
	return spec, nil
}

// weekdays turns Sunday as 7, which the parser does not know, into 0.
func weekdays(field string) (string, error) {
	if !strings.Contains(field, "7") && !strings.Contains(field, "sun") {
		return field, nil
	}
	var out []string
	for part := range strings.SplitSeq(field, ",") {
		span, step, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(span, "-")
		switch {
		case !ranged && from == "7":
			out = append(out, strings.Replace(part, "7", "0", 1))
		case ranged && (to == "7" || to == "sun" && from != "sun"):
			list, err := upToSunday(from, step, stepped)
			if err != nil {
				return "", err
			}
			out = append(out, list...)
		default:
			out = append(out, part)
		}
	}
	return strings.Join(out, ","), nil
}

// upToSunday lists the days from a day to the Sunday after it.
func upToSunday(from, step string, stepped bool) ([]string, error) {
	first, ok := map[string]int{"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}[from]
	if !ok {
		var err error
		if first, err = strconv.Atoi(from); err != nil || first < 0 || first > 7 {
			return nil, fmt.Errorf("%q is not a day of the week", from)
		}
	}
	by := 1
	if stepped {
		var err error
		if by, err = strconv.Atoi(step); err != nil || by < 1 {
			return nil, fmt.Errorf("%q is not a step", step)
		}
	}
	var out []string
	for day := first; day <= 7; day += by {
		out = append(out, strconv.Itoa(day%7))
		if by > 7 {
			break
		}
	}
	return out, nil
}
