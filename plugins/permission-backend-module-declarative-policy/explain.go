package permissionmoduledeclarativepolicy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy/internal/rules"
)

// PermissionExplain covers asking why somebody may or may not do something.
// The answer shows parts of the policy.
var PermissionExplain = core.NewPermission("permission.policy.explain", "read")

// applyPath is the route on which plugins apply conditions to resources.
const applyPath = "/.well-known/backstage/permissions/apply-conditions"

// explainer answers POST /policy/explain.
type explainer struct {
	policy      *policy
	httpAuth    core.HTTPAuthService
	userInfo    core.UserInfoService
	permissions core.PermissionsService
	plugins     core.PluginClientService
	auditor     core.AuditorService
	catalog     catalognode.Client
	own         core.Credentials
}

// question is the body of the request.
type question struct {
	// User is who is asked about; the caller if empty.
	User string `json:"user"`
	// OwnershipEntityRefs are the refs by which that user owns things; as the
	// catalog has them if absent.
	OwnershipEntityRefs []string `json:"ownershipEntityRefs"`
	Permission          named    `json:"permission"`
	// ResourceRef has conditions applied to the resource.
	ResourceRef string `json:"resourceRef"`
}

// named is a permission, or the name of one that a plugin publishes.
type named struct {
	name       string
	permission core.Permission
}

// UnmarshalJSON reads either form.
func (n *named) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte(`"`)) {
		return json.Unmarshal(text, &n.name)
	}
	err := json.Unmarshal(text, &n.permission)
	n.name = n.permission.Name
	return err
}

