// Package isotime writes times as JavaScript does, which every request needs a
// few times over.
//
//	line = isotime.Append(line, time.Now()) // 2026-11-23T03:10:26.042Z
package isotime

import "time"

// Layout is the form for [time.Time.Format], in UTC.
const Layout = "2006-01-02T15:04:05.000Z"

// Append appends t in UTC with milliseconds, as Layout says.
func Append(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, Layout)
	}
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / 1e6
	dst = append(two(two(dst, year/100), year%100), '-')
	dst = append(two(dst, int(month)), '-')
	dst = append(two(dst, day), 'T')
	dst = append(two(dst, hour), ':')
	dst = append(two(dst, minute), ':')
	dst = append(two(dst, second), '.', byte('0'+ms/100))
	return append(two(dst, ms%100), 'Z')
}

func two(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
