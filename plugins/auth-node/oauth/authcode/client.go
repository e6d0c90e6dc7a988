// Package authcode is what authenticators have in common whose identity
// provider speaks the authorization code grant of OAuth 2.0 (RFC 6749 §4.1):
// sending the user there, exchanging the code, refreshing the session, and
// asking who the user is.
//
//	func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
//		client, err := authcode.FromConfig(o, oauth2.Endpoint{AuthURL: …, TokenURL: …})
//		if err != nil {
//			return nil, err
//		}
//		client.PKCE = true
//		return &authenticator{client}, nil
//	}
//
// Errors of the kinds of package apierr say what the identity provider
// refused. They never have a token, a code or a secret.
package authcode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// Client talks to one identity provider. It is safe for concurrent use; its
// fields are not changed once it is in use.
type Client struct {
	// Config has the endpoints, the credentials and the callback. Its Scopes
	// are not used.
	Config oauth2.Config
	// HTTP sends the requests.
	HTTP *http.Client
	// Params are more parameters of the request for authorization.
	Params url.Values
	// PKCE binds the code to the browser (RFC 7636, method S256). Identity
	// providers that do not know it leave it aside.
	PKCE bool
	// Now is the clock.
	Now func() time.Time
}

// Public is the style of clients without a secret.
const Public oauth2.AuthStyle = -1

// FromConfig returns the client of clientId and clientSecret in the
// configuration.
func FromConfig(o oauth.Options, endpoint oauth2.Endpoint) (*Client, error) {
	id, err := o.Config.String("clientId")
	if err != nil {
		return nil, err
	}
	secret := ""
	if endpoint.AuthStyle != Public {
		if secret, err = o.Config.String("clientSecret"); err != nil {
			return nil, err
		}
	} else {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	if endpoint.AuthStyle == oauth2.AuthStyleAutoDetect {
		endpoint.AuthStyle = oauth2.AuthStyleInParams // a guess would use up the code
	}
	return &Client{
		Config: oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: endpoint, RedirectURL: o.CallbackURL},
		HTTP:   o.Client, Now: o.Now,
	}, nil
}

// AuthorizeURL returns where the user signs in.
func (c *Client) AuthorizeURL(r oauth.AuthorizeRequest) string {
	var opts []oauth2.AuthCodeOption
	for name := range c.Params {
		opts = append(opts, oauth2.SetAuthURLParam(name, c.Params.Get(name)))
	}
	if r.Scope != "" {
		opts = append(opts, oauth2.SetAuthURLParam("scope", r.Scope))
	}
	if c.PKCE {
		opts = append(opts, oauth2.S256ChallengeOption(r.Secrets.Verifier))
	}
	return c.Config.AuthCodeURL(r.State, opts...)
}

// Exchange exchanges the code of the callback for a session.
func (c *Client) Exchange(ctx context.Context, cb oauth.Callback) (oauth.Session, error) {
	code := cb.Query.Get("code")
	if code == "" {
		return oauth.Session{}, apierr.Input("Authentication failed, the identity provider sent no code")
	}
	var opts []oauth2.AuthCodeOption
	if c.PKCE {
		if cb.Secrets.Verifier == "" {
			return oauth.Session{}, apierr.NotAllowed("Auth response is missing the secrets of the sign-in; begin again")
		}
		opts = append(opts, oauth2.VerifierOption(cb.Secrets.Verifier))
	}
	token, err := c.Config.Exchange(c.context(ctx), code, opts...)
	if err != nil {
		return oauth.Session{}, refusal("exchanging the code", err)
	}
	return c.session(token), nil
}

// Refresh continues a session. The answer has the old refresh token where the
// identity provider gives no new one.
func (c *Client) Refresh(ctx context.Context, refreshToken, scope string) (oauth.Session, error) {
	// A refresh may name the scope (RFC 6749 §6), which the token sources of
	// oauth2 do not; this client sends any grant.
	grant := clientcredentials.Config{
		ClientID: c.Config.ClientID, ClientSecret: c.Config.ClientSecret,
		TokenURL: c.Config.Endpoint.TokenURL, AuthStyle: c.Config.Endpoint.AuthStyle,
		EndpointParams: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}},
	}
	if scope != "" {
		grant.Scopes = []string{scope}
	}
	token, err := grant.Token(c.context(ctx))
	if err != nil {
		return oauth.Session{}, refusal("refreshing the session", err)
	}
	return c.session(token), nil
}

