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
	"github.com/flytower/flytower/internal/configread"
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

func readProvider(c core.Config, id string) (settings, error) {
	r := configread.New(c)
	s := settings{
		id:           id,
		key:          c.Path(""),
		host:         strings.ToLower(r.String("host", "github.com")),
		organization: r.String("organization", ""),
		path:         strings.TrimPrefix(r.String("catalogPath", "/catalog-info.yaml"), "/"),
		validate:     r.Bool("validateLocationsExist", false),
		pageSize:     r.IntBetween("pageSizes.repositories", 25, 1, 100),
		schedule:     r.Schedule("schedule", core.Schedule{Frequency: core.Frequency{Every: 3 * time.Hour}, Timeout: time.Hour}),
	}
	app, err := r.IntOr("app", 0)
	r.Keep(err)
	s.app = int64(app)
	if s.organization == "" && s.app == 0 && err == nil {
		r.Wrong("organization", "is missing", "name the organization or user to look at, or the app whose installations to look at")
	}
	s.wildcard = strings.ContainsAny(s.path, "*?[{")
	switch {
	case s.path == "":
		r.Wrong("catalogPath", "names no file", "write a path such as /catalog-info.yaml")
	case s.wildcard && !doublestar.ValidatePattern(s.path):
		r.Wrong("catalogPath", "is not a valid pattern", "use * for a part of a name and ** for any folders, as in /services/**/catalog-info.yaml")
	case s.wildcard && s.validate:
		r.Wrong("validateLocationsExist", "cannot be true with wildcards in catalogPath", "remove one of them; absent files are no error")
	}
	s.maxRemoved = r.Percentage("rejectRemovalsAbovePercentage", ingest.DefaultMaxRemovedPercentage)
	s.filters = readFilters(r)
	return s, r.Err()
}

func readFilters(r *configread.Reader) filters {
	f := filters{
		branch:         r.String("filters.branch", ""),
		repositoryText: r.String("filters.repository", ""),
		forks:          r.Bool("filters.allowForks", true),
		archived:       r.Bool("filters.allowArchived", false),
		include:        r.Strings("filters.topic.include"),
		exclude:        r.Strings("filters.topic.exclude"),
		visibility:     r.Strings("filters.visibility"),
	}
	if strings.Contains(f.branch, "/") {
		r.Wrong("filters.branch", "must not have slashes", "the branch is a part of URLs such as …/blob/<branch>/<file>, which could not be read then")
	}
	if f.repositoryText != "" {
		var err error
		if f.repository, err = regexp.Compile("^(?:" + f.repositoryText + ")$"); err != nil {
			r.Wrong("filters.repository", "is not a regular expression: "+err.Error(), "the syntax is RE2, which has no look-around and no back-references")
		}
	}
	for i, v := range f.visibility {
		if f.visibility[i] = strings.ToLower(v); !slices.Contains([]string{"private", "internal", "public"}, f.visibility[i]) {
			r.Wrong("filters.visibility", fmt.Sprintf("has the unknown value %q", v), "use private, internal and public")
		}
	}
	return f
}
