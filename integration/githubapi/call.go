package githubapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapp"
	"github.com/flytower/flytower/integration/hostclient"
)

// Call is a request of the REST API that may change something.
type Call struct {
	// Method is GET by default.
	Method string
	// Path is below the base of the API, for example "/repos/acme/shop", with
	// segments that are escaped.
	Path  string
	Query url.Values
	// Body is sent as JSON; nil is none.
	Body any
	// Token is what the call is sent with. Where it is zero, Owner and Repo
	// choose the credential of the configuration.
	Token       core.Token
	Owner, Repo string
	// Repeatable calls are sent again when their answers are lost. Those with
	// GET, PUT and DELETE always are.
	Repeatable bool
}

// callTimeout bounds a call with the token of a user.
const callTimeout = 60 * time.Second

// ResponseError is an answer of the REST API that is no success.
type ResponseError struct {
	Status int
	// Message and Errors are what the host said.
	Message string
	Errors  []string
}

// Error returns what the host said.
func (e *ResponseError) Error() string {
	if len(e.Errors) == 0 {
		return e.Message
	}
	return e.Message + ": " + strings.Join(e.Errors, ", ")
}

// Credential returns the credential for a repository, which may not exist yet:
// that of a GitHub App, or else the token. It is anonymous if neither is
// configured.
func (a *API) Credential(ctx context.Context, owner, repo string) (githubapp.Credential, error) {
	c, err := a.connection()
	if err != nil {
		return githubapp.Credential{}, err
	}
	credential, err := c.credentials.Credentials(ctx, owner, repo)
	if err != nil {
		return credential, fmt.Errorf("finding the credential for %s at %s: %w", subject(owner, repo), a.host, err)
	}
	return credential, nil
}

// Call sends a call and decodes the answer into out, which may be nil. It
// returns the status, and whether a list has more pages. An answer of 300 and
// more is a [ResponseError]. That nothing is known about what became of a call
// is a service-unavailable error: the host may have acted.
func (a *API) Call(ctx context.Context, c Call, out any) (status int, more bool, err error) {
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	var body []byte
	if c.Body != nil {
		if body, err = json.Marshal(c.Body); err != nil {
			return 0, false, fmt.Errorf("encoding the body of %s %s: %w", c.Method, c.Path, err)
		}
	}
	repeatable := c.Repeatable || c.Method == http.MethodGet || c.Method == http.MethodPut || c.Method == http.MethodDelete
	var lost error
	err = a.patiently(ctx, false, func() error {
		status, more, err = a.call(ctx, c, body, out)
		if _, isLimit := askedFor(err); err != nil && !repeatable && !isLimit && apierr.KindOf(err) == apierr.KindServiceUnavailable {
			lost = err
			return nil
		}
		return err
	})
	if err == nil {
		err = lost
	}
	return status, more, err
}

func (a *API) call(ctx context.Context, c Call, body []byte, out any) (status int, more bool, err error) {
	connection, err := a.connection()
	if err != nil {
		return 0, false, err
	}
	var credential githubapp.Credential
	if c.Token.IsZero() {
		if credential, err = connection.credentials.Credentials(ctx, c.Owner, c.Repo); err != nil {
			return 0, false, err
		}
	} else {
		credential = githubapp.Static(c.Token)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	header := credential.Header()
	header.Set("Accept", "application/vnd.github+json")
	header.Set("X-GitHub-Api-Version", "2022-11-28")
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	at := connection.integration.APIBaseURL + c.Path
	if len(c.Query) > 0 {
		at += "?" + c.Query.Encode()
	}
	answer, err := a.hosts.client.Get(ctx, hostclient.Request{Method: c.Method, URL: at, Header: header, Body: body, Credential: credential.ID})
	if err != nil {
		return 0, false, err
	}
	if answer.Status >= 300 {
		return answer.Status, false, refusal(answer)
	}
	if out != nil && len(bytes.TrimSpace(answer.Body)) > 0 {
		if err := json.Unmarshal(answer.Body, out); err != nil {
			return answer.Status, false, apierr.ServiceUnavailable("the answer of %s is malformed: %w", a.host, err)
		}
	}
	return answer.Status, hasNext(answer.Header), nil
}

func refusal(answer *hostclient.Answer) error {
	e := &ResponseError{Status: answer.Status}
	var said struct {
		Message string          `json:"message"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(answer.Body, &said) == nil {
		e.Message = said.Message
		var errs []json.RawMessage
		var text string
		switch {
		case json.Unmarshal(said.Errors, &errs) == nil:
			for _, raw := range errs {
				var compact bytes.Buffer
				if json.Compact(&compact, raw) == nil {
					e.Errors = append(e.Errors, compact.String())
				}
			}
		case json.Unmarshal(said.Errors, &text) == nil && text != "":
			e.Errors = []string{text}
		}
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("the host answered with status %d", answer.Status)
	}
	return e
}

// EachCall reads all pages of a list, up to a number, by calls. visit returns
// false to stop. More pages than that are an input error.
func EachCall[T any](ctx context.Context, a *API, c Call, maxPages int, visit func(*T) bool) error {
	q := url.Values{}
	maps.Copy(q, c.Query)
	if !q.Has("per_page") {
		q.Set("per_page", "100")
	}
	c.Query = q
	for page := 1; ; page++ {
		if page > maxPages {
			return apierr.Input("reading %s from %s: the list has more than %d pages", c.Path, a.host, maxPages)
		}
		q.Set("page", strconv.Itoa(page))
		part := new(T)
		_, more, err := a.Call(ctx, c, part)
		if err != nil {
			return err
		}
		if !visit(part) || !more {
			return nil
		}
	}
}
