package githubapp

import (
	"context"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
)

// Installation is a place where a GitHub App is installed.
type Installation struct {
	AppID, ID int64
	// Owner is the login of the account.
	Owner string
	// OwnerType is "Organization" or "User"; empty where the host does not
	// tell.
	OwnerType string
}

// Installations returns the installations of the apps, or of one app if appID
// is not 0, in the order of the configuration and of the host. Suspended ones,
// and those of owners that are not allowed, are left out. An app that is not
// configured is a not-found error. What was read within maxAge is not read
// again.
func (s *Source) Installations(ctx context.Context, appID int64, maxAge time.Duration) ([]Installation, error) {
	var out []Installation
	known := appID == 0
	for _, a := range s.apps {
		if appID != 0 && a.config.AppID != appID {
			continue
		}
		known = true
		list, err := a.list(ctx, maxAge)
		if err != nil {
			return nil, err
		}
		for _, in := range list {
			if in.SuspendedAt == "" && a.allows(in) {
				out = append(out, Installation{AppID: a.config.AppID, ID: in.ID, Owner: in.Account.Login, OwnerType: in.Account.Type})
			}
		}
	}
	if !known {
		return nil, apierr.NotFound("GitHub App %d is not configured; add it below integrations.github", appID)
	}
	return out, nil
}

// IsApp reports whether the credential is that of an installation of a GitHub
// App, which may read less than the token of a person.
func (c Credential) IsApp() bool { return strings.HasPrefix(c.ID, "app-") }
