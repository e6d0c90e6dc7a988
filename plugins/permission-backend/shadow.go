package permissionbackend

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// shadow is a policy that is asked, and never followed.
type shadow struct {
	name   string
	policy permissionnode.Policy
}

// shadows asks the shadow policies and logs where they differ from what
// counts: each difference once an hour.
type shadows struct {
	list []shadow
	log  *slog.Logger
	now  func() time.Time

	mu     sync.Mutex
	since  time.Time
	logged map[difference]struct{}
}

type difference struct {
	shadow, user, permission string
	is, would                string
}

const (
	repeatAfter = time.Hour
	loggedMost  = 10_000
)

func newShadows(list []shadow, log *slog.Logger, now func() time.Time) *shadows {
	return &shadows{list: list, log: log, now: now}
}

func (s *shadows) compare(ctx context.Context, guard guard, q permissionnode.Query, user *permissionnode.User, is core.Decision) {
	for _, one := range s.list {
		var would core.Decision
		err := guard(ctx, "shadow policy", func(ctx context.Context) (err error) {
			if would, err = one.policy.Decide(ctx, q, user); err == nil {
				would, err = checked(would, q.Permission)
			}
			return err
		})
		d := difference{shadow: one.name, permission: q.Permission.Name, is: text(is), would: text(would)}
		if user != nil {
			d.user = user.Info.UserEntityRef
		}
		if err != nil {
			d.would = "an error: " + err.Error()
		}
		if d.is != d.would && s.first(d) {
			s.log.InfoContext(ctx, "a shadow policy differs from the policy", "shadow", d.shadow, "user", d.user, "permission", d.permission,
				"decision", d.is, "shadowDecision", d.would)
		}
	}
}

// first reports whether the difference was not logged lately.
func (s *shadows) first(d difference) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.logged == nil || now.Sub(s.since) > repeatAfter || len(s.logged) >= loggedMost {
		s.since, s.logged = now, map[difference]struct{}{}
	}
	if _, again := s.logged[d]; again {
		return false
	}
	s.logged[d] = struct{}{}
	return true
}

// text is a decision in a form that can be compared.
func text(d core.Decision) string {
	if d.Conditions == nil {
		return string(d.Result)
	}
	conditions, err := json.Marshal(d.Conditions)
	if err != nil {
		return string(d.Result) + " with conditions that cannot be JSON"
	}
	return string(d.Result) + " " + d.PluginID + " " + d.ResourceType + " " + string(conditions)
}
