package catalogmodulegithuborg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Topics under which webhooks of GitHub arrive; the payload is their body.
const (
	topicInstallation = "github.installation"
	topicMembership   = "github.membership"
	topicOrganization = "github.organization"
	topicTeam         = "github.team"
)

// webhook is what counts of the body of the webhooks.
type webhook struct {
	Action       string
	Organization account
	Installation struct{ Account account }
	// Member is that of github.membership, Membership that of
	// github.organization.
	Member     account
	Membership struct{ User account }
	Team       struct {
		Slug    string
		HTMLURL string `json:"html_url"`
	}
	Changes struct {
		Name struct{ From string }
	}
	Sender account
}

type account struct {
	Login   string
	HTMLURL string `json:"html_url"`
}

// host returns the host that sent the webhook; "" if it does not tell.
func (w *webhook) host() string {
	for _, at := range []string{w.Team.HTMLURL, w.Member.HTMLURL, w.Membership.User.HTMLURL, w.Installation.Account.HTMLURL, w.Sender.HTMLURL} {
		if u, err := url.Parse(at); err == nil && u.Host != "" {
			return u.Host
		}
	}
	return ""
}

// onEvent brings up to date what a webhook is about. What is handed in is
// always what the host has now, not what the webhook says: those may arrive
// late and out of order.
func (p *provider) onEvent(ctx context.Context, e core.Event) error {
	var w webhook
	if err := json.Unmarshal(e.Payload, &w); err != nil {
		return fmt.Errorf("the payload of the event %s is no webhook of GitHub: %w", e.Topic, err)
	}
	if host := w.host(); host != "" && !strings.EqualFold(host, p.host) {
		return nil
	}
	if e.Topic == topicInstallation {
		// An organization comes or goes as a whole. With orgs in the
		// configuration the installation changes what may be read, at most.
		if len(p.orgs) == 0 && (w.Action == "created" || w.Action == "deleted" || w.Action == "suspend" || w.Action == "unsuspend") {
			return p.runSoon(ctx)
		}
		return nil
	}
	s, err := p.source()
	if err != nil {
		return err
	}
	orgs, err := s.organizations(ctx, installationsFor)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(orgs, func(org string) bool { return strings.EqualFold(org, w.Organization.Login) })
	if i < 0 {
		return nil
	}
	c := &update{provider: p, source: s, orgs: orgs}
	switch org := orgs[i]; e.Topic {
	case topicMembership:
		if w.Action != "added" && w.Action != "removed" {
			return nil
		}
		if err := c.team(ctx, org, w.Team.Slug); err != nil {
			return err
		}
		if err := c.user(ctx, w.Member.Login); err != nil {
			return err
		}
	case topicOrganization:
		if w.Action != "member_added" && w.Action != "member_removed" {
			return nil
		}
		if err := c.user(ctx, w.Membership.User.Login); err != nil {
			return err
		}
		c.more = w.Action == "member_removed"
	case topicTeam:
		if w.Action != "created" && w.Action != "edited" && w.Action != "deleted" {
			return nil // the others are about access to repositories
		}
		if err := c.team(ctx, org, w.Team.Slug); err != nil {
			return err
		}
		c.more = w.Action == "deleted" || w.Changes.Name.From != ""
	}
	return c.apply(ctx)
}

// runSoon triggers a full run.
func (p *provider) runSoon(ctx context.Context) error {
	err := p.scheduler.Trigger(ctx, p.taskID())
	if apierr.KindOf(err) == apierr.KindConflict {
		p.log.InfoContext(ctx, "a full run was wanted while one runs; the next one has what this one misses", "provider", p.ProviderName())
		return nil
	}
	return err
}

// update collects what a webhook changes.
type update struct {
	provider *provider
	source   source
	orgs     []string
	added    []catalogcommon.Entity
	removed  []string
	// more says that the webhook changes entities that it does not name, such
	// as the members of a team that is gone.
	more bool
}

func (c *update) apply(ctx context.Context) error {
	if err := c.provider.sink.Load().Delta(ctx, c.added, c.removed); err != nil {
		return err
	}
	if c.more {
		return c.provider.runSoon(ctx)
	}
	return nil
}

// team brings a group up to date.
func (c *update) team(ctx context.Context, org, slug string) error {
	if slug == "" {
		return fmt.Errorf("the webhook about %s names no team", org)
	}
	t, ok, err := c.source.teamBySlug(ctx, org, slug)
	if err != nil {
		return err
	}
	if !ok {
		t = Team{Org: org, Slug: slug, CombinedSlug: org + "/" + slug, Namespace: c.source.namespace(org)}
	}
	e, err := c.provider.group(ctx, t)
	switch {
	case err != nil:
		return err
	case e == nil:
	case ok:
		c.added = append(c.added, e)
	default:
		c.removed = append(c.removed, refOf(e))
	}
	return nil
}

// user brings a user up to date, with its groups in all organizations.
func (c *update) user(ctx context.Context, login string) error {
	if login == "" {
		return errors.New("the webhook names no user")
	}
	var entity catalogcommon.Entity
	in := memberships{}
	for _, org := range c.orgs {
		u, ok, err := c.source.user(ctx, org, login)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if entity == nil {
			if entity, err = c.provider.user(ctx, u); err != nil {
				return err
			}
		}
		err = c.source.teams(ctx, org, login, func(t Team) error {
			e, err := c.provider.group(ctx, t)
			if err == nil && e != nil {
				in.add(e)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if entity != nil {
		in.assign(entity)
		c.added = append(c.added, entity)
		return nil
	}
	gone, err := c.provider.user(ctx, User{Org: c.orgs[0], Login: login})
	if err == nil && gone != nil {
		c.removed = append(c.removed, refOf(gone))
	}
	return err
}
