// Package githubapp gets credentials for GitHub: tokens of the installations
// of GitHub Apps, with the configured token, and then none, as fallback.
//
//	source := githubapp.New(githubapp.Options{Integration: gh, Client: client})
//	c, err := source.Credentials(ctx, "acme", "shop")
//	req.Header = c.Header()
//
// For an owner, the apps are asked in the order of the configuration. An app
// counts if its installation for the owner is allowed and has the repository.
// If none does, an app with public access gives the token of any of its
// installations, which is enough for public repositories.
//
// Installations are remembered for 10 minutes and looked up again after a
// miss, at most once a minute; tokens until 10 minutes before they expire.
package githubapp

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/hostclient"
)

const (
	installationsFor = 10 * time.Minute // how long the list is believed
	missesEvery      = time.Minute      // least time between look-ups for misses
	expiryMargin     = 10 * time.Minute
	pageSize         = 100
	maxPages         = 100 // bounds lists that never end
)

// Credential is what a request to GitHub is sent with.
type Credential struct {
	// Token is zero for anonymous access.
	Token core.Token
	// ID names the credential for rate limits; it does not change when a
	// token is renewed, and is no secret.
	ID string
	// ExpiresAt is zero for what does not expire.
	ExpiresAt time.Time
}

// Static returns a credential with a token that is there already.
func Static(token core.Token) Credential {
	return Credential{Token: token, ID: hostclient.CredentialID(token.Reveal())}
}

// Header returns the headers that carry the credential.
func (c Credential) Header() http.Header {
	h := http.Header{}
	if !c.Token.IsZero() {
		h.Set("Authorization", "Bearer "+c.Token.Reveal())
	}
	return h
}

// Options configure a [Source].
type Options struct {
	Integration integration.GitHub
	Client      *hostclient.Client
	// Now replaces the clock in tests.
	Now func() time.Time
}

// Source gets credentials for one host. It is safe for concurrent use.
type Source struct {
	integration integration.GitHub
	apps        []*app
}

// New returns the source for a host.
func New(o Options) *Source {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Source{integration: o.Integration}
	for _, a := range o.Integration.Apps {
		s.apps = append(s.apps, &app{
			config: a, api: o.Integration.APIBaseURL, client: o.Client, now: o.Now, tokens: map[int64]*installationToken{},
		})
	}
	return s
}

// Credentials returns the credential for a repository; an empty repo is for
// the owner as a whole. Without apps and token it is anonymous.
func (s *Source) Credentials(ctx context.Context, owner, repo string) (Credential, error) {
	var failed error
	for _, a := range s.apps {
		c, err := a.credential(ctx, owner, repo)
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return Credential{}, err
		case apierr.KindOf(err) != apierr.KindNotFound && failed == nil:
			failed = err
		}
	}
	if failed != nil {
		// Falling back here would read with other rights than were meant, and
		// "not found" would follow from a host that did not answer.
		return Credential{}, failed
	}
	for _, a := range s.apps {
		if !a.config.PublicAccess {
			continue
		}
		c, err := a.anyCredential(ctx)
		if err == nil || apierr.KindOf(err) != apierr.KindNotFound {
			return c, err
		}
	}
	if s.integration.Token.IsZero() {
		return Credential{}, nil
	}
	return Static(s.integration.Token), nil
}

// app is one GitHub App.
type app struct {
	config integration.GitHubApp
	api    string
	client *hostclient.Client
	now    func() time.Time

	lists  hostclient.Flights[[]installation]
	renews hostclient.Flights[*installationToken]

	mu            sync.Mutex
	installations []installation
	listedAt      time.Time
	tokens        map[int64]*installationToken
	signer        jose.Signer
}

