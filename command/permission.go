package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

type permissionCommand struct {
	Explain explainCommand `cmd:"" help:"Tell why a user may do something, or may not."`
}

type explainCommand struct {
	User       string `arg:"" help:"Who is asked about: user:default/jane, or jane."`
	Permission string `arg:"" help:"The name of a permission: catalog.entity.delete."`
	Resource   string `arg:"" optional:"" help:"What it is about: component:default/web. With --url, conditions are applied to it."`

	Group        []string `placeholder:"REF" help:"Group of which the user is a member; may be repeated. With --url the groups are those of the catalog, unless this is given."`
	Action       string   `placeholder:"ACTION" help:"Action of a permission that nothing installed asks for: create, read, update or delete."`
	ResourceType string   `placeholder:"TYPE" help:"Type of resource of such a permission, such as catalog-entity."`

	URL    string `placeholder:"URL" help:"Ask the backend that runs there, instead of reading the configuration."`
	Token  string `placeholder:"TOKEN" env:"FLYTOWER_TOKEN" help:"Token for that backend: of a user with the permission permission.policy.explain, or of an external caller. Better in the environment: $$FLYTOWER_TOKEN."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
	configFlags
}

// askTimeout is how long a running backend may take.
const askTimeout = 30 * time.Second

// Run implements the command.
func (c *explainCommand) Run(ctx context.Context, a *App) error {
	explain := c.configured
	if c.URL != "" {
		explain = c.running
	}
	e, err := explain(ctx, a)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "%s\n", text)
		return err
	}
	return c.write(a.Stdout, e)
}

// configured explains with the policy of the configuration.
func (c *explainCommand) configured(ctx context.Context, a *App) (e core.PolicyExplanation, err error) {
	b := a.build(c.options(a), pluginFlags{})
	permission, err := c.permission(b)
	if err != nil {
		return e, err
	}
	root, _, err := c.load(ctx, a, b)
	if err != nil {
		return e, err
	}
	q := core.PolicyQuestion{User: c.User, OwnershipEntityRefs: c.Group, Permission: permission}
	for _, annotation := range b.Instance().Annotations(core.PolicyExplainerAnnotation) {
		explain, ok := annotation.Value.(core.PolicyExplainer)
		if !ok {
			continue
		}
		e, ok, err := explain(root, q)
		if e.ResourceRef = c.Resource; ok || err != nil {
			return e, err
		}
	}
	return e, errors.New("the configuration has no policy that can be explained (permission.policy); ask the running backend: --url http://localhost:7007")
}

// permission finds out what the name means.
func (c *explainCommand) permission(b *backend.Backend) (core.Permission, error) {
	if c.Action != "" || c.ResourceType != "" {
		return c.given(), nil
	}
	for _, annotation := range b.Instance().Annotations(core.PermissionsAnnotation) {
		known, _ := annotation.Value.([]core.Permission)
		for _, p := range known {
			if p.Name == c.Permission {
				return p, nil
			}
		}
	}
	return core.Permission{}, fmt.Errorf("nothing that is installed is known to ask for the permission %s; if something does, say what it is like with --action or --resource-type, or ask a running backend with --url", c.Permission)
}

// given is the permission that the flags describe.
func (c *explainCommand) given() core.Permission {
	if c.ResourceType != "" {
		return core.NewResourcePermission(c.Permission, c.Action, c.ResourceType)
	}
	return core.NewPermission(c.Permission, c.Action)
}

// running asks a running backend.
func (c *explainCommand) running(ctx context.Context, _ *App) (e core.PolicyExplanation, err error) {
	target, err := url.Parse(c.URL)
	if err != nil || target.Host == "" {
		return e, fmt.Errorf("--url: %q is no address of a backend; write it like http://localhost:7007", c.URL)
	}
	question := map[string]any{"user": c.User, "permission": c.Permission}
	if c.Action != "" || c.ResourceType != "" {
		question["permission"] = c.given()
	}
	if c.Resource != "" {
		question["resourceRef"] = c.Resource
	}
	if c.Group != nil {
		owns := []string{complete("user", c.User)}
		for _, g := range c.Group {
			owns = append(owns, complete("group", g))
		}
		question["ownershipEntityRefs"] = owns
	}
	body, err := json.Marshal(question)
	if err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.JoinPath("/api/permission/policy/explain").String(), bytes.NewReader(body))
	if err != nil {
		return e, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return e, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return e, c.refused(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&e); err != nil {
		return e, fmt.Errorf("the answer of %s is no explanation: %w", c.URL, err)
	}
	return e, nil
}

// complete returns the whole ref that a short one stands for.
func complete(kind, ref string) string {
	name := ref
	if before, after, ok := strings.Cut(ref, ":"); ok {
		kind, name = before, after
	}
	if !strings.Contains(name, "/") {
		name = "default/" + name
	}
	return strings.ToLower(kind + ":" + name)
}

// refused tells what a backend did not like, and what may help.
func (c *explainCommand) refused(resp *http.Response) error {
	err := apierr.FromResponse(resp)
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.Token == "":
		return fmt.Errorf("%s wants a token: put it in $FLYTOWER_TOKEN", c.URL)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s explains no policy: it has no permission.policy in its configuration, or the plugin permission is not there (%w)", c.URL, err)
	default:
		return fmt.Errorf("%s: %w", c.URL, err)
	}
}

// shownMost bounds the parameters of a condition that are shown, in bytes: a
// user may own things by a thousand groups.
const shownMost = 300

// write tells people.
func (c *explainCommand) write(w io.Writer, e core.PolicyExplanation) error {
	var b strings.Builder
	decision := map[core.AuthorizeResult]string{core.Allowed: "Allowed", core.Denied: "Denied", core.Conditional: "It depends"}[e.Result]
	fmt.Fprintf(&b, "%s: %s.\n\n", decision, c.reason(e))
	row := func(name, text string) { fmt.Fprintf(&b, "%-11s %s\n", name, text) }
	kind := cmp.Or(e.Permission.Attributes.Action, "no action")
	if e.Permission.ResourceType != "" {
		kind += ", of " + e.Permission.ResourceType
	}
	row("permission", e.Permission.Name+" ("+kind+")")
	if e.ResourceRef != "" {
		row("resource", e.ResourceRef)
	}
	row("user", e.User)
	row("owns by", someOf(e.OwnershipEntityRefs))
	row("roles", someOf(e.Roles))
	for _, r := range e.Rules {
		row(map[core.AuthorizeResult]string{core.Allowed: "  allow", core.Denied: "  deny"}[r.Effect], fmt.Sprintf("%s, of role %s", r.Position, r.Role))
		if r.Conditions == nil {
			continue
		}
		holds := ""
		if r.Holds != nil {
			holds = map[bool]string{true: ", which holds", false: ", which does not hold"}[*r.Holds]
		}
		row("", "if "+condition(*r.Conditions)+holds)
	}
	if c.URL == "" && len(c.Group) == 0 {
		b.WriteString("\nThe catalog was not asked for the groups of the user: name them with --group.\n")
	}
	if e.Shadow {
		b.WriteString("\nThe policy is a shadow: it is not followed.\n")
	}
	if e.Broken != "" {
		b.WriteString("\nThis is the last good policy. That of the configuration is broken:\n" + e.Broken + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reason is why, in a sentence.
func (c *explainCommand) reason(e core.PolicyExplanation) string {
	byDefault := "the default allows"
	if e.Default == core.Denied {
		byDefault = "the default denies"
	}
	denies, always := false, false
	for _, r := range e.Rules {
		denies = denies || r.Effect == core.Denied && (r.Conditions == nil || r.Holds != nil && *r.Holds)
		always = always || r.Effect == core.Allowed && r.Conditions == nil
	}
	switch {
	case e.ResourceExists != nil && !*e.ResourceExists:
		return "there is no such resource"
	case e.Result == core.Conditional && e.ResourceRef != "" && c.URL == "":
		return "conditions decide; a running backend, asked with --url, knows whether the resource meets them"
	case e.Result == core.Conditional:
		return "conditions decide, resource by resource"
	case len(e.Roles) == 0 && e.Default != "":
		return "the user has no role, and " + byDefault
	case e.Default != "" && len(e.Rules) == 0:
		return "no rule of the user's roles speaks of it, and " + byDefault
	case e.Default != "":
		return "no rule of the user's roles decides, and " + byDefault
	case e.Result == core.Denied && denies:
		return "a rule denies it"
	case e.Result == core.Denied:
		return "no rule that allows it holds"
	case always:
		return "a rule allows it"
	default:
		return "a rule that allows it holds"
	}
}

func someOf(list []string) string {
	const most = 10
	if len(list) == 0 {
		return "none"
	}
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

// condition is the tree in one line.
func condition(c core.PermissionCriteria) string {
	list := func(name string, of []core.PermissionCriteria) string {
		texts := make([]string, len(of))
		for i := range of {
			texts[i] = condition(of[i])
		}
		return name + "(" + strings.Join(texts, ", ") + ")"
	}
	switch {
	case c.AllOf != nil:
		return list("all of ", c.AllOf)
	case c.AnyOf != nil:
		return list("any of ", c.AnyOf)
	case c.Not != nil:
		return "not " + condition(*c.Not)
	case len(c.Params) == 0:
		return c.Rule
	case len(c.Params) > shownMost:
		return c.Rule + " " + strings.ToValidUTF8(string(c.Params[:shownMost]), "") + "…"
	default:
		return c.Rule + " " + string(c.Params)
	}
}
