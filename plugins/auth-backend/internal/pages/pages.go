// Package pages has the pages of the OpenID provider for portals without a
// frontend: one on which a user signs in, and one on which the user decides on
// the request of a client.
//
//	p := pages.New(pages.Options{Base: base, Root: "https://portal.example.com", …})
//	server.Browser = p.Browser
//	root.Use(pages.Path, p)
//
// They work without JavaScript, which their policy forbids. A request is
// answered in the browser in which it began: a cookie tells that browser, so
// nobody can have others answer the request that they have made. A form has a
// token that is made of the cookie and of the request, and requests of other
// origins are refused in any case.
package pages

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// Path is where the page is mounted, that of the page of the frontend.
const Path = "/oauth2/authorize/:id"

// Options are what the pages need.
type Options struct {
	// Base is the external URL of the auth plugin, Root that of the backend.
	Base, Root string
	// Title is the name of the portal.
	Title string
	// Environment is that of the providers with a dialog.
	Environment string
	// Providers are those with which users can sign in.
	Providers func() []Provider
	Grants    *grants.Store
	// Answer answers a request, and returns where to send the browser.
	Answer func(r *http.Request, id, user string, approved bool) (location string, err error)
}

// Provider is one with which users can sign in.
type Provider struct {
	ID string
	// Direct says that there is no dialog.
	Direct bool
	// SignIn returns who the browser that sent the request is signed in as. It
	// may set cookies.
	SignIn func(w http.ResponseWriter, r *http.Request) (userEntityRef string, err error)
}

// Pages are the pages.
type Pages struct {
	Options
	cookie string
	secure bool
	guard  *http.CrossOriginProtection
}

// New returns the pages.
func New(o Options) *Pages {
	p := &Pages{Options: o, cookie: "flytower-consent", secure: strings.HasPrefix(strings.ToLower(o.Root), "https://"), guard: http.NewCrossOriginProtection()}
	if p.secure {
		p.cookie = "__Host-" + p.cookie // no other host can set it
	}
	// A proxy may send another Host than the browser did.
	if origin, ok := authnode.OriginOf(o.Root); ok {
		if err := p.guard.AddTrustedOrigin(origin); err != nil {
			panic("pages: " + err.Error()) // it is an origin
		}
	}
	return p
}

// URL returns the page of a request.
func (p *Pages) URL(id string) string { return p.Root + "/oauth2/authorize/" + id }

// secretForm is what the secret of a browser looks like.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// cookieLife is how long a browser keeps its secret: as long as a request can
// be answered, and some more.
const cookieLife = 2 * time.Hour

// secret returns that of the browser, "" if it has none.
func (p *Pages) secret(r *http.Request) string {
	c, err := r.Cookie(p.cookie)
	if err != nil || !secretForm.MatchString(c.Value) {
		return ""
	}
	return c.Value
}

// Browser returns a hash of the secret of the browser that sent the request,
// which it gives one if it has none.
func (p *Pages) Browser(w http.ResponseWriter, r *http.Request) string {
	secret := p.secret(r)
	if secret == "" {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw) // it never fails
		secret = base64.RawURLEncoding.EncodeToString(raw)
	}
	http.SetCookie(w, &http.Cookie{
		Name: p.cookie, Value: secret, Path: "/", MaxAge: int(cookieLife / time.Second),
		Secure: p.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return keyed(secret, "browser")
}

// keyed derives a text from the secret of a browser.
func keyed(secret, purpose string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(purpose)) // it never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// request returns the request that the browser is to answer.
func (p *Pages) request(ctx context.Context, r *http.Request, id string) (q grants.Pending, secret string, err error) {
	if q, err = p.Grants.Pending(ctx, id); err != nil {
		return q, "", err
	}
	secret = p.secret(r)
	if secret == "" || q.Browser == "" || !hmac.Equal([]byte(keyed(secret, "browser")), []byte(q.Browser)) {
		return q, "", apierr.NotAllowed("This request began in another browser, or too long ago.")
	}
	return q, secret, nil
}

// ServeHTTP shows the page of a request, and takes its answer.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if r.URL.Path != "/" && r.URL.Path != "" || r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method == http.MethodPost {
		if err := p.guard.Check(r); err != nil {
			p.problem(w, http.StatusForbidden, "The answer came from another page.")
			return
		}
	}
	q, secret, err := p.request(r.Context(), r, id)
	switch {
	case err != nil:
		p.failed(w, r, err)
	case r.Method == http.MethodPost:
		p.answer(w, r, q, secret)
	default:
		p.show(w, q, secret, r.URL.Query().Has("failed"))
	}
}

// maxForm is how long an answer may be, in bytes.
const maxForm = 16 << 10

func csrf(secret, id string) string { return keyed(secret, "csrf "+id) }

// answer takes what the user decided.
func (p *Pages) answer(w http.ResponseWriter, r *http.Request, q grants.Pending, secret string) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.problem(w, http.StatusBadRequest, "The answer cannot be read.")
		return
	}
	if !hmac.Equal([]byte(r.PostForm.Get("csrf")), []byte(csrf(secret, q.ID))) {
		p.problem(w, http.StatusForbidden, "The answer did not come from the page of this request.")
		return
	}
	action := r.PostForm.Get("action")
	switch {
	case action == "switch":
		if err := p.Grants.SignIn(r.Context(), q.ID, ""); err != nil {
			p.failed(w, r, err)
			return
		}
		redirect(w, p.URL(q.ID))
		return
	case action == "approve" && (q.SignedIn == "" || r.PostForm.Get("user") != q.SignedIn):
		p.problem(w, http.StatusForbidden, "Somebody else has signed in meanwhile.")
		return
	case action != "approve" && action != "reject":
		p.problem(w, http.StatusBadRequest, "The answer is neither yes nor no.")
		return
	}
	location, err := p.Answer(r, q.ID, q.SignedIn, action == "approve")
	if err != nil {
		p.failed(w, r, err)
		return
	}
	redirect(w, location)
}

func redirect(w http.ResponseWriter, location string) {
	h := w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// Continue returns the handler to which the dialog of a provider leads: it
// finds out who has signed in, and goes on to the page of the request.
func (p *Pages) Continue(provider Provider) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, _, err := p.request(r.Context(), r, r.PathValue("session"))
		if err != nil {
			p.failed(w, r, err)
			return nil
		}
		if r.URL.Query().Has("error") { // the log has said what it is
			redirect(w, p.URL(q.ID)+"?failed")
			return nil
		}
		user, err := provider.SignIn(w, r)
		if err != nil {
			redirect(w, p.URL(q.ID)+"?failed")
			return nil //nolint:nilerr // it is on record
		}
		if err := p.Grants.SignIn(r.Context(), q.ID, user); err != nil {
			return err
		}
		redirect(w, p.URL(q.ID))
		return nil
	}
}

// failed shows an error.
func (p *Pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch apierr.KindOf(err) {
	case apierr.KindNotAllowed:
		p.problem(w, http.StatusForbidden, err.Error())
	case apierr.KindInput, apierr.KindNotFound:
		p.problem(w, http.StatusNotFound, "There is no such request any more.")
	default:
		apierr.Write(w, r, err, "")
	}
}
