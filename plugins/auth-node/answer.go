package authnode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
)

// Answer is what the frontend gets of a sign-in.
type Answer struct {
	Profile Profile
	// ProviderInfo is what the provider hands out for calls of its own API; a
	// JSON value, nil where there is nothing.
	ProviderInfo any
	// SignIn is nil where the provider signs nobody in.
	SignIn *SignInResult
}

// wireAnswer is an [Answer] on the wire.
type wireAnswer struct {
	Profile           Profile       `json:"profile"`
	ProviderInfo      any           `json:"providerInfo,omitempty"`
	BackstageIdentity *wireIdentity `json:"backstageIdentity,omitempty"`
}

type wireIdentity struct {
	Token    string `json:"token"`
	Identity struct {
		Type                string   `json:"type"`
		UserEntityRef       string   `json:"userEntityRef"`
		OwnershipEntityRefs []string `json:"ownershipEntityRefs"`
	} `json:"identity"`
	ExpiresInSeconds *int64 `json:"expiresInSeconds,omitempty"`
}

// Encode returns the answer as JSON. now is what the life that the token has
// left is counted from.
func (a Answer) Encode(now time.Time) (json.RawMessage, error) {
	out := wireAnswer{Profile: a.Profile, ProviderInfo: a.ProviderInfo}
	if a.SignIn != nil {
		var err error
		if out.BackstageIdentity, err = a.SignIn.wire(now); err != nil {
			return nil, err
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("encoding the answer to a sign-in: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Write sends the answer; see Encode.
func (a Answer) Write(w http.ResponseWriter, now time.Time) error {
	text, err := a.Encode(now)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, text)
	return nil
}

func (r SignInResult) wire(now time.Time) (*wireIdentity, error) {
	if r.Token.IsZero() {
		return nil, apierr.Input("Identity response must return a token")
	}
	claims, err := unverifiedClaims(r.Token.Reveal())
	if err != nil || claims.Sub == "" {
		return nil, apierr.Input("Identity response must return a token with subject claim")
	}
	out := &wireIdentity{Token: r.Token.Reveal()}
	out.Identity.Type = "user"
	out.Identity.UserEntityRef, out.Identity.OwnershipEntityRefs = r.UserEntityRef, r.OwnershipEntityRefs
	if r.UserEntityRef == "" {
		out.Identity.UserEntityRef, out.Identity.OwnershipEntityRefs = claims.Sub, claims.Ent
	}
	if out.Identity.OwnershipEntityRefs == nil {
		out.Identity.OwnershipEntityRefs = []string{}
	}
	if claims.Exp != 0 {
		left := int64(math.Round(claims.Exp - float64(now.UnixMilli())/1000))
		if left < 0 {
			return nil, apierr.Input("Identity response must not return an expired token")
		}
		out.ExpiresInSeconds = &left
	}
	return out, nil
}

// tokenClaims are those that the frontend is told.
type tokenClaims struct {
	Sub string   `json:"sub"`
	Ent []string `json:"ent"`
	Exp float64  `json:"exp"`
}

// unverifiedClaims reads a token that a resolver made, which is as good as
// the resolver.
func unverifiedClaims(token string) (c tokenClaims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("the token does not have three parts")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, errors.New("the payload of the token is not base64url")
	}
	return c, json.Unmarshal(raw, &c)
}