type installation struct {
	ID      int64 `json:"id"`
	Account struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"account"`
	SuspendedAt string `json:"suspended_at"`
	Selection   string `json:"repository_selection"`
}

type installationToken struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
	Selection string    `json:"repository_selection"`

	repositories []string // names in lower case; of selected repositories only
	listedAt     time.Time
}

func (a *app) credential(ctx context.Context, owner, repo string) (Credential, error) {
	owner = strings.ToLower(owner)
	if allowed := a.config.AllowedInstallationOwners; allowed != nil && !slices.Contains(allowed, owner) {
		return Credential{}, a.none(owner)
	}
	in, err := a.installation(ctx, owner)
	if err != nil {
		return Credential{}, err
	}
	if in.SuspendedAt != "" {
		return Credential{}, fmt.Errorf("the installation of GitHub App %d for %s is suspended; resume it in the settings of %s", a.config.AppID, owner, owner)
	}
	t, err := a.token(ctx, in, repo)
	if err != nil {
		return Credential{}, err
	}
	if repo != "" && t.Selection == "selected" && !slices.Contains(t.repositories, strings.ToLower(repo)) {
		return Credential{}, apierr.NotFound("the installation of GitHub App %d for %s does not include the repository %s", a.config.AppID, owner, repo)
	}
	return a.with(in, t), nil
}

// anyCredential returns the token of any usable installation.
func (a *app) anyCredential(ctx context.Context) (Credential, error) {
	list, err := a.list(ctx, installationsFor)
	if err != nil {
		return Credential{}, err
	}
	for _, in := range list {
		if in.SuspendedAt != "" || !a.allows(in) {
			continue
		}
		t, err := a.token(ctx, in, "")
		if err != nil {
			return Credential{}, err
		}
		return a.with(in, t), nil
	}
	return Credential{}, a.none("any owner")
}

func (a *app) allows(in installation) bool {
	allowed := a.config.AllowedInstallationOwners
	return allowed == nil || slices.Contains(allowed, strings.ToLower(in.Account.Login))
}

func (a *app) with(in installation, t *installationToken) Credential {
	return Credential{
		Token: core.NewToken(t.Token), ExpiresAt: t.ExpiresAt,
		ID: fmt.Sprintf("app-%d-%d", a.config.AppID, in.ID),
	}
}

func (a *app) none(owner string) error {
	return apierr.NotFound("GitHub App %d has no installation for %s", a.config.AppID, owner)
}

func (a *app) installation(ctx context.Context, owner string) (installation, error) {
	for _, age := range []time.Duration{installationsFor, missesEvery} {
		list, err := a.list(ctx, age)
		if err != nil {
			return installation{}, err
		}
		for _, in := range list {
			if strings.EqualFold(in.Account.Login, owner) {
				return in, nil
			}
		}
	}
	return installation{}, a.none(owner)
}

// list returns the installations, no older than age.
func (a *app) list(ctx context.Context, age time.Duration) ([]installation, error) {
	a.mu.Lock()
	list, at := a.installations, a.listedAt
	a.mu.Unlock()
	if !at.IsZero() && a.now().Sub(at) < age {
		return list, nil
	}
	list, _, err := a.lists.Do(ctx, "", func(ctx context.Context) ([]installation, error) {
		bearer, err := a.assertion()
		if err != nil {
			return nil, err
		}
		var all []installation
		err = a.pages(ctx, "/app/installations", bearer, a.id(), func(body []byte) (int, error) {
			var page []installation
			if err := json.Unmarshal(body, &page); err != nil {
				return 0, err
			}
			all = append(all, page...)
			return len(page), nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing the installations of GitHub App %d: %w", a.config.AppID, err)
		}
		a.mu.Lock()
		a.installations, a.listedAt = all, a.now()
		a.mu.Unlock()
		return all, nil
	})
	return list, err
}

func (a *app) id() string { return "app-" + strconv.FormatInt(a.config.AppID, 10) }

// token returns a token of the installation that is good for 10 minutes more.
// A repository that its list does not have makes it read the list again.
func (a *app) token(ctx context.Context, in installation, repo string) (*installationToken, error) {
	a.mu.Lock()
	t := a.tokens[in.ID]
	a.mu.Unlock()
	if a.fresh(t, repo) {
		return t, nil
	}
	t, _, err := a.renews.Do(ctx, strconv.FormatInt(in.ID, 10), func(ctx context.Context) (*installationToken, error) {
		t, err := a.renew(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("getting a token of GitHub App %d for %s: %w", a.config.AppID, in.Account.Login, err)
		}
		a.mu.Lock()
		a.tokens[in.ID] = t
		a.mu.Unlock()
		return t, nil
	})
	return t, err
}

func (a *app) fresh(t *installationToken, repo string) bool {
	now := a.now()
	if t == nil || t.ExpiresAt.Sub(now) <= expiryMargin {
		return false
	}
	missing := repo != "" && t.Selection == "selected" && !slices.Contains(t.repositories, strings.ToLower(repo))
	return !missing || now.Sub(t.listedAt) < missesEvery
}

func (a *app) renew(ctx context.Context, in installation) (*installationToken, error) {
	bearer, err := a.assertion()
	if err != nil {
		return nil, err
	}
	answer, err := a.client.Get(ctx, hostclient.Request{
		Method:     http.MethodPost,
		URL:        fmt.Sprintf("%s/app/installations/%d/access_tokens", a.api, in.ID),
		Header:     headers(bearer),
		Credential: a.id(),
	})
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusCreated {
		return nil, fmt.Errorf("the host answered with status %d", answer.Status)
	}
	t := &installationToken{listedAt: a.now()}
	if err := json.Unmarshal(answer.Body, t); err != nil {
		return nil, fmt.Errorf("the answer is malformed: %w", err)
	}
	if t.Token == "" {
		return nil, errors.New("the answer has no token")
	}
	if t.Selection == "" {
		t.Selection = in.Selection
	}
	if t.Selection != "selected" {
		return t, nil
	}
	err = a.pages(ctx, "/installation/repositories", t.Token, a.id()+"-"+strconv.FormatInt(in.ID, 10), func(body []byte) (int, error) {
		var page struct {
			Repositories []struct {
				Name string `json:"name"`
			} `json:"repositories"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		for _, r := range page.Repositories {
			t.repositories = append(t.repositories, strings.ToLower(r.Name))
		}
		return len(page.Repositories), nil
	})
	return t, err
}

