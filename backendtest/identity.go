package backendtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/httpauth"
)

// The mock tokens. They are the same for all backends of the family, so that
// their tests can be run against each other: the word alone, or with a colon
// and a JSON object. Those that begin with mock-invalid- are refused.
const (
	userToken    = "mock-user-token"
	limitedToken = "mock-limited-user-token"
	serviceToken = "mock-service-token"
	noneToken    = "mock-none-token"

	defaultUser    = "user:default/mock"
	defaultService = "external:test-service"
)

// Identity is who a test acts as.
type Identity struct {
	token  string
	cookie bool
}

// User is a signed-in user, for example "user:default/jane"; "" stands for
// "user:default/mock".
func User(ref string) Identity {
	if ref == "" {
		return Identity{token: userToken}
	}
	return Identity{token: userToken + ":" + encode(userClaims{Sub: ref})}
}

// UserThrough is a user for whom a service acts, for example
// "plugin:scaffolder".
func UserThrough(ref, service string) Identity {
	return Identity{token: userToken + ":" + encode(userClaims{Sub: ref, Actor: &actorClaim{service}})}
}

// Cookie is a signed-in user whose browser sends the cookie, as it does for
// images and scripts.
func Cookie(ref string) Identity {
	if ref == "" {
		ref = defaultUser
	}
	return Identity{token: limitedToken + ":" + encode(userClaims{Sub: ref}), cookie: true}
}

// Caller is a service, for example "plugin:search" or "external:ci"; ""
// stands for "external:test-service".
func Caller(subject string) Identity {
	if subject == "" {
		return Identity{token: serviceToken}
	}
	return Identity{token: serviceToken + ":" + encode(serviceClaims{Sub: subject})}
}

// Token is whoever the token says, for tests with an auth service of their
// own, or with tokens that are refused.
func Token(text string) Identity { return Identity{token: text} }

// Nobody sends no credentials.
func Nobody() Identity { return Identity{} }

// Credentials returns what services get for the identity. It panics if that
// is a [Token] that the mock services refuse.
func (i Identity) Credentials() core.Credentials {
	if i.token == "" {
		return core.NoCredentials()
	}
	c, err := authenticate(i.token, "", true)
	if err != nil {
		panic("backendtest: the token does not stand for credentials: " + err.Error())
	}
	return c
}

// apply puts the credentials in a request. explicit says so also for nobody.
func (i Identity) apply(h http.Header, explicit bool) {
	switch {
	case i.cookie:
		h.Add("Cookie", httpauth.CookieName+"="+url.PathEscape(i.token))
	case i.token != "":
		h.Set("Authorization", "Bearer "+i.token)
	case explicit:
		h.Set("Authorization", "Bearer "+noneToken)
	}
}

type userClaims struct {
	Sub   string      `json:"sub"`
	Actor *actorClaim `json:"actor,omitempty"`
}

type actorClaim struct {
	Subject string `json:"subject"`
}

type serviceClaims struct {
	Sub    string `json:"sub,omitempty"`
	OBO    string `json:"obo,omitempty"`
	Target string `json:"target,omitempty"`
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings encode
	}
	return string(text)
}

// authenticate returns the credentials of a mock token. An empty plugin
// accepts tokens for all targets.
func authenticate(token, plugin string, allowLimited bool) (core.Credentials, error) {
	kind, text, claims := strings.Cut(token, ":")
	decode := func(into any) error {
		if !claims {
			return nil
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return apierr.Authentication("the claims of the %s are not a JSON object with the right members: %v", kind, err)
		}
		return nil
	}
	switch kind {
	case userToken, limitedToken:
		c := userClaims{Sub: defaultUser}
		if err := decode(&c); err != nil {
			return core.Credentials{}, err
		}
		limited := kind == limitedToken
		if limited && !allowLimited {
			return core.Credentials{}, apierr.Authentication("a limited user token is not accepted here")
		}
		if limited && !claims {
			return core.Credentials{}, apierr.Authentication("a limited user token needs claims: %s:{\"sub\":…}", limitedToken)
		}
		return userCredentials(c, token, limited)
	case serviceToken:
		c := serviceClaims{}
		if err := decode(&c); err != nil {
			return core.Credentials{}, err
		}
		if c.Target != "" && plugin != "" && c.Target != plugin {
			return core.Credentials{}, apierr.Authentication("the token is for the plugin %q, and was sent to %q", c.Target, plugin)
		}
		if c.OBO != "" {
			u := userClaims{Sub: c.OBO}
			if c.Sub != "" {
				u.Actor = &actorClaim{c.Sub}
			}
			return userCredentials(u, token, false)
		}
		if c.Sub == "" {
			c.Sub = defaultService
		}
		return core.ServiceCredentials(c.Sub, core.NewToken(token), nil, nil), nil
	case noneToken:
		return core.NoCredentials(), nil
	}
	return core.Credentials{}, apierr.Authentication("%q is not a mock token; use backendtest.User, Caller, Cookie or Nobody", kind)
}

func userCredentials(c userClaims, token string, limited bool) (core.Credentials, error) {
	kind, rest, _ := strings.Cut(c.Sub, ":")
	namespace, name, ok := strings.Cut(rest, "/")
	if !ok || kind == "" || namespace == "" || name == "" {
		return core.Credentials{}, apierr.Authentication("%q is not an entity ref such as user:default/jane", c.Sub)
	}
	actor := ""
	if c.Actor != nil {
		actor = c.Actor.Subject
	}
	// The mock credentials do not expire.
	return core.UserCredentials(c.Sub, actor, core.NewToken(token), noExpiry, limited), nil
}
