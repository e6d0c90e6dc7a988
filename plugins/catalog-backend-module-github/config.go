package catalogmodulegithub

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/ingest"
)

const configKey = "catalog.providers.github"

// settings are those of one provider.
type settings struct {
	id           string
	key          string // where they stand
	host         string
	organization string
	app          int64
	path         string // without a slash in front
	wildcard     bool
	validate     bool
	maxRemoved   float64
	pageSize     int
	schedule     core.Schedule
	filters      filters
}

// providerName is what the entities are kept under.
func (s settings) providerName() string { return "github-provider:" + s.id }

// fingerprint changes with whatever changes the list of locations.
func (s settings) fingerprint() string {
	f := s.filters
	return ingest.Fingerprint(s.host, s.organization, fmt.Sprint(s.app), s.path, fmt.Sprint(s.validate), f.repositoryText, f.branch,
		fmt.Sprint(f.forks, f.archived), strings.Join(f.include, ","), strings.Join(f.exclude, ","), strings.Join(f.visibility, ","))
}

// readSettings reads all providers and reports everything that is wrong.
func readSettings(root core.Config) ([]settings, error) {
	c := root.Sub(configKey)
	if !root.Has(configKey) {
		return nil, nil
	}
	if c.Has("organization") || c.Has("app") {
		s, err := readProvider(c, "default")
		if err != nil {
			return nil, err
		}
		return []settings{s}, nil
	}
	var (
		all  []settings
		errs []error
	)
	for _, id := range c.Keys("") {
		s, err := readProvider(c.Sub(id), id)
		all, errs = append(all, s), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// reader reads values and keeps what is wrong with them.
type reader struct {
	core.Config
	errs []error
}

func (r *reader) keep(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *reader) wrong(key, problem, remedy string) {
	at := r.Position(key)
	if at == (core.Position{}) {
		at = r.Position("")
	}
	r.keep(&core.ConfigError{Key: r.Path(key), Position: at, Problem: problem, Remedy: remedy})
}

func (r *reader) text(key, absent string) string {
	s, err := r.StringOr(key, absent)
	r.keep(err)
	return s
}

func (r *reader) flag(key string, absent bool) bool {
	b, err := r.BoolOr(key, absent)
	r.keep(err)
	return b
}

func (r *reader) list(key string) []string {
	l, err := r.Strings(key)
	r.keep(err)
	return l
}

func (r *reader) between(key string, absent, least, most int) int {
	n, err := r.IntOr(key, absent)
	r.keep(err)
	if err == nil && (n < least || n > most) {
		r.wrong(key, fmt.Sprintf("must be from %d to %d, found %d", least, most, n), "")
	}
	return n
}

func readProvider(c core.Config, id string) (settings, error) {
	r := &reader{Config: c}
	s := settings{
		id:           id,
		key:          c.Path(""),
		host:         strings.ToLower(r.text("host", "github.com")),
		organization: r.text("organization", ""),
		path:         strings.TrimPrefix(r.text("catalogPath", "/catalog-info.yaml"), "/"),
		validate:     r.flag("validateLocationsExist", false),
		pageSize:     r.between("pageSizes.repositories", 25, 1, 100),
		schedule:     core.Schedule{Frequency: core.Frequency{Every: 3 * time.Hour}, Timeout: time.Hour},
	}
	app, err := r.IntOr("app", 0)
	r.keep(err)
	s.app = int64(app)
	if s.organization == "" && s.app == 0 && err == nil {
		r.wrong("organization", "is missing", "name the organization or user to look at, or the app whose installations to look at")
	}
	s.wildcard = strings.ContainsAny(s.path, "*?[{")
	switch {
	case s.path == "":
		r.wrong("catalogPath", "names no file", "write a path such as /catalog-info.yaml")
	case s.wildcard && !doublestar.ValidatePattern(s.path):
		r.wrong("catalogPath", "is not a valid pattern", "use * for a part of a name and ** for any folders, as in /services/**/catalog-info.yaml")
	case s.wildcard && s.validate:
		r.wrong("validateLocationsExist", "cannot be true with wildcards in catalogPath", "remove one of them; absent files are no error")
	}
	s.maxRemoved, err = r.NumberOr("rejectRemovalsAbovePercentage", ingest.DefaultMaxRemovedPercentage)
	r.keep(err)
	if s.maxRemoved < 0 || s.maxRemoved > 100 {
		r.wrong("rejectRemovalsAbovePercentage", fmt.Sprintf("must be from 0 to 100, found %g", s.maxRemoved), "")
	}
	s.filters = readFilters(r)
	if r.Has("schedule") {
		s.schedule, err = core.ScheduleFromConfig(r.Config, "schedule")
		r.keep(err)
	}
	return s, errors.Join(r.errs...)
}

func readFilters(r *reader) filters {
	f := filters{
		branch:         r.text("filters.branch", ""),
		repositoryText: r.text("filters.repository", ""),
		forks:          r.flag("filters.allowForks", true),
		archived:       r.flag("filters.allowArchived", false),
		include:        r.list("filters.topic.include"),
		exclude:        r.list("filters.topic.exclude"),
		visibility:     r.list("filters.visibility"),
	}
	if strings.Contains(f.branch, "/") {
		r.wrong("filters.branch", "must not have slashes", "the branch is a part of URLs such as …/blob/<branch>/<file>, which could not be read then")
	}
	if f.repositoryText != "" {
		var err error
		if f.repository, err = regexp.Compile("^(?:" + f.repositoryText + ")$"); err != nil {
			r.wrong("filters.repository", "is not a regular expression: "+err.Error(), "the syntax is RE2, which has no look-around and no back-references")
		}
	}
	for i, v := range f.visibility {
		if f.visibility[i] = strings.ToLower(v); !slices.Contains([]string{"private", "internal", "public"}, f.visibility[i]) {
			r.wrong("filters.visibility", fmt.Sprintf("has the unknown value %q", v), "use private, internal and public")
		}
	}
	return f
}