// Revoke withdraws a token (RFC 7009) at the endpoint.
func (c *Client) Revoke(ctx context.Context, endpoint, token string) error {
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	inParams := c.Config.Endpoint.AuthStyle == oauth2.AuthStyleInParams
	if inParams {
		form.Set("client_id", c.Config.ClientID)
		if c.Config.ClientSecret != "" {
			form.Set("client_secret", c.Config.ClientSecret)
		}
	}
	req, err := formRequest(ctx, endpoint, form)
	if err != nil {
		return err
	}
	if !inParams {
		req.SetBasicAuth(url.QueryEscape(c.Config.ClientID), url.QueryEscape(c.Config.ClientSecret))
	}
	return c.send(req)
}

// PostForm sends a form without credentials of the client, and takes any
// answer but success for an error.
func (c *Client) PostForm(ctx context.Context, address string, form url.Values) error {
	req, err := formRequest(ctx, address, form)
	if err != nil {
		return err
	}
	return c.send(req)
}

func formRequest(ctx context.Context, address string, form url.Values) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

func (c *Client) send(req *http.Request) error {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("sending a form to the identity provider: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &StatusError{URL: req.URL.String(), Status: resp.StatusCode}
	}
	return nil
}

func (c *Client) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.HTTP)
}

func (c *Client) session(t *oauth2.Token) oauth.Session {
	s := oauth.Session{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, ExpiresIn: lifetime(t.Extra("expires_in"))}
	s.IDToken, _ = t.Extra("id_token").(string)
	s.Scope, _ = t.Extra("scope").(string)
	return s
}

// lifetime reads expires_in, which some write as a text.
func lifetime(v any) time.Duration {
	var seconds float64
	switch v := v.(type) {
	case float64:
		seconds = v
	case int64:
		seconds = float64(v)
	case string:
		seconds, _ = strconv.ParseFloat(v, 64)
	}
	const most = 10 * 365 * 24 * time.Hour
	if !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, most.Seconds()) * float64(time.Second))
}

// refusal makes an error of what the token endpoint answered.
func refusal(doing string, err error) error {
	refused := (*oauth2.RetrieveError)(nil)
	if !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if refused.ErrorCode == "" {
		return apierr.ServiceUnavailable("The identity provider answers %s", refused.Response.Status)
	}
	text := refused.ErrorCode
	if refused.ErrorDescription != "" {
		text += ": " + refused.ErrorDescription
	}
	return apierr.Authentication("The identity provider refused %s, %s", doing, clip(text))
}

// clip bounds a text that somebody else wrote.
func clip(text string) string {
	if len(text) > 500 {
		return strings.ToValidUTF8(text[:500], "") + "…"
	}
	return text
}

// StatusError is the answer of an API of the identity provider that is not
// what was asked for.
type StatusError struct {
	URL    string
	Status int
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answers %d %s", e.URL, e.Status, http.StatusText(e.Status))
}

// Get asks an API of the identity provider with the access token, and stores
// the answer in what into points to. An answer other than 200 is a
// [StatusError].
func (c *Client) Get(ctx context.Context, address, accessToken string, into any) error {
	return c.ask(ctx, http.MethodGet, address, accessToken, into)
}

// Post is Get with another method.
func (c *Client) Post(ctx context.Context, address, accessToken string, into any) error {
	return c.ask(ctx, http.MethodPost, address, accessToken, into)
}

// GetBytes is Get for an answer that is not JSON, of at most limit bytes.
func (c *Client) GetBytes(ctx context.Context, address, accessToken string, limit int64) ([]byte, error) {
	body, err := c.open(ctx, http.MethodGet, address, accessToken, "*/*")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("the answer of %s has more than %d bytes", address, limit)
	}
	return raw, err
}

func (c *Client) ask(ctx context.Context, method, address, accessToken string, into any) error {
	body, err := c.open(ctx, method, address, accessToken, "application/json")
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	return nil
}

func (c *Client) open(ctx context.Context, method, address, accessToken, accept string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "flytower")
	req.Header.Set("Authorization", "Bearer "+accessToken)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the identity provider about the user: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // of what is not read
		return nil, &StatusError{URL: address, Status: resp.StatusCode}
	}
	return resp.Body, nil
}
