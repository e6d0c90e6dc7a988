package appbackend

import (
	"context"
	"errors"
	"mime"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// guard serves a protected frontend: its public part to those who have not
// signed in, all of it to users and services.
type guard struct {
	main, public handler
	auth         core.AuthService
	httpAuth     core.HTTPAuthService
	origins      *http.CrossOriginProtection
}

func (g *guard) serve(w http.ResponseWriter, r *http.Request) error {
	who, err := g.httpAuth.Credentials(r, core.Allow{None: true, User: true, Service: true, Cookie: true})
	switch {
	case err != nil && apierr.Status(err) >= http.StatusInternalServerError:
		return err // whether the user has signed in is not known
	case err != nil:
		// Without the cookie, the user can sign in again.
		if err := g.httpAuth.ClearUserCookie(w, r); err != nil {
			return err
		}
	case !who.IsNone():
		return g.main(w, r)
	}
	if r.Method == http.MethodPost {
		return g.signIn(w, r)
	}
	return g.public(w, r)
}

// maxForm is the length of a sign-in form, in bytes. Tokens carry the groups
// of the user.
const maxForm = 1 << 20

// signIn answers the form that the public part posts when the user has signed
// in: with a cookie, and the page of the whole frontend.
func (g *guard) signIn(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("X-Frame-Options", "DENY")
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return errNoSignIn()
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return apierr.Input("Invalid sign-in form")
	}
	if r.PostForm.Get("type") != "sign-in" {
		return errNoSignIn()
	}
	if err := g.origins.Check(r); err != nil {
		return apierr.NotAllowed("Sign-in from another site is refused: neither app.baseUrl nor backend.baseUrl is the origin of the form")
	}
	who, err := g.authenticate(r.Context(), r.PostForm.Get("token"))
	if err != nil {
		return err
	}
	if _, err := g.httpAuth.IssueUserCookieFor(w, r, who); err != nil {
		return err
	}
	page := *r
	page.Method = http.MethodGet
	return g.main(w, &page)
}

func (g *guard) authenticate(ctx context.Context, token string) (core.Credentials, error) {
	if token == "" {
		return core.Credentials{}, apierr.Authentication("Illegal token")
	}
	who, err := g.auth.Authenticate(ctx, token, false)
	switch {
	case err != nil && apierr.Status(err) < http.StatusInternalServerError:
		return who, apierr.Authentication("Illegal token") // the cause may repeat it
	case err != nil:
		return who, err
	}
	if !who.IsUser() {
		return who, apierr.Authentication("Invalid token, not a user")
	}
	return who, nil
}

func errNoSignIn() error {
	return apierr.Input("Invalid POST request to app-backend wildcard endpoint")
}
