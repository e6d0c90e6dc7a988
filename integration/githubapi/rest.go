package githubapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/hostclient"
)

// Read is a read of the REST API.
type Read struct {
	// Path is below the base of the API, for example "/repos/acme/shop", with
	// segments that are escaped.
	Path  string
	Query url.Values
	// Owner, and Repo where the read is about one repository, choose the
	// credential.
	Owner, Repo string
	// Resource is the part of the host's budget that the read counts for, such
	// as "code_search"; "core" if empty.
	Resource string
	// Interactive reads go before others, and do not wait for limits.
	Interactive bool
}

// RepositoryPath returns the path of a repository, followed by segments below
// it.
func RepositoryPath(owner, repo string, below ...string) string {
	var b strings.Builder
	for _, s := range append([]string{"repos", owner, repo}, below...) {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// Get reads and decodes the answer into out. It reports whether the host has
// more pages. Errors are those of [API.Query].
func (a *API) Get(ctx context.Context, r Read, out any) (more bool, err error) {
	err = a.patiently(ctx, r.Interactive, func() error {
		more, err = a.get(ctx, r, out)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("reading %s from %s: %w", r.Path, a.host, err)
	}
	return more, nil
}

func (a *API) get(ctx context.Context, r Read, out any) (more bool, err error) {
	c, err := a.connection()
	if err != nil {
		return false, err
	}
	credential, err := c.credentials.Credentials(ctx, r.Owner, r.Repo)
	if err != nil {
		return false, err
	}
	header := credential.Header()
	header.Set("Accept", "application/vnd.github+json")
	at := c.integration.APIBaseURL + r.Path
	if len(r.Query) > 0 {
		at += "?" + r.Query.Encode()
	}
	answer, err := a.hosts.client.Get(ctx, hostclient.Request{URL: at, Header: header, Credential: credential.ID, Resource: r.Resource, Interactive: r.Interactive})
	if err != nil {
		return false, err
	}
	if answer.Status != http.StatusOK {
		return false, unexpected(answer.Status)
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return false, apierr.ServiceUnavailable("the answer is malformed: %w", err)
	}
	return hasNext(answer.Header), nil
}

// hasNext reads the header Link (RFC 8288) as GitHub writes it.
func hasNext(h http.Header) bool {
	for _, line := range h.Values("Link") {
		for link := range strings.SplitSeq(line, ",") {
			if _, params, ok := strings.Cut(link, ">"); ok && strings.Contains(params, `rel="next"`) {
				return true
			}
		}
	}
	return false
}

// EachPage reads all pages of a list, up to a number. visit returns what of a
// page could not be used. More pages than that are an input error: the list
// was not read whole.
func EachPage[T any](ctx context.Context, a *API, r Read, maxPages int, visit func(*T) error) error {
	q := url.Values{}
	maps.Copy(q, r.Query)
	r.Query = q
	for page := 1; ; page++ {
		if page > maxPages {
			return apierr.Input("reading %s from %s: the list has more than %d pages", r.Path, a.host, maxPages)
		}
		q.Set("page", strconv.Itoa(page))
		part := new(T)
		more, err := a.Get(ctx, r, part)
		if err != nil {
			return err
		}
		if err := visit(part); err != nil || !more {
			return err
		}
	}
}
