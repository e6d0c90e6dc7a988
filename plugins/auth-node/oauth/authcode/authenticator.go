package authcode

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// Authenticator implements [oauth.Authenticator] for identity providers that
// do everything as the standard says, and have an API that tells who the user
// of an access token is.
type Authenticator struct {
	Client *Client
	// Find tells who the user of the session is.
	Find func(ctx context.Context, s oauth.Session) (Person, error)
}

var _ oauth.Authenticator[Person] = (*Authenticator)(nil)

// AuthorizeURL implements [oauth.Authenticator].
func (a *Authenticator) AuthorizeURL(_ context.Context, r oauth.AuthorizeRequest) (string, error) {
	return a.Client.AuthorizeURL(r), nil
}

// Authenticate implements [oauth.Authenticator].
func (a *Authenticator) Authenticate(ctx context.Context, cb oauth.Callback) (oauth.Result[Person], error) {
	session, err := a.Client.Exchange(ctx, cb)
	if err != nil {
		return oauth.Result[Person]{}, err
	}
	return a.Result(ctx, session)
}

// Refresh implements [oauth.Authenticator].
func (a *Authenticator) Refresh(ctx context.Context, r oauth.RefreshRequest) (oauth.Result[Person], error) {
	session, err := a.Client.Refresh(ctx, r.RefreshToken, r.Scope)
	if err != nil {
		return oauth.Result[Person]{}, err
	}
	return a.Result(ctx, session)
}

// Result adds the user to the session.
func (a *Authenticator) Result(ctx context.Context, s oauth.Session) (oauth.Result[Person], error) {
	person, err := a.Find(ctx, s)
	return oauth.Result[Person]{User: person, Session: s}, err
}

// BaseURL reads the address of an identity provider, and returns it without a
// slash at its end.
func BaseURL(cfg core.Config, key, absent string) (string, error) {
	text, err := cfg.StringOr(key, absent)
	if err != nil {
		return "", err
	}
	if err := checkURL(cfg, key, text); err != nil {
		return "", err
	}
	return strings.TrimRight(text, "/"), nil
}

// Endpoint reads the address of an endpoint.
func Endpoint(cfg core.Config, key string) (string, error) {
	text, err := cfg.String(key)
	if err != nil {
		return "", err
	}
	return text, checkURL(cfg, key, text)
}

func checkURL(cfg core.Config, key, text string) error {
	u, err := url.Parse(text)
	if _, ok := authnode.OriginOf(text); err == nil && ok && u.User == nil && u.Fragment == "" {
		return nil
	}
	return &core.ConfigError{
		Key: cfg.Path(key), Position: cfg.Position(key), Problem: fmt.Sprintf("is %q, which is no http or https URL", text),
		Remedy: "write it like https://login.example.com",
	}
}
