package authcode

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// Person is what most identity providers tell about a user. Empty is unknown.
type Person struct {
	// ID is that at the identity provider, which never changes.
	ID          string
	Username    string
	DisplayName string
	Email       string
	// EmailUnverified says that the identity provider has not made sure that
	// the address is the user's.
	EmailUnverified bool
	Picture         string
	// ProfileURL is the page about the user.
	ProfileURL string
	// Claims is everything that the identity provider answered.
	Claims map[string]any
}

// Profile makes the profile of a person: what [Person] says, and for what is
// missing the claims of the ID token. An address that is not verified is left
// out.
func Profile(_ context.Context, r oauth.Result[Person]) (authnode.Profile, error) {
	return r.User.Profile(r.Session.IDToken)
}

// Profile is the function of the same name for providers that know more about
// a user.
func (p Person) Profile(idToken string) (authnode.Profile, error) {
	out := authnode.Profile{Email: p.Email, Picture: p.Picture}
	if p.EmailUnverified {
		out.Email = ""
	}
	for _, name := range []string{p.DisplayName, p.Username, p.ID} {
		if name != "" {
			out.DisplayName = name
			break
		}
	}
	if idToken == "" || out.Email != "" && out.Picture != "" && out.DisplayName != "" {
		return out, nil
	}
	claims, err := claimsOf(idToken)
	if err != nil {
		return out, err
	}
	if out.Email == "" && !p.EmailUnverified && claims.EmailVerified != false && claims.EmailVerified != "false" {
		out.Email = claims.Email
	}
	if out.Picture == "" {
		out.Picture = claims.Picture
	}
	if out.DisplayName == "" {
		out.DisplayName = claims.Name
	}
	return out, nil
}

// Text returns a member of Claims that is a text or a whole number, else "".
func (p Person) Text(name string) string {
	switch v := p.Claims[name].(type) {
	case string:
		return v
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return ""
}

// Verified reads a claim such as email_verified, which some identity
// providers write as a text. An absent one is not verified.
func Verified(claim any) bool { return claim == true || claim == "true" }

type idClaims struct {
	Email         string `json:"email"`
	EmailVerified any    `json:"email_verified"`
	Picture       string `json:"picture"`
	Name          string `json:"name"`
}

// claimsOf reads an ID token that came from the token endpoint itself, so
// that TLS tells who made it (OpenID Connect Core 1.0 §3.1.3.7, number 6).
func claimsOf(idToken string) (c idClaims, err error) {
	if err := UnverifiedClaims(idToken, &c); err != nil {
		return c, apierr.Authentication("The identity provider sent an ID token that cannot be read: %v", err)
	}
	return c, nil
}

// UnverifiedClaims stores the claims of a JSON Web Token in what into points
// to. It does not look at the signature: the token must come from where only
// who is to be trusted can put it.
func UnverifiedClaims(token string, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return fmt.Errorf("it has %d parts instead of 3", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return fmt.Errorf("its payload is not base64url")
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("its payload is not what it should be in JSON")
	}
	return nil
}

// ByUsername is the resolver usernameMatchingUserEntityName: the user in the
// default namespace with the name that the user has at the identity provider.
func ByUsername() authnode.SignInResolverFactory[oauth.Result[Person]] {
	return authnode.ByName(func(i authnode.SignInInfo[oauth.Result[Person]]) (string, error) {
		return i.Result.User.SignInName()
	})
}

// SignInName returns the username; that there is none is an error.
func (p Person) SignInName() (string, error) {
	if p.Username == "" {
		return "", apierr.New(apierr.KindError, "Login failed, user profile does not contain a username")
	}
	return p.Username, nil
}

// ByEmail returns a resolver emailMatchingUserEntityAnnotation: the user whose
// annotation is the address of the profile.
func ByEmail(annotation string) authnode.SignInResolverFactory[oauth.Result[Person]] {
	return authnode.ByAnnotation(func(i authnode.SignInInfo[oauth.Result[Person]]) (authnode.Annotation, error) {
		email := i.Profile.Email
		if email == "" {
			return authnode.Annotation{}, apierr.New(apierr.KindError, "Login failed, user profile does not contain an email")
		}
		return authnode.Annotation{Name: annotation, Value: email, Fallback: email}, nil
	})
}
