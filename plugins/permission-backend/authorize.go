package permissionbackend

import (
	"context"
	"net/http"
	"strconv"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// handler answers POST /authorize.
type handler struct {
	measures  measures
	httpAuth  core.HTTPAuthService
	userInfo  core.UserInfoService
	auditor   core.AuditorService
	bodyLimit int64
	decider   *decider
	applier   *applier
}

func (h *handler) authorize(w http.ResponseWriter, r *http.Request) error {
	who, err := h.httpAuth.Credentials(r, core.Allow{User: true, None: true})
	if err != nil {
		return err
	}
	var body authorizeRequest
	if err := jsonbody.Decode(r, &body, h.bodyLimit); err != nil {
		return err
	}
	items, err := body.items()
	if err != nil {
		return err
	}
	if who.Principal.Actor == "" {
		// Conditions are for plugins: they tell what the policy looks at.
		for _, i := range items {
			if i.permission.Type == typeResource && !i.refs.given() {
				return apierr.Input("Resource permissions require a resourceRef to be set. Direct user requests without a resourceRef are not allowed.")
			}
		}
	}
	answer, err := h.audited(r.Context(), who, items, r)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"items": answer})
	return nil
}

// audited answers, and records what was decided. r is nil for plugins of this
// process.
func (h *handler) audited(ctx context.Context, who core.Credentials, items []item, r *http.Request) ([]answerItem, error) {
	e := core.AuditEvent{ID: "authorize", Severity: core.SeverityLow, Request: r}
	if r == nil {
		e.Meta = map[string]any{"user": who.Principal.UserEntityRef, "through": who.Principal.Actor}
	}
	record := h.auditor.Begin(ctx, e)
	answer, err := h.answer(ctx, who, items)
	if err != nil {
		record.Fail(ctx, err, nil)
		return nil, err
	}
	record.Success(ctx, summary(items, answer))
	return answer, nil
}

// DecideFor implements [core.PermissionDecider] for the plugins of this
// process.
func (h *handler) DecideFor(ctx context.Context, user core.Credentials, requests []core.AuthorizeRequest) ([]core.Decision, error) {
	items := make([]item, len(requests))
	for i, r := range requests {
		items[i] = item{id: strconv.Itoa(i), permission: r.Permission}
		if r.ResourceRef != "" && r.Permission.ResourceType != "" {
			items[i].refs = refs{list: []string{r.ResourceRef}, present: true}
		}
		// A permission is one on resources if it has a type of them.
		if items[i].permission.Type = typeBasic; r.Permission.ResourceType != "" {
			items[i].permission.Type = typeResource
		}
	}
	answer, err := h.audited(ctx, user, items, nil)
	if err != nil {
		return nil, err
	}
	decisions := make([]core.Decision, len(answer))
	for i, a := range answer {
		result, _ := a.Result.(core.AuthorizeResult) // no item has a list of refs
		decisions[i] = core.Decision{Result: result, PluginID: a.PluginID, ResourceType: a.ResourceType, Conditions: a.Conditions}
	}
	return decisions, nil
}

func (h *handler) answer(ctx context.Context, who core.Credentials, items []item) ([]answerItem, error) {
	defer h.measures.request(ctx, h.measures.now())
	user, err := h.user(ctx, who)
	if err != nil {
		return nil, err
	}
	decisions, err := h.decider.decide(ctx, user, items)
	if err != nil {
		return nil, err
	}
	answer := make([]answerItem, len(items))
	byPlugin := map[string][]applyItem{}
	for n, i := range items {
		d := decisions[i.permission]
		answer[n] = answerItem{ID: i.id, Result: d.Result}
		switch {
		case d.Result != core.Conditional:
		case i.refs.given():
			byPlugin[d.PluginID] = append(byPlugin[d.PluginID], applyItem{
				ID: i.id, ResourceRef: i.refs, Result: d.Result, PluginID: d.PluginID, ResourceType: d.ResourceType, Conditions: d.Conditions, index: n,
			})
		default:
			answer[n].PluginID, answer[n].ResourceType, answer[n].Conditions = d.PluginID, d.ResourceType, d.Conditions
		}
	}
	if len(byPlugin) > 0 {
		if err := h.applier.apply(ctx, who, byPlugin, answer); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// user returns who asks, nil for a caller without credentials.
func (h *handler) user(ctx context.Context, who core.Credentials) (*permissionnode.User, error) {
	if !who.IsUser() {
		return nil, nil
	}
	info, err := h.userInfo.UserInfo(ctx, who)
	if err != nil {
		return nil, apierr.Forward(err, "finding out by which refs "+who.Principal.UserEntityRef+" owns things")
	}
	return &permissionnode.User{Credentials: who, Info: info}, nil
}

// auditedMost bounds the permissions that an audit event names, and the
// resources.
const auditedMost = 100

// summary is what an audit event tells of the decisions: how many of which
// kind there were by permission, and which resources were denied.
func summary(items []item, answer []answerItem) map[string]any {
	counts, denied, left := map[string]map[core.AuthorizeResult]int{}, map[string][]string{}, auditedMost
	count := func(permission, ref string, r core.AuthorizeResult) {
		counts[permission][r]++
		if r == core.Denied && ref != "" && left > 0 {
			denied[permission], left = append(denied[permission], ref), left-1
		}
	}
	for n, i := range items {
		name := i.permission.Name
		if counts[name] == nil {
			if len(counts) == auditedMost {
				continue
			}
			counts[name] = map[core.AuthorizeResult]int{}
		}
		switch r := answer[n].Result.(type) {
		case core.AuthorizeResult:
			if len(i.refs.list) == 0 {
				count(name, "", r)
			}
			for _, ref := range i.refs.list {
				count(name, ref, r)
			}
		case []core.AuthorizeResult:
			for k, one := range r {
				count(name, i.refs.list[k], one)
			}
		}
	}
	out := map[string]any{"decisions": counts}
	if len(denied) > 0 {
		out["denied"] = denied
	}
	return out
}
