package githubapi

import (
	"context"
	"errors"
	"maps"

	"github.com/flytower/flytower/apierr"
)

// PageInfo is the member of that name of a connection.
type PageInfo struct {
	HasNextPage bool   `json:"hasNextPage"`
	EndCursor   string `json:"endCursor"`
}

// Paging says how a query pages.
type Paging struct {
	// Cursor and Size name the variables of the query; "cursor" and "size" if
	// empty.
	Cursor, Size string
	// PageSize is the number of nodes per page, from 1 to 100.
	PageSize int
	// After is the cursor to begin behind; empty is the beginning.
	After string
}

// Each sends the query once per page. visit looks at the data of a page and
// returns its page info; its error ends the reading.
//
// GitHub gives up answers that take it too long, so a page that fails again
// and again is asked for in smaller pieces.
func Each[T any](ctx context.Context, a *API, q Query, p Paging, visit func(*T) (PageInfo, error)) error {
	if p.Cursor == "" {
		p.Cursor = "cursor"
	}
	if p.Size == "" {
		p.Size = "size"
	}
	q.Variables = maps.Clone(q.Variables)
	if q.Variables == nil {
		q.Variables = map[string]any{}
	}
	cursor, size := p.After, p.PageSize
	for {
		q.Variables[p.Size] = size
		delete(q.Variables, p.Cursor)
		if cursor != "" {
			q.Variables[p.Cursor] = cursor
		}
		page := new(T)
		if err := a.Query(ctx, q, page); err != nil {
			var lost *lostError
			if errors.As(err, &lost) && size > 1 && ctx.Err() == nil {
				size = max(size/2, 1)
				continue
			}
			return err
		}
		info, err := visit(page)
		if err != nil {
			return err
		}
		if !info.HasNextPage {
			return nil
		}
		if info.EndCursor == "" || info.EndCursor == cursor {
			return apierr.ServiceUnavailable("query %q to %s about %s: the pages do not go on after the cursor %q",
				q.Name, a.host, subject(q.Owner, q.Repo), cursor)
		}
		cursor = info.EndCursor
	}
}

// Nodes is a list of nodes in an answer.
type Nodes[T any] struct {
	Nodes    []*T     `json:"nodes"`
	PageInfo PageInfo `json:"pageInfo"`
}

// All returns the nodes. A node that the host left out is an error: the list
// is not whole.
func (n *Nodes[T]) All() ([]*T, error) {
	if n == nil {
		return nil, apierr.ServiceUnavailable("the answer lacks a list that was asked for")
	}
	for i, node := range n.Nodes {
		if node == nil {
			return nil, apierr.ServiceUnavailable("node %d of a list in the answer is null, so the list is not whole", i)
		}
	}
	return n.Nodes, nil
}
