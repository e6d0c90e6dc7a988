package engine

import (
	"context"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
)

// find returns the action of a step: the scaffolder's own or else one that a
// plugin publishes, which the run asks for once.
func (x *execution) find(ctx context.Context, id string) (*registry.Entry, error) {
	own, unknown := x.Actions.Get(id)
	if unknown == nil || x.Published == nil {
		return own, unknown
	}
	if e, ok := x.published[id]; ok {
		return e, nil
	}
	who, err := x.run.Initiator(ctx)
	if err != nil {
		return nil, err
	}
	e, ok, err := x.Published.Find(ctx, who, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, unknown
	}
	if x.published == nil {
		x.published = map[string]*registry.Entry{}
	}
	x.published[id] = e
	return e, nil
}
