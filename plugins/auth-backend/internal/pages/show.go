package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
)

//go:embed assets/page.html
var pageHTML string

//go:embed assets/page.css
var pageCSS string

// pageTemplate is parsed once; it is a constant of the program.
var pageTemplate = template.Must(template.New("page.html").Parse(pageHTML))

// view is what the template shows.
type view struct {
	Title, Heading, Problem string
	Style                   template.CSS
	Request                 grants.Pending
	// Target is where the answer goes, for people.
	Target    string
	Offline   bool
	Failed    bool
	CSRF      string
	Providers []link
}

// link leads to a provider.
type link struct{ Label, URL string }

func (p *Pages) show(w http.ResponseWriter, q grants.Pending, secret string, failed bool) {
	v := view{
		Heading: "Sign in", Request: q, CSRF: csrf(secret, q.ID), Failed: failed && q.SignedIn == "",
		Offline: slices.Contains(strings.Fields(q.Scope), grants.ScopeOffline),
		Target:  target(q.RedirectURI),
	}
	if q.SignedIn != "" {
		v.Heading = "Let “" + q.ClientName + "” act for you?"
	} else {
		for _, provider := range p.Providers() {
			v.Providers = append(v.Providers, p.link(provider, q.ID))
		}
	}
	p.write(w, http.StatusOK, v, source(q.RedirectURI))
}

func (p *Pages) problem(w http.ResponseWriter, status int, text string) {
	p.write(w, status, view{Heading: "That did not work", Problem: text}, "")
}

// write sends a page. Nothing runs in it, nobody can put it into a frame, and
// its forms lead here and to the client.
func (p *Pages) write(w http.ResponseWriter, status int, v view, client string) {
	v.Title, v.Style = p.Title, template.CSS(pageCSS) //nolint:gosec // it is a constant
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, v); err != nil {
		panic(fmt.Errorf("the consent page: %w", err)) // the template does not fit the view
	}
	sum := sha256.Sum256([]byte(pageCSS))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; form-action 'self'"+client+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // without an origin, the answer would not be known as our own
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the client may be gone
}

// link returns where to sign in with a provider.
func (p *Pages) link(provider Provider, id string) link {
	back := p.Base + "/" + provider.ID + "/authorize/" + id
	if provider.Direct {
		return link{direct(provider.ID), back}
	}
	query := url.Values{"env": {p.Environment}, "flow": {"redirect"}, "scope": {""}, "redirectUrl": {back}}
	return link{"Sign in with " + Name(provider.ID), p.Base + "/" + provider.ID + "/start?" + query.Encode()}
}

func direct(id string) string {
	if id == "guest" {
		return "Enter as a guest"
	}
	return "Sign in with " + Name(id)
}

// names are how companies write theirs.
var names = map[string]string{
	"github": "GitHub", "gitlab": "GitLab", "google": "Google", "microsoft": "Microsoft", "okta": "Okta", "oidc": "OpenID Connect",
	"oauth2": "OAuth 2.0", "oauth2Proxy": "the proxy of your company", "atlassian": "Atlassian", "auth0": "Auth0", "bitbucket": "Bitbucket",
}

// Name returns the name of a provider, for people.
func Name(id string) string {
	if name := names[id]; name != "" {
		return name
	}
	return id
}

// target says where answers go, for people.
func target(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil:
		return redirectURI
	case redirects.IsLoopback(redirectURI):
		return u.Host + " (this machine)"
	case u.Scheme == "https":
		return u.Host
	case u.Scheme == "http":
		return "http://" + u.Host
	default:
		return u.Scheme + ": (a program on this machine)"
	}
}

// source returns the place to which an answer leads as the policy of the page
// has it, with a blank before it.
func source(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || redirects.Check(redirectURI) != nil {
		return ""
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return " " + u.Scheme + "://" + u.Host
	}
	return " " + u.Scheme + ":"
}
