package githubapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/hostclient"
)

// Query is a GraphQL query. It must only read: it is sent again when its
// answer is lost.
type Query struct {
	// Name is the name of the operation in Text.
	Name      string
	Text      string
	Variables map[string]any
	// Owner, and Repo where the query is about one repository, choose the
	// credential.
	Owner, Repo string
	// Interactive queries go before others, and do not wait for limits.
	Interactive bool
}

// Query sends the query and decodes the data of its answer into out.
func (a *API) Query(ctx context.Context, q Query, out any) error {
	body, err := json.Marshal(map[string]any{"operationName": q.Name, "query": q.Text, "variables": q.Variables})
	if err != nil {
		return fmt.Errorf("encoding the query %q: %w", q.Name, err)
	}
	err = a.patiently(ctx, q.Interactive, func() error { return a.query(ctx, q, body, out) })
	if err != nil {
		return fmt.Errorf("query %q to %s about %s: %w", q.Name, a.host, subject(q.Owner, q.Repo), err)
	}
	return nil
}

func subject(owner, repo string) string {
	if repo == "" {
		return owner
	}
	return owner + "/" + repo
}

func (a *API) query(ctx context.Context, q Query, body []byte, out any) error {
	c, err := a.connection()
	if err != nil {
		return err
	}
	credential, err := c.credentials.Credentials(ctx, q.Owner, q.Repo)
	if err != nil {
		return err
	}
	header := credential.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json")
	answer, err := a.hosts.client.Get(ctx, hostclient.Request{
		Method: http.MethodPost, URL: graphQLURL(c.integration.APIBaseURL), Header: header, Body: body,
		Credential: credential.ID, Resource: "graphql", Interactive: q.Interactive,
	})
	if err != nil {
		return err
	}
	switch answer.Status {
	case http.StatusOK:
	case http.StatusNotFound:
		// That says something about the address, and nothing about the query.
		return errors.New("the host answered with status 404; check apiBaseUrl of the integration")
	default:
		return unexpected(answer.Status)
	}
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Errors []graphQLError  `json:"errors"`
	}
	if err := json.Unmarshal(answer.Body, &envelope); err != nil {
		return apierr.ServiceUnavailable("the answer is malformed: %w", err)
	}
	if len(envelope.Errors) > 0 {
		return a.failure(envelope.Errors, answer.Header)
	}
	if len(envelope.Data) == 0 || string(envelope.Data) == "null" {
		return apierr.ServiceUnavailable("the answer has neither data nor errors")
	}
	if err := json.Unmarshal(envelope.Data, out); err != nil {
		return fmt.Errorf("the answer has an unexpected shape: %w", err)
	}
	return nil
}

// graphQLURL returns where queries are sent: beside v3 on GitHub Enterprise,
// below the base on github.com.
func graphQLURL(base string) string {
	if root, ok := strings.CutSuffix(base, "/api/v3"); ok {
		return root + "/api/graphql"
	}
	return base + "/graphql"
}

// graphQLError is an error in an answer with status 200.
type graphQLError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Path    []any  `json:"path"`
}

// failure turns the errors of an answer into one.
func (a *API) failure(errs []graphQLError, h http.Header) error {
	absent := true
	for _, e := range errs {
		if e.Type == "RATE_LIMITED" || strings.Contains(strings.ToLower(e.Message), "secondary rate limit") {
			limited := apierr.ServiceUnavailable("%s limits the rate of queries", a.host)
			limited.Fields = map[string]any{retryAfter: seconds(a.limitedFor(h))}
			return limited
		}
		absent = absent && e.Type == "NOT_FOUND"
	}
	first := errs[0].Message
	if len(errs[0].Path) > 0 {
		first = fmt.Sprintf("%s (at %s)", first, joinPath(errs[0].Path))
	}
	if more := len(errs) - 1; more > 0 {
		first = fmt.Sprintf("%s, and %d more errors", first, more)
	}
	if absent {
		return apierr.NotFound("%s", first)
	}
	switch errs[0].Type {
	case "FORBIDDEN", "INSUFFICIENT_SCOPES":
		return apierr.NotAllowed("%s; check the permissions of the GitHub App or token", first)
	case "":
		// GitHub answers a query that took too long with a plain message.
		return apierr.ServiceUnavailable("%s", first)
	default:
		return errors.New(first)
	}
}

func joinPath(path []any) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = fmt.Sprint(p)
	}
	return strings.Join(parts, ".")
}

// limitedFor reads how long a limit holds that came with status 200.
func (a *API) limitedFor(h http.Header) time.Duration {
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil && n >= 0 {
		return time.Duration(min(n, 3900)) * time.Second
	}
	if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && h.Get("X-RateLimit-Remaining") == "0" {
		if d := time.Unix(reset, 0).Sub(a.now()); d > 0 {
			return min(d, 65*time.Minute)
		}
	}
	return time.Minute
}

func (a *API) now() time.Time {
	if now := a.hosts.options.Client.Now; now != nil {
		return now()
	}
	return time.Now()
}

func seconds(d time.Duration) int { return int(d/time.Second) + 1 }

// unexpected turns a status that is no answer into an error.
func unexpected(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return apierr.NotAllowed("the host answered with status 401; the token or app is not valid (any more)")
	case http.StatusForbidden:
		return apierr.NotAllowed("the host answered with status 403; check the permissions of the GitHub App or token")
	case http.StatusNotFound:
		return apierr.NotFound("the host answered with status 404")
	default:
		return fmt.Errorf("the host answered with status %d", status)
	}
}
