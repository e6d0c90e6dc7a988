package authmoduleoidcprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/flytower/flytower/apierr"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

// metadataLife is how long the metadata of a server is used. It outlives that
// where the server does not answer.
const metadataLife = time.Hour

// metadata is what a server says about itself (OpenID Connect Discovery 1.0
// §3), and what is made of it.
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	KeysURL               string   `json:"jwks_uri"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	NamesIssuer           bool     `json:"authorization_response_iss_parameter_supported"`

	client   *authcode.Client
	verifier *oidc.IDTokenVerifier
}

// metadata returns what is known about the server, and asks it where that is
// nothing, or old.
func (s *server) metadata(ctx context.Context) (*metadata, error) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := s.now()
	if s.known != nil && now.Sub(s.knownAt) < metadataLife {
		return s.known, nil
	}
	m, err := s.discover(ctx)
	switch {
	case err == nil:
		s.known, s.knownAt = m, now
	case s.known != nil:
		s.log.WarnContext(ctx, "the identity provider does not tell its metadata; that of before is used", "error", err)
		s.knownAt = now.Add(time.Minute - metadataLife) // try again in a minute
	default:
		s.log.WarnContext(ctx, "the identity provider does not tell its metadata", "error", err)
		return nil, apierr.ServiceUnavailable("The identity provider does not tell its metadata; the log of the backend says why")
	}
	return s.known, nil
}

func (s *server) discover(ctx context.Context) (*metadata, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metadataURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &authcode.StatusError{URL: s.metadataURL, Status: resp.StatusCode}
	}
	m := &metadata{}
	if err := json.NewDecoder(resp.Body).Decode(m); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.metadataURL, err)
	}
	if err := m.check(s.metadataURL); err != nil {
		return nil, fmt.Errorf("%s: %w", s.metadataURL, err)
	}
	if base, _, _ := strings.Cut(s.metadataURL, "/.well-known/"); strings.TrimRight(m.Issuer, "/") != base {
		s.log.InfoContext(ctx, "the issuer is not where its metadata is; that is right where the server has several addresses or tenants",
			"issuer", m.Issuer, "metadata", s.metadataURL)
	}
	client := *s.client
	client.Config.Endpoint.AuthURL, client.Config.Endpoint.TokenURL = m.AuthorizationEndpoint, m.TokenEndpoint
	client.PKCE = m.ChallengeMethods == nil || slices.Contains(m.ChallengeMethods, "S256")
	m.client = &client
	// The keys are fetched when they are needed, whoever needs them.
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), s.client.HTTP), m.KeysURL)
	m.verifier = oidc.NewVerifier(m.Issuer, keys, &oidc.Config{
		ClientID: client.Config.ClientID, SupportedSigningAlgs: []string{s.algorithm}, Now: s.now,
	})
	return m, nil
}

// check refuses metadata with which nobody can sign in safely.
func (m *metadata) check(source string) error {
	if m.Issuer == "" {
		return fmt.Errorf("there is no issuer")
	}
	for _, e := range []struct {
		name, url string
		optional  bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, false},
		{"token_endpoint", m.TokenEndpoint, false},
		{"userinfo_endpoint", m.UserInfoEndpoint, false},
		{"jwks_uri", m.KeysURL, false},
		{"revocation_endpoint", m.RevocationEndpoint, true},
	} {
		switch _, ok := authnode.OriginOf(e.url); {
		case e.url == "" && e.optional:
		case e.url == "":
			return fmt.Errorf("there is no %s", e.name)
		case !ok:
			return fmt.Errorf("the %s is no http or https URL", e.name)
		case strings.HasPrefix(source, "https:") && !strings.HasPrefix(strings.ToLower(e.url), "https:"):
			return fmt.Errorf("the %s is not secured by TLS, although the metadata is", e.name)
		}
	}
	return nil
}
