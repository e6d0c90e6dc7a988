package openid

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
)

// Limits of what a client sends along, in bytes.
const (
	maxState = 4096
	maxNonce = 255
	maxScope = 1000
)

// challenge is what a code challenge looks like (RFC 7636 §4.2).
var challenge = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// authorize takes the request of a client, and sends the browser to the page
// on which the user answers it. Errors are shown and not sent to the client:
// that would make a redirector of it (RFC 9700 §4.11).
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) error {
	record := s.Auditor.Begin(r.Context(), core.AuditEvent{ID: "authorization-request", Request: r})
	request, id, err := s.begin(w, r)
	meta := map[string]any{"clientId": request.ClientID}
	if err != nil {
		record.Fail(r.Context(), err, meta)
		if p, ok := err.(*problem); ok { //nolint:errorlint // it is never wrapped here
			return answered(func(http.ResponseWriter, *http.Request) error { return p })(w, r)
		}
		return err
	}
	record.Success(r.Context(), meta)
	location := s.ConsentURL(id)
	h := w.Header()
	h.Add("Vary", "Accept")
	h.Set("Location", location)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusFound)
	_, err = fmt.Fprint(w, "Found. Redirecting to "+location)
	return err
}

func (s *Server) begin(w http.ResponseWriter, r *http.Request) (request grants.Request, id string, err error) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request, "", invalidRequest("The query is malformed")
	}
	p, err := fromQuery(form)
	if err != nil {
		return request, "", err
	}
	request.ClientID = cut(p["client_id"])
	if err := p.missing("client_id", "redirect_uri", "response_type"); err != nil {
		return request, "", err
	}
	if p["response_type"] != "code" {
		return request, "", apierr.Input("Only authorization code flow is supported")
	}
	client, err := s.Clients.Find(r.Context(), p["client_id"])
	if err != nil {
		return request, "", err
	}
	request = grants.Request{
		ClientID: client.ID, ClientName: client.Name, Verified: client.Verified,
		RedirectURI: p["redirect_uri"], Scope: s.granted(p["scope"]), State: p["state"], Nonce: p["nonce"],
		Challenge: p["code_challenge"], Method: p["code_challenge_method"],
	}
	if !client.Allows(request.RedirectURI) {
		return request, "", apierr.Input("Invalid redirect_uri")
	}
	if err := checkRequest(request, p["scope"], client.Public, client.Verified); err != nil {
		return request, "", err
	}
	if s.Browser != nil {
		request.Browser = s.Browser(w, r)
	}
	if s.Clients.Registry != nil {
		if err := s.Clients.Registry.Used(r.Context(), client.ID, false); err != nil {
			return request, "", err
		}
	}
	id, err = s.Grants.Begin(r.Context(), request)
	return request, id, err
}

func checkRequest(q grants.Request, scope string, public, document bool) error {
	switch {
	case len(q.State) > maxState:
		return apierr.Input("The state is longer than %d bytes", maxState)
	case len(q.Nonce) > maxNonce:
		return apierr.Input("The nonce is longer than %d bytes", maxNonce)
	case len(scope) > maxScope:
		return apierr.Input("The scope is longer than %d bytes", maxScope)
	case q.Challenge == "" && q.Method != "":
		return apierr.Input("There is a code_challenge_method without a code_challenge")
	case public && q.Challenge == "":
		return apierr.Input("PKCE is required for public clients: send a code_challenge")
	case q.Challenge != "" && q.Method != "S256" && q.Method != "plain":
		return apierr.Input("Invalid code_challenge_method")
	case document && q.Method != "S256":
		return apierr.Input("Invalid code_challenge_method: clients that are described by a document use S256")
	case q.Challenge != "" && !challenge.MatchString(q.Challenge):
		return apierr.Input("Invalid code_challenge")
	}
	return nil
}

// granted returns what the client gets of the scopes that it asks for: those
// that there are.
func (s *Server) granted(scope string) string {
	var known []string
	for name := range strings.FieldsSeq(scope) {
		if slices.Contains(s.Scopes(), name) && !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	return strings.Join(known, " ")
}