// pages reads a list page by page until one is not full.
func (a *app) pages(ctx context.Context, path, bearer, id string, add func(body []byte) (int, error)) error {
	for page := 1; page <= maxPages; page++ {
		q := url.Values{"per_page": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(page)}}
		answer, err := a.client.Get(ctx, hostclient.Request{
			URL: a.api + path + "?" + q.Encode(), Header: headers(bearer), Credential: id,
		})
		if err != nil {
			return err
		}
		if answer.Status != http.StatusOK {
			return fmt.Errorf("the host answered %s with status %d; check appId and privateKey", path, answer.Status)
		}
		n, err := add(answer.Body)
		if err != nil {
			return fmt.Errorf("the answer to %s is malformed: %w", path, err)
		}
		if n < pageSize {
			return nil
		}
	}
	return fmt.Errorf("the list at %s has more than %d pages", path, maxPages)
}

func headers(bearer string) http.Header {
	return http.Header{"Authorization": {"Bearer " + bearer}, "Accept": {"application/vnd.github+json"}}
}

// assertion returns the JWT by which the app itself speaks.
func (a *app) assertion() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.signer == nil {
		key, err := parseKey(a.config.PrivateKey.Reveal())
		if err != nil {
			return "", fmt.Errorf("the privateKey of GitHub App %d: %w", a.config.AppID, err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			return "", fmt.Errorf("the privateKey of GitHub App %d: %w", a.config.AppID, err)
		}
		a.signer = signer
	}
	now := a.now()
	token, err := jwt.Signed(a.signer).Claims(jwt.Claims{
		Issuer: strconv.FormatInt(a.config.AppID, 10),
		// A minute in the past for clocks that differ; GitHub allows 10 minutes.
		IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)),
		Expiry:   jwt.NewNumericDate(now.Add(8 * time.Minute)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing as GitHub App %d: %w", a.config.AppID, err)
	}
	return token, nil
}

// parseKey reads an RSA key in PEM, as PKCS #1 or PKCS #8. Errors do not quote
// the key.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is not PEM; it starts with -----BEGIN RSA PRIVATE KEY-----")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is PEM, but no RSA key in it can be read")
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("is a %T, want an RSA key", key)
	}
	return rsaKey, nil
}
