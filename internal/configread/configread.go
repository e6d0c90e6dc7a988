// Package configread reads the settings of a part of the configuration and
// collects everything that is wrong with them, so that an operator sees all
// mistakes at once.
//
//	r := configread.New(config.Sub("catalog.providers.github.acme"))
//	s := settings{branch: r.String("filters.branch", ""), size: r.IntBetween("pageSize", 25, 1, 100)}
//	if strings.Contains(s.branch, "/") {
//		r.Wrong("filters.branch", "must not have slashes", "name a branch without")
//	}
//	return s, r.Err()
package configread

import (
	"errors"
	"fmt"

	"github.com/flytower/flytower/core"
)

// Reader reads values and keeps what is wrong with them.
type Reader struct {
	core.Config
	errs []error
}

// New returns a reader of one level.
func New(c core.Config) *Reader { return &Reader{Config: c} }

// Err returns everything that was wrong.
func (r *Reader) Err() error { return errors.Join(r.errs...) }

// Keep notes an error, if it is one.
func (r *Reader) Keep(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// Wrong notes that the value at key is wrong, or missing.
func (r *Reader) Wrong(key, problem, remedy string) {
	at := r.Position(key)
	if at == (core.Position{}) {
		at = r.Position("")
	}
	r.Keep(&core.ConfigError{Key: r.Path(key), Position: at, Problem: problem, Remedy: remedy})
}

// String reads a string.
func (r *Reader) String(key, absent string) string {
	s, err := r.StringOr(key, absent)
	r.Keep(err)
	return s
}

// Bool reads a boolean.
func (r *Reader) Bool(key string, absent bool) bool {
	b, err := r.BoolOr(key, absent)
	r.Keep(err)
	return b
}

// Strings reads an array of strings.
func (r *Reader) Strings(key string) []string {
	l, err := r.Config.Strings(key)
	r.Keep(err)
	return l
}

// IntBetween reads a whole number and checks its bounds.
func (r *Reader) IntBetween(key string, absent, least, most int) int {
	n, err := r.IntOr(key, absent)
	r.Keep(err)
	if err == nil && (n < least || n > most) {
		r.Wrong(key, fmt.Sprintf("must be from %d to %d, found %d", least, most, n), "")
	}
	return n
}

// Percentage reads a number from 0 to 100.
func (r *Reader) Percentage(key string, absent float64) float64 {
	n, err := r.NumberOr(key, absent)
	r.Keep(err)
	if err == nil && !(n >= 0 && n <= 100) {
		r.Wrong(key, fmt.Sprintf("must be from 0 to 100, found %g", n), "")
	}
	return n
}

// Schedule reads the schedule of a task.
func (r *Reader) Schedule(key string, absent core.Schedule) core.Schedule {
	if !r.Has(key) {
		return absent
	}
	s, err := core.ScheduleFromConfig(r.Config, key)
	r.Keep(err)
	return s
}
