package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Published are the actions that the plugins of the deployment publish for
// tools and agents; steps may name them, too. The scaffolder's own come first
// where ids are the same. It is safe for concurrent use.
type Published struct {
	Service core.ActionsService
	Logger  *slog.Logger

	told sync.Map // ids of which it was logged that the scaffolder's own is used
}

// Find returns an action that who may see; ok is false if there is none.
func (p *Published) Find(ctx context.Context, who core.Credentials, id string) (e *Entry, ok bool, err error) {
	info, ok, err := p.Service.Find(ctx, who, id)
	if err != nil || !ok {
		return nil, false, err
	}
	e, err = p.entry(info)
	return e, err == nil, err
}

// List returns the actions that who may see and of which own has none.
func (p *Published) List(ctx context.Context, who core.Credentials, own *Registry) ([]*Entry, error) {
	infos, err := p.Service.List(ctx, who)
	if err != nil {
		return nil, err
	}
	all := make([]*Entry, 0, len(infos))
	for _, info := range infos {
		if own.has(info.ID) {
			if _, before := p.told.LoadOrStore(info.ID, true); !before {
				p.Logger.WarnContext(ctx, "a plugin publishes an action with an id that the scaffolder has itself: steps get the scaffolder's", "action", info.ID)
			}
			continue
		}
		e, err := p.entry(info)
		if err != nil {
			p.Logger.WarnContext(ctx, "an action that a plugin publishes is left out, since its schema cannot be read", "action", info.ID, "error", err)
			continue
		}
		all = append(all, e)
	}
	return all, nil
}

// entry is a published action as one that steps may name. It runs with the
// credentials of who created the task; each member of its output is an output
// of the step.
func (p *Published) entry(info core.ActionInfo) (*Entry, error) {
	e := &Entry{Action: scaffoldernode.Action{
		ActionInfo: scaffoldernode.ActionInfo{
			ID: info.ID, Description: info.Description,
			SupportsDryRun: info.Attributes["readOnly"] && !info.Attributes["destructive"],
		},
		Input: info.Schema.Input, Output: info.Schema.Output,
		Run: func(ctx context.Context, c *scaffoldernode.ActionContext, input json.RawMessage) error {
			who, err := c.InitiatorCredentials(ctx)
			if err != nil {
				return err
			}
			answer, err := p.Service.Invoke(ctx, info.ID, core.ActionCall{Input: input, As: who})
			if err != nil || len(answer) == 0 {
				return err
			}
			output, err := template.ParseJSON(answer)
			if err != nil {
				return err
			}
			members, ok := output.(*template.Record)
			if !ok {
				return nil
			}
			for name, value := range members.All() {
				if err := c.Output(name, json.RawMessage(template.AppendJSON(nil, value))); err != nil {
					return err
				}
			}
			return nil
		},
	}}
	var err error
	if e.InputSchema, err = parse(info.ID, "input", info.Schema.Input); err != nil {
		return nil, err
	}
	e.OutputSchema, err = parse(info.ID, "output", info.Schema.Output)
	return e, err
}

// Sorted returns all entries, sorted by id in any case.
func Sorted(lists ...[]*Entry) []*Entry {
	all := slices.Concat(lists...)
	slices.SortFunc(all, byID)
	return all
}

// byID sorts in any case, lower case first.
func byID(a, b *Entry) int {
	return cmp.Or(strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)), strings.Compare(b.ID, a.ID))
}

func (r *Registry) has(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.actions[id]
	return ok
}
