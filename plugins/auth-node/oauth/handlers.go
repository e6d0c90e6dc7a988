package oauth

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// environment is a provider in one environment.
type environment[U any] struct {
	Provider[U]
	id, app       string // app is the origin of the frontend
	allowed       func(origin string) bool
	log           *slog.Logger
	signIn        authnode.SignInContext
	authenticator Authenticator[U]
	cookies       *cookies
	additional    []string
	resolve       authnode.SignInResolver[Result[U]]
	renewals      *renewals[U]
}

// start sends the user to the identity provider.
func (e *environment[U]) start(w http.ResponseWriter, r *http.Request, env string) error {
	query := r.URL.Query()
	s := state{Env: env, RedirectURL: query.Get("redirectUrl"), Flow: query.Get("flow")}
	if origin := query.Get("origin"); origin != "" {
		var ok bool
		if s.Origin, ok = authnode.OriginOf(origin); !ok {
			return apierr.Input("App origin is invalid, failed to parse")
		}
	}
	if err := e.checkTargets(s); err != nil {
		return err
	}
	begun := newAttempt()
	s.Nonce = begun.nonce
	granted := ""
	if e.PersistScopes {
		granted = e.cookies.get(r, e.cookies.granted())
	}
	scope := e.scope(query.Get("scope"), granted)
	if e.PersistScopes {
		s.Scope = scope
	}
	location, err := e.authenticator.AuthorizeURL(r.Context(), AuthorizeRequest{Scope: scope, State: s.encode(), Secrets: begun.secrets(e.id, env)})
	if err != nil {
		return err
	}
	e.cookies.setNonce(w, begun.encode(), e.target(s))
	redirect(w, location)
	return nil
}

func redirect(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusFound)
}

// checkTargets refuses to send the result of a sign-in to whom it is not for.
func (e *environment[U]) checkTargets(s state) error {
	if s.Origin != "" && !e.allowed(s.Origin) {
		return apierr.NotAllowed("Origin '%s' is not allowed", s.Origin)
	}
	if s.RedirectURL != "" {
		if origin, ok := authnode.OriginOf(s.RedirectURL); !ok || !e.allowed(origin) {
			return apierr.NotAllowed("The redirectUrl does not belong to an allowed origin")
		}
	}
	return nil
}

// target returns the origin that gets the result.
func (e *environment[U]) target(s state) string {
	if origin, ok := authnode.OriginOf(s.Origin); ok {
		return origin
	}
	return e.app
}

// frame takes the answer of the identity provider and hands the result to the
// frontend, also one that is an error.
func (e *environment[U]) frame(w http.ResponseWriter, r *http.Request, env string) error {
	s, err := decodeState(r.URL.Query().Get("state"))
	if err == nil {
		if err = e.checkTargets(s); err != nil {
			s = state{} // what it says is not to be used
		}
	}
	var answer json.RawMessage
	if err == nil {
		answer, err = e.finish(w, r, s, env)
	}
	if err == nil && s.Flow == "redirect" && s.RedirectURL == "" {
		err = apierr.Input("No redirectUrl provided in request query parameters")
	}
	if err != nil {
		return e.failed(w, r, s, err)
	}
	if s.Flow == "redirect" {
		redirect(w, s.RedirectURL)
		return nil
	}
	return e.writeResult(w, s, "response", answer)
}

func (e *environment[U]) writeResult(w http.ResponseWriter, s state, member string, value any) error {
	result, err := json.Marshal(map[string]any{"type": "authorization_response", member: value})
	if err != nil {
		return err
	}
	return writePage(w, e.target(s), result)
}

// failed tells the frontend what is wrong.
func (e *environment[U]) failed(w http.ResponseWriter, r *http.Request, s state, err error) error {
	authnode.Failed(r.Context(), err)
	err = e.public(r.Context(), err)
	if s.Flow == "redirect" && s.RedirectURL != "" {
		to, parseErr := url.Parse(s.RedirectURL)
		if parseErr != nil {
			return apierr.Input("The redirectUrl is malformed")
		}
		query := to.Query()
		query.Set("error", err.Error())
		to.RawQuery = query.Encode()
		redirect(w, to.String())
		return nil
	}
	return e.writeResult(w, s, "error", map[string]any{"name": apierr.KindOf(err), "message": err.Error()})
}

// public returns the error if it is meant for users, else one that says no
// more than that there is one; the log has it.
func (e *environment[U]) public(ctx context.Context, err error) error {
	if named := (*apierr.Error)(nil); errors.As(err, &named) {
		return err
	}
	e.log.WarnContext(ctx, "a sign-in failed", "error", err)
	return apierr.New(apierr.KindError, "the sign-in failed for a reason that the log of the backend tells")
}

