// Package httpauth is the default implementation of [core.HTTPAuth]: it finds
// the credentials in a request, and gives browsers a cookie for requests that
// cannot carry a header, such as those of images and scripts.
//
// A token is read from the Authorization header with the scheme Bearer, and
// where a handler allows it from the cookie "backstage-auth", which holds the
// limited form of a user token. A token that is presented and bad is an error
// even where none is needed. What was found is kept for the rest of the
// request.
package httpauth

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/requestmemo"
)

// CookieName is the name of the cookie with the limited user token.
const CookieName = "backstage-auth"

// renewBefore is how long a cookie must still be good to be left in place.
const renewBefore = 5 * time.Minute

// Factory makes the default service of each plugin.
var Factory = backend.NewServiceFactory(core.HTTPAuth, func(env *backend.FactoryEnv) backend.MakeFunc[core.HTTPAuthService] {
	plugin, auth, discovery := core.PluginMetadata.From(env), core.Auth.From(env), core.Discovery.From(env)
	return func(context.Context) (core.HTTPAuthService, error) {
		return New(plugin().ID(), auth(), discovery()), nil
	}
})

// Service implements [core.HTTPAuthService].
type Service struct {
	plugin    string
	auth      core.AuthService
	discovery core.DiscoveryService
	now       func() time.Time
}

// Option customises a service.
type Option func(*Service)

// WithClock sets the clock, which is [time.Now] by default.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

