package catalogmodulegithuborg

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configread"
	"github.com/flytower/flytower/internal/ingest"
)

const configKey = "catalog.providers.githubOrg"

// settings are those of one provider.
type settings struct {
	id               string
	key              string // where they stand
	url              string // of the host, without a slash at the end
	host             string
	orgs             []string
	excludeSuspended bool
	verifiedEmails   bool
	maxRemoved       float64
	schedule         core.Schedule

	teamsPage, teamMembersPage, membersPage int
}

// providerName is what the entities are kept under.
func (s settings) providerName() string { return "GithubMultiOrgEntityProvider:" + s.id }

// namespace returns the namespace of the groups of an organization.
func (s settings) namespace(org string) string {
	if len(s.orgs) == 1 {
		return "default"
	}
	return strings.ToLower(org)
}

func (s settings) fingerprint() string {
	return ingest.Fingerprint(s.url, strings.Join(s.orgs, ","), fmt.Sprint(s.excludeSuspended))
}

// readSettings reads all providers and reports everything that is wrong.
func readSettings(root core.Config) ([]settings, error) {
	v, ok := root.Value(configKey)
	if !ok {
		return nil, nil
	}
	levels := []core.Config{root.Sub(configKey)}
	if _, ok := v.([]any); ok {
		var err error
		if levels, err = root.List(configKey); err != nil {
			return nil, err
		}
	}
	var (
		all   []settings
		errs  []error
		taken = map[string]bool{}
	)
	for _, c := range levels {
		s, err := readProvider(c)
		if err == nil && taken[s.id] {
			err = &core.ConfigError{Key: c.Path("id"), Position: c.Position("id"), Problem: fmt.Sprintf("is %q as in another provider", s.id), Remedy: "give each its own"}
		}
		taken[s.id] = true
		all, errs = append(all, s), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

func readProvider(c core.Config) (settings, error) {
	r := configread.New(c)
	s := settings{
		key:              c.Path(""),
		id:               r.String("id", ""),
		url:              strings.TrimRight(r.String("githubUrl", ""), "/"),
		orgs:             r.Strings("orgs"),
		excludeSuspended: r.Bool("excludeSuspendedUsers", false),
		verifiedEmails:   r.Bool("defaultUserTransformer.useVerifiedEmails", false),
		maxRemoved:       r.Percentage("rejectRemovalsAbovePercentage", ingest.DefaultMaxRemovedPercentage),
		teamsPage:        r.IntBetween("pageSizes.teams", 25, 1, 100),
		teamMembersPage:  r.IntBetween("pageSizes.teamMembers", 50, 1, 100),
		membersPage:      r.IntBetween("pageSizes.organizationMembers", 50, 1, 100),
		schedule:         r.Schedule("schedule", core.Schedule{Frequency: core.Frequency{Every: 3 * time.Hour}, Timeout: time.Hour}),
	}
	if s.id == "" {
		r.Wrong("id", "is missing", "give the provider a name of your choice")
	}
	u, err := url.Parse(s.url)
	switch {
	case s.url == "":
		r.Wrong("githubUrl", "is missing", "write the address of the host, such as https://github.com")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		r.Wrong("githubUrl", "is not the address of a host", "write it like https://github.com, and name organizations below orgs")
	default:
		s.host = strings.ToLower(u.Host)
	}
	return s, r.Err()
}