// finish exchanges the code for a session and signs the user in.
func (e *environment[U]) finish(w http.ResponseWriter, r *http.Request, s state, env string) (json.RawMessage, error) {
	begun := decodeAttempt(e.cookies.get(r, e.cookies.nonce()))
	switch {
	case begun.nonce == "":
		return nil, apierr.NotAllowed("Auth response is missing cookie nonce")
	case subtle.ConstantTimeCompare([]byte(begun.nonce), []byte(s.Nonce)) != 1:
		return nil, apierr.NotAllowed("Invalid nonce")
	case s.Env != env:
		return nil, apierr.NotAllowed("The sign-in began in another environment")
	}
	e.cookies.setNonce(w, "", e.target(s)) // it is good once
	query := r.URL.Query()
	if code := query.Get("error"); code != "" {
		text := query.Get("error_description")
		if text == "" {
			text = code
		}
		if len(text) > 500 {
			text = strings.ToValidUTF8(text[:500], "") + "…"
		}
		if code == "access_denied" {
			return nil, apierr.New(apierr.KindError, "Authentication rejected, %s", text)
		}
		return nil, apierr.New(apierr.KindError, "Authentication failed, %s", text)
	}
	result, err := e.authenticator.Authenticate(r.Context(), Callback{Query: query, Secrets: begun.secrets(e.id, env)})
	if err != nil {
		return nil, err
	}
	scope := strings.Join(splitScope(result.Session.Scope), " ")
	if e.PersistScopes {
		if s.Scope == "" {
			return nil, apierr.Authentication("No scope found in OAuth state")
		}
		scope = s.Scope
	}
	answer, err := e.answer(r.Context(), result, scope)
	if err != nil {
		return nil, err
	}
	if e.PersistScopes {
		e.cookies.set(w, r, e.cookies.granted(), scope, e.target(s))
	}
	if token := result.Session.RefreshToken; token != "" {
		e.cookies.set(w, r, e.cookies.token(), token, e.target(s))
	}
	return answer, nil
}

// providerInfo is what the frontend needs for calls to the provider's API.
type providerInfo struct {
	IDToken          string `json:"idToken,omitempty"`
	AccessToken      string `json:"accessToken"`
	Scope            string `json:"scope"`
	ExpiresInSeconds int64  `json:"expiresInSeconds,omitempty"`
}

func (e *environment[U]) answer(ctx context.Context, result Result[U], scope string) (json.RawMessage, error) {
	a := authnode.Answer{ProviderInfo: providerInfo{
		IDToken: result.Session.IDToken, AccessToken: result.Session.AccessToken, Scope: scope,
		ExpiresInSeconds: int64(result.Session.ExpiresIn / time.Second),
	}}
	var err error
	if e.Profile != nil {
		if a.Profile, err = e.Profile(ctx, result); err != nil {
			return nil, err
		}
	}
	if e.resolve != nil {
		user, err := e.resolve(ctx, authnode.SignInInfo[Result[U]]{Profile: a.Profile, Result: result}, e.signIn)
		if err != nil {
			return nil, err
		}
		a.SignIn = &user
	}
	return a.Encode(e.Now())
}

// fromScript refuses requests that a page of another origin could make the
// browser send with cookies: those lack a header of their own.
func fromScript(r *http.Request) error {
	if r.Header.Get("X-Requested-With") != "XMLHttpRequest" {
		return apierr.Authentication("Invalid X-Requested-With header")
	}
	return nil
}

// refresh continues the session of the browser.
func (e *environment[U]) refresh(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := fromScript(r); err != nil {
		return err
	}
	answer, err := e.renew(w, r)
	if err != nil {
		return apierr.Wrap(apierr.KindAuthentication, e.public(r.Context(), err), "Refresh failed")
	}
	apierr.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (e *environment[U]) renew(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	token := e.cookies.get(r, e.cookies.token())
	if token == "" {
		return nil, apierr.Input("Missing session cookie")
	}
	granted := ""
	if e.PersistScopes {
		granted = e.cookies.get(r, e.cookies.granted())
	}
	scope := e.scope(r.URL.Query().Get("scope"), granted)
	has := splitScope(granted)
	result, err := e.renewals.renew(r.Context(), RefreshRequest{
		RefreshToken: token, Scope: scope,
		ScopeGranted: e.PersistScopes && !slices.ContainsFunc(splitScope(scope), func(s string) bool { return !slices.Contains(has, s) }),
	}, e.authenticator.Refresh)
	// The identity provider may have withdrawn the old token already, so the
	// new one is kept also where the rest fails.
	origin := e.app
	if o, ok := authnode.OriginOf(r.Header.Get("Origin")); ok && e.allowed(o) {
		origin = o
	}
	if next := result.Session.RefreshToken; next != "" && next != token {
		e.cookies.set(w, r, e.cookies.token(), next, origin)
	}
	if err != nil {
		return nil, err
	}
	if e.PersistScopes {
		e.cookies.set(w, r, e.cookies.granted(), scope, origin)
	} else {
		scope = strings.Join(splitScope(result.Session.Scope), " ")
	}
	return e.answer(r.Context(), result, scope)
}

// logout ends the session of the browser and, where it can, that at the
// identity provider.
func (e *environment[U]) logout(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := fromScript(r); err != nil {
		return err
	}
	origin := r.Header.Get("Origin")
	if origin != "" && !e.allowed(origin) {
		return apierr.NotAllowed("Origin '%s' is not allowed", origin)
	}
	if origin == "" {
		origin = e.app
	}
	token := e.cookies.get(r, e.cookies.token())
	if token != "" {
		token = e.renewals.end(r.Context(), token)
	}
	e.cookies.remove(w, r, e.cookies.token(), origin)
	e.cookies.remove(w, r, e.cookies.granted(), origin)
	if revoker, ok := e.authenticator.(Revoker); ok {
		page, err := revoker.Revoke(r.Context(), token)
		if err != nil {
			// The browser has forgotten the session, which is what the user
			// asked for.
			e.log.WarnContext(r.Context(), "the session was not ended at the identity provider", "error", err)
		}
		if u, err := url.Parse(page); err == nil && (u.Scheme == "https" || u.Scheme == "http" && u.Hostname() == "localhost") {
			apierr.WriteJSON(w, http.StatusOK, map[string]string{"logoutUrl": page})
			return nil
		}
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
