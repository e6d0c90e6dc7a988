package catalogbackend

import (
	"context"
	"encoding/json"
	"iter"
	"sync/atomic"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// problems shows what is not in the catalog and why. It implements
// [catalognode.UnprocessedExtensionPoint].
type problems struct{ state atomic.Pointer[store.Store] }

// open makes it answer.
func (p *problems) open(state *store.Store) { p.state.Store(state) }

func (p *problems) store() (*store.Store, error) {
	if s := p.state.Load(); s != nil {
		return s, nil
	}
	return nil, apierr.ServiceUnavailable("the catalog has not started yet")
}

func (p *problems) Failed(ctx context.Context, owner string) iter.Seq2[catalognode.UnprocessedEntity, error] {
	return p.unprocessed(ctx, owner, true)
}

func (p *problems) Pending(ctx context.Context, owner string) iter.Seq2[catalognode.UnprocessedEntity, error] {
	return p.unprocessed(ctx, owner, false)
}

func (p *problems) unprocessed(ctx context.Context, owner string, failed bool) iter.Seq2[catalognode.UnprocessedEntity, error] {
	return func(yield func(catalognode.UnprocessedEntity, error) bool) {
		state, err := p.store()
		if err != nil {
			yield(catalognode.UnprocessedEntity{}, err)
			return
		}
		for u, err := range state.Unprocessed(ctx, failed) {
			switch {
			case err != nil:
				yield(catalognode.UnprocessedEntity{}, err)
				return
			case owner != "" && !ownedBy(u.Body, owner):
				continue
			}
			if !yield(catalognode.UnprocessedEntity{
				ID: u.UID, Ref: u.Ref, Unprocessed: document(u.Body), Processed: document(u.Processed),
				UnprocessedHash: u.Hash, ResultHash: u.ResultHash, Cache: document(u.Cache), Errors: document(u.Errors),
				LocationKey: u.LocationKey, Next: u.Due, Discovered: u.Discovered,
			}, nil) {
				return
			}
		}
	}
}

// ownedBy compares spec.owner as a ref, whose kind is Group if it names none.
func ownedBy(body, owner string) bool {
	var entity struct {
		Spec struct {
			Owner any `json:"owner"`
		} `json:"spec"`
		Metadata struct {
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal([]byte(body), &entity) // what cannot be read has no owner
	has, ok := entity.Spec.Owner.(string)
	if !ok || has == "" || has == owner {
		return ok && has == owner
	}
	own, err := catalogcommon.ParseRef(has, catalogcommon.RefDefaults{Kind: "Group", Namespace: entity.Metadata.Namespace})
	if err != nil {
		return false
	}
	wanted, err := catalogcommon.ParseRef(owner, catalogcommon.RefDefaults{Kind: "Group"})
	return err == nil && own.Equal(wanted)
}

// document returns a JSON text; nil for none.
func document(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

func (p *problems) Conflicts(ctx context.Context) iter.Seq2[catalognode.Conflict, error] {
	return func(yield func(catalognode.Conflict, error) bool) {
		state, err := p.store()
		if err != nil {
			yield(catalognode.Conflict{}, err)
			return
		}
		for r, err := range state.Refused(ctx) {
			if err != nil {
				yield(catalognode.Conflict{}, err)
				return
			}
			c := catalognode.Conflict{
				Ref: r.Ref, Source: catalognode.EntitySource(r.By), Wanted: r.Wanted, Holder: r.Holder,
				Entity: document(r.Body), Since: r.Since,
			}
			for _, h := range r.HeldBy {
				c.Holders = append(c.Holders, catalognode.EntitySource(h))
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (p *problems) Delete(ctx context.Context, entityID string) (bool, error) {
	state, err := p.store()
	if err != nil {
		return false, err
	}
	return state.Delete(ctx, entityID)
}

var _ catalognode.UnprocessedExtensionPoint = (*problems)(nil)