func (e *explainer) explain(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	who, err := e.httpAuth.Credentials(r, core.Allow{User: true, Service: true})
	if err != nil {
		return err
	}
	results, err := e.permissions.Authorize(ctx, who, core.AuthorizeRequest{Permission: PermissionExplain})
	if err != nil {
		return err
	}
	if results[0] != core.Allowed {
		return apierr.NotAllowed("Unauthorized: permission %s is needed", PermissionExplain.Name)
	}
	var q question
	if err := jsonbody.Require(r, &q, jsonbody.DefaultLimit); err != nil {
		return err
	}
	record := e.auditor.Begin(ctx, core.AuditEvent{ID: "policy-explain", Severity: core.SeverityMedium, Request: r, Meta: map[string]any{"user": q.User, "permission": q.Permission.name}})
	answer, err := e.answer(ctx, who, q)
	if err != nil {
		record.Fail(ctx, err, nil)
		return err
	}
	record.Success(ctx, map[string]any{"user": answer.User, "result": answer.Result})
	apierr.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (e *explainer) answer(ctx context.Context, who core.Credentials, q question) (core.PolicyExplanation, error) {
	permission, err := e.permission(ctx, q.Permission)
	if err != nil {
		return core.PolicyExplanation{}, err
	}
	subject, err := e.subject(ctx, who, q)
	if err != nil {
		return core.PolicyExplanation{}, err
	}
	out, decision := explained(e.policy.set.Load(), permission, subject)
	out.ResourceRef, out.Shadow = q.ResourceRef, e.policy.shadow
	if broken := e.policy.broken.Load(); broken != nil {
		out.Broken = (*broken).Error()
	}
	if decision.Result == core.Conditional && q.ResourceRef != "" {
		err = e.apply(ctx, decision, &out)
	}
	return out, err
}

// explained tells what led to the decision.
func explained(set *rules.Set, p core.Permission, who *rules.Subject) (core.PolicyExplanation, core.Decision) {
	outcome := set.Evaluate(p, who)
	out := core.PolicyExplanation{
		User: who.User, OwnershipEntityRefs: append([]string{}, who.Owns...), Roles: append([]string{}, outcome.Roles...),
		Permission: p, Result: outcome.Decision.Result, Conditions: outcome.Decision.Conditions, Rules: []core.ExplainedRule{},
	}
	if outcome.Defaulted {
		out.Default = set.Default
	}
	for _, m := range outcome.Matches {
		out.Rules = append(out.Rules, core.ExplainedRule{Role: m.Role, Position: m.Rule.Position.String(), Effect: m.Rule.Effect, Conditions: m.Conditions})
	}
	return out, outcome.Decision
}

// ofUser completes the ref of a user.
var ofUser = catalogcommon.RefDefaults{Kind: "user", Namespace: "default"}

// explainConfigured explains with the policy of a configuration.
func explainConfigured(config core.Config, q core.PolicyQuestion) (core.PolicyExplanation, bool, error) {
	if !config.Has(key) {
		return core.PolicyExplanation{}, false, nil
	}
	set, err := rules.Parse(config.Sub(key))
	if err != nil {
		return core.PolicyExplanation{}, true, err
	}
	user, err := catalogcommon.ParseRef(q.User, ofUser)
	if err != nil {
		return core.PolicyExplanation{}, true, fmt.Errorf("user: %w", err)
	}
	who := &rules.Subject{User: user.String(), Owns: []string{user.String()}}
	for _, text := range q.OwnershipEntityRefs {
		ref, err := catalogcommon.ParseRef(text, catalogcommon.RefDefaults{Kind: "group", Namespace: "default"})
		if err != nil {
			return core.PolicyExplanation{}, true, fmt.Errorf("group: %w", err)
		}
		who.Owns = append(who.Owns, ref.String())
	}
	out, _ := explained(set, q.Permission, who)
	out.Shadow, err = config.BoolOr(key+".shadow", false)
	return out, true, err
}

// checkConfigured finds the mistakes in the policy of a configuration.
func checkConfigured(config core.Config) error {
	if !config.Has(key) {
		return nil
	}
	_, err := rules.Parse(config.Sub(key))
	return err
}

// permission finds what the name means.
func (e *explainer) permission(ctx context.Context, n named) (core.Permission, error) {
	if n.name == "" {
		return core.Permission{}, apierr.Input("permission is missing: give the name of a permission, or a permission with type, name, attributes and resourceType")
	}
	if n.permission.Name != "" {
		return n.permission, nil
	}
	plugin, _, _ := strings.Cut(n.name, ".")
	published, err := metadataOf(ctx, e.plugins, plugin, e.own)
	if err != nil {
		return core.Permission{}, apierr.Input("it is not known what permission %s is: the plugin %s does not tell; give the whole permission, with type, name, attributes and resourceType", n.name, plugin)
	}
	for _, p := range published.Permissions {
		if p.Name == n.name {
			return p, nil
		}
	}
	return core.Permission{}, apierr.Input("the plugin %s publishes no permission %s; if there is one, give the whole permission, with type, name, attributes and resourceType", plugin, n.name)
}

// subject finds out by what the user owns things.
func (e *explainer) subject(ctx context.Context, who core.Credentials, q question) (*rules.Subject, error) {
	switch {
	case q.User == "" && !who.IsUser():
		return nil, apierr.Input("user is missing: name the user to explain for")
	case q.User == "":
		info, err := e.userInfo.UserInfo(ctx, who)
		if err != nil {
			return nil, err
		}
		return &rules.Subject{User: info.UserEntityRef, Owns: info.OwnershipEntityRefs}, nil
	}
	ref, err := catalogcommon.ParseRef(q.User, ofUser)
	if err != nil {
		return nil, apierr.Input("user: %s", err.Error())
	}
	s := &rules.Subject{User: ref.String(), Owns: q.OwnershipEntityRefs}
	if s.Owns != nil {
		return s, nil
	}
	s.Owns = []string{s.User}
	entity, err := e.catalog.EntityByRef(ctx, s.User, e.own)
	if err != nil {
		return nil, apierr.Forward(err, fmt.Sprintf("looking up the groups of %s; name them in ownershipEntityRefs", s.User))
	}
	for _, r := range entity.Relations() {
		if r.Type == catalogcommon.RelationMemberOf && strings.HasPrefix(r.TargetRef, "group:") {
			s.Owns = append(s.Owns, r.TargetRef)
		}
	}
	return s, nil
}

// apply finds out what the conditions are for the resource that was named.
func (e *explainer) apply(ctx context.Context, d core.Decision, out *core.PolicyExplanation) error {
	type item struct {
		ID           string                   `json:"id"`
		ResourceRef  string                   `json:"resourceRef"`
		ResourceType string                   `json:"resourceType"`
		Conditions   *core.PermissionCriteria `json:"conditions"`
	}
	// What is not there meets neither the conditions nor their opposite.
	opposite := &core.PermissionCriteria{Not: d.Conditions}
	items := []item{{"decision", out.ResourceRef, d.ResourceType, d.Conditions}, {"opposite", out.ResourceRef, d.ResourceType, opposite}}
	var of []int
	for i, r := range out.Rules {
		if r.Conditions != nil {
			items = append(items, item{fmt.Sprint("rule ", i), out.ResourceRef, d.ResourceType, r.Conditions})
			of = append(of, i)
		}
	}
	var answer struct {
		Items []struct {
			Result core.AuthorizeResult `json:"result"`
		} `json:"items"`
	}
	err := e.plugins.Call(ctx, core.PluginRequest{Plugin: d.PluginID, Method: http.MethodPost, Path: applyPath, JSON: map[string]any{"items": items}, As: e.own}, &answer)
	if err == nil && len(answer.Items) != len(items) {
		err = fmt.Errorf("it answered with %d results for %d items", len(answer.Items), len(items))
	}
	if err != nil {
		return apierr.Forward(err, "the plugin "+d.PluginID+" did not apply the conditions")
	}
	out.Result = answer.Items[0].Result
	exists := out.Result == core.Allowed || answer.Items[1].Result == core.Allowed
	if out.ResourceExists = &exists; !exists {
		return nil
	}
	for n, i := range of {
		holds := answer.Items[n+2].Result == core.Allowed
		out.Rules[i].Holds = &holds
	}
	return nil
}
