package catalogbackend

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
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
				Entity: document(r.Body), Location: locationOf(r.Body), Since: r.Since,
				Document: r.Document, Line: r.Line, HeldDocument: r.HeldDocument, Reason: refusal(r),
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

// refusal says why a hand-in was refused.
func refusal(r store.Refused) string {
	place := func(key string, document int) string {
		if document > 0 {
			return fmt.Sprintf("%s, document %d", key, document)
		}
		return key
	}
	switch {
	case len(r.HeldBy) == 1 && r.HeldBy[0] == r.By && r.Holder == r.Wanted:
		return fmt.Sprintf("the file %s has the entity more than once, and the last one counts, which is document %d; remove or rename this one", r.Wanted, r.HeldDocument)
	case len(r.HeldBy) == 1 && r.HeldBy[0] == r.By:
		return fmt.Sprintf("%s leads to the entity more than once, and the first one counts, at %s; remove or rename this one", r.By.Parent, place(r.Holder, r.HeldDocument))
	case r.Holder == "":
		return sources(r.HeldBy) + " holds the entity, without a location key, and keeps it until it lets go of it; remove or rename one of the two"
	default:
		return fmt.Sprintf("%s holds the entity under the location key %s, and keeps it until it lets go of it; remove or rename one of the two", sources(r.HeldBy), r.Holder)
	}
}

// sources names who hands an entity in.
func sources(all []store.Source) string {
	names := make([]string, len(all))
	for i, s := range all {
		if names[i] = s.Parent; s.Provider != "" {
			names[i] = "the provider " + s.Provider
		}
	}
	if len(names) == 0 {
		return "another source"
	}
	return strings.Join(names, ", ")
}

// locationOf returns where an entity says that it was read.
func locationOf(body string) string {
	var entity struct {
		Metadata struct {
			Annotations map[string]any `json:"annotations"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal([]byte(body), &entity) // what cannot be read says nothing
	location, _ := entity.Metadata.Annotations[catalogcommon.AnnotationLocation].(string)
	return location
}

func (p *problems) Delete(ctx context.Context, entityID string) (bool, error) {
	state, err := p.store()
	if err != nil {
		return false, err
	}
	return state.Delete(ctx, entityID)
}

var _ catalognode.UnprocessedExtensionPoint = (*problems)(nil)