// New returns the service of a plugin. The domain of its cookies is the host
// of the plugin's external URL.
func New(plugin string, auth core.AuthService, discovery core.DiscoveryService, opts ...Option) *Service {
	s := &Service{plugin: plugin, auth: auth, discovery: discovery, now: time.Now}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

var _ core.HTTPAuthService = (*Service)(nil)

// Credentials implements [core.HTTPAuthService].
func (s *Service) Credentials(r *http.Request, allow core.Allow) (core.Credentials, error) {
	c, err := s.find(r, allow.Cookie)
	if err != nil {
		return core.Credentials{}, err
	}
	if !allow.None && !allow.User && !allow.Service {
		return c, nil
	}
	switch {
	case c.IsNone():
		if !allow.None {
			return core.Credentials{}, apierr.Authentication("Missing credentials")
		}
	case c.IsUser() && !allow.User, c.IsService() && !allow.Service, !c.IsUser() && !c.IsService():
		return core.Credentials{}, apierr.NotAllowed("This endpoint does not allow '%s' credentials", c.Principal.Type)
	}
	return c, nil
}

func (s *Service) find(r *http.Request, allowLimited bool) (core.Credentials, error) {
	token := bearer(r.Header)
	if token == "" && allowLimited {
		token = cookieToken(r)
	}
	if token == "" {
		return core.NoCredentials(), nil
	}
	memo, key := requestmemo.From(r.Context()), requestmemo.Key{Service: s, Token: token, Limited: allowLimited}
	if c, ok := memo.Get(key); ok {
		return c, nil
	}
	c, err := s.auth.Authenticate(r.Context(), token, allowLimited)
	if err != nil {
		return core.Credentials{}, err
	}
	memo.Put(key, c)
	return c, nil
}

// maxToken bounds what is taken for a token, in bytes.
const maxToken = 1 << 20

// bearer returns the token of the Authorization header, "" if there is none.
func bearer(h http.Header) string {
	const scheme = "bearer"
	v := h.Get("Authorization")
	if len(v) <= len(scheme) || len(v) > maxToken || !strings.EqualFold(v[:len(scheme)], scheme) {
		return ""
	}
	rest := v[len(scheme):]
	token := strings.TrimLeft(rest, " ")
	if token == "" || len(token) == len(rest) || strings.ContainsFunc(token, isSpace) {
		return ""
	}
	return token
}

func isSpace(c rune) bool { return c <= ' ' || c == 0x7f || c == 0x85 || c == 0xa0 }

// cookieToken returns the token of the cookie, "" if there is none.
func cookieToken(r *http.Request) string {
	c, err := r.Cookie(CookieName)
	if err != nil || len(c.Value) > maxToken {
		return ""
	}
	value, err := url.PathUnescape(c.Value) // Node's cookie libraries escape; tokens have nothing to escape
	if err != nil {
		return c.Value
	}
	return value
}

// IssueUserCookie implements [core.HTTPAuthService].
func (s *Service) IssueUserCookie(w http.ResponseWriter, r *http.Request) (time.Time, error) {
	who, err := s.find(r, false)
	if err != nil {
		return time.Time{}, err
	}
	return s.IssueUserCookieFor(w, r, who)
}

// IssueUserCookieFor implements [core.HTTPAuthService].
func (s *Service) IssueUserCookieFor(w http.ResponseWriter, r *http.Request, who core.Credentials) (time.Time, error) {
	switch {
	case who.IsNone():
		return time.Time{}, s.ClearUserCookie(w, r)
	case !who.IsUser():
		return time.Time{}, apierr.Authentication("A cookie can only be issued for a user, not for a %s", who.Principal.Type)
	}
	if expires, ok := s.goodCookie(r, who); ok {
		return expires, nil
	}
	token, expires, err := s.auth.LimitedUserToken(r.Context(), who)
	if err != nil {
		return time.Time{}, fmt.Errorf("making the limited token of a user: %w", err)
	}
	attributes, err := s.attributes(r.Context())
	if err != nil {
		return time.Time{}, err
	}
	setCookie(w, token.Reveal(), expires, attributes)
	return expires, nil
}

// goodCookie returns when the cookie of the request expires, if it is that of
// the user and good for a while.
func (s *Service) goodCookie(r *http.Request, who core.Credentials) (time.Time, bool) {
	token := cookieToken(r)
	if token == "" {
		return time.Time{}, false
	}
	c, err := s.auth.Authenticate(r.Context(), token, true)
	if err != nil || !c.IsUser() || c.Principal.UserEntityRef != who.Principal.UserEntityRef {
		return time.Time{}, false
	}
	return c.ExpiresAt, c.ExpiresAt.After(s.now().Add(renewBefore))
}

// ClearUserCookie implements [core.HTTPAuthService].
func (s *Service) ClearUserCookie(w http.ResponseWriter, r *http.Request) error {
	attributes, err := s.attributes(r.Context())
	if err != nil {
		return err
	}
	setCookie(w, "", time.Unix(0, 0), attributes)
	return nil
}

type cookieAttributes struct {
	domain string
	secure bool
}

func (s *Service) attributes(ctx context.Context) (cookieAttributes, error) {
	base, err := s.discovery.ExternalBaseURL(ctx, s.plugin)
	if err != nil {
		return cookieAttributes{}, fmt.Errorf("finding the domain of the user cookie: %w", err)
	}
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return cookieAttributes{}, fmt.Errorf("finding the domain of the user cookie: the external URL %q of plugin %q has no host", base, s.plugin)
	}
	host := strings.ToLower(u.Hostname())
	// Browsers take localhost for secure without TLS.
	return cookieAttributes{domain: host, secure: u.Scheme == "https" || host == "localhost"}, nil
}

// setCookie writes the attributes in the order in which all backends of the
// family do, which [http.SetCookie] cannot (it knows no Priority).
func setCookie(w http.ResponseWriter, value string, expires time.Time, a cookieAttributes) {
	var b strings.Builder
	b.WriteString(CookieName + "=" + value)
	domain := a.domain
	if ip := net.ParseIP(domain); ip != nil && ip.To4() == nil {
		domain = "" // a cookie's domain cannot be an IPv6 address; without one it is the host itself
	}
	if domain != "" {
		b.WriteString("; Domain=" + domain)
	}
	b.WriteString("; Path=/; Expires=" + expires.UTC().Format(http.TimeFormat) + "; HttpOnly")
	if a.secure {
		b.WriteString("; Secure; Priority=High; SameSite=None")
	} else {
		b.WriteString("; Priority=High; SameSite=Lax")
	}
	w.Header().Add("Set-Cookie", b.String())
}
