package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/hostclient"
)

// api is the REST API of a GitLab with one credential.
type api struct {
	client     *hostclient.Client
	base       string // ends in /api/v4
	header     http.Header
	credential string
	limits     hostclient.Limits
}

// maxPages bounds how much of a list is read, in pages of pageSize.
const (
	maxPages = 500
	pageSize = 100
)

// urlPath joins segments, which it escapes: a project is its number, or its whole
// path as one segment.
func urlPath(segments ...any) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(fmt.Sprint(s)))
	}
	return b.String()
}

func (a *api) get(ctx context.Context, at string, query url.Values, out any) error {
	_, err := a.send(ctx, http.MethodGet, at, query, nil, out)
	return err
}

func (a *api) post(ctx context.Context, at string, body, out any) error {
	_, err := a.send(ctx, http.MethodPost, at, nil, body, out)
	return err
}

func (a *api) put(ctx context.Context, at string, body, out any) error {
	_, err := a.send(ctx, http.MethodPut, at, nil, body, out)
	return err
}

func (a *api) remove(ctx context.Context, at string) error {
	_, err := a.send(ctx, http.MethodDelete, at, nil, nil, nil)
	return err
}

// list reads all pages of a list.
func list[T any](ctx context.Context, a *api, at string, query url.Values) ([]T, error) {
	q := url.Values{}
	maps.Copy(q, query)
	q.Set("per_page", strconv.Itoa(pageSize))
	var all []T
	for page := 1; page <= maxPages; page++ {
		q.Set("page", strconv.Itoa(page))
		var part []T
		header, err := a.send(ctx, http.MethodGet, at, q, nil, &part)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if !hasNext(header) {
			return all, nil
		}
	}
	return nil, apierr.Input("the list %s of GitLab has more than %d entries", at, maxPages*pageSize)
}

// hasNext reads how GitLab says that there is another page. Lists that are
// expensive to count have only the Link.
func hasNext(h http.Header) bool {
	if next, ok := h["X-Next-Page"]; ok {
		return strings.Join(next, "") != ""
	}
	return slices.ContainsFunc(h.Values("Link"), func(link string) bool { return strings.Contains(link, `rel="next"`) })
}

func (a *api) send(ctx context.Context, method, at string, query url.Values, body, out any) (http.Header, error) {
	r := hostclient.Request{
		Method: method, URL: a.base + at, Header: a.header.Clone(), Credential: a.credential, Limits: a.limits, Interactive: true,
		// a change must not be sent to where a project was moved
		NoRedirects: method != http.MethodGet,
	}
	if r.NoRedirects {
		r.Limits.RetryStatus = nil // which are no answers to reads only
	}
	if len(query) > 0 {
		r.URL += "?" + query.Encode()
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request %s %s: %w", method, at, err)
		}
		r.Body = text
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := a.client.Get(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, at, err)
	}
	if answer.Status < 200 || answer.Status > 299 {
		return nil, &refusal{Status: answer.Status, Message: message(answer.Body), request: method + " " + at}
	}
	if out != nil {
		if err := json.Unmarshal(answer.Body, out); err != nil {
			return nil, apierr.ServiceUnavailable("%s %s: the answer of GitLab is malformed: %w", method, at, err)
		}
	}
	return answer.Header, nil
}

// refusal is an answer of GitLab that is no success.
type refusal struct {
	Status  int
	Message string
	request string
}

// Error says what GitLab said.
func (r *refusal) Error() string {
	return fmt.Sprintf("%s: GitLab answered %d %s: %s", r.request, r.Status, http.StatusText(r.Status), r.Message)
}

// isRefusal reports whether GitLab answered, and refused.
func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// is reports whether GitLab answered with one of the statuses.
func is(err error, statuses ...int) bool {
	var r *refusal
	return errors.As(err, &r) && slices.Contains(statuses, r.Status)
}

// says reports whether GitLab refused with a text.
func says(err error, text string) bool {
	var r *refusal
	return errors.As(err, &r) && strings.Contains(strings.ToLower(r.Message), text)
}

// message reads the message of a refusal, which may be a text, a list, or
// lists of problems by field. Texts of other kinds are not repeated.
func message(body []byte) string {
	var m struct {
		Message     any    `json:"message"`
		Error       any    `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &m) != nil {
		return "(no message)"
	}
	parts := slices.Concat(problems("", m.Message), problems("", m.Error))
	if m.Description != "" {
		parts = append(parts, m.Description)
	}
	if len(parts) == 0 {
		return "(no message)"
	}
	const most = 1000
	text := strings.Join(parts, ", ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func problems(field string, v any) []string {
	switch v := v.(type) {
	case string:
		return []string{strings.TrimSpace(field + " " + v)}
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, problems(field, item)...)
		}
		return all
	case map[string]any:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, problems(name, v[name])...)
		}
		return all
	}
	return nil
}
