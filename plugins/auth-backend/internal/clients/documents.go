package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/egress"
	"github.com/flytower/flytower/internal/flight"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
)

// Documents are the clients whose id is the address of a document that
// describes them. What is fetched is guarded: public addresses only, unless
// the configuration names the very address, no redirects, and limits of size
// and time.
type Documents struct {
	options DocumentOptions
	public  *http.Client
	named   *http.Client
	cache   *flight.Cache[string, result]
}

// DocumentOptions are what [NewDocuments] needs.
type DocumentOptions struct {
	// IDs are the addresses that may be ids.
	IDs redirects.Patterns
	// Redirects are the addresses to which answers may go.
	Redirects redirects.Patterns
	// Own is the client that this backend describes itself.
	Own Client
	// Development lets documents be on the machine of the developer, without
	// TLS.
	Development bool
	// Transport, if not nil, is used instead of the guarded one.
	Transport http.RoundTripper
	// Log says why a document was not fetched, which clients are not told: it
	// is about the network of the backend.
	Log *slog.Logger
	Now func() time.Time
}

const (
	documentTimeout = 10 * time.Second
	maxDocument     = 64 << 10 // bytes
	maxID           = 255      // bytes, what the database takes
	cached          = time.Minute
	maxCached       = 500
)

// result is what was found at an address, also where that is nothing good, so
// that a client that is asked for again and again is fetched once.
type result struct {
	client *Client
	err    error
}

// NewDocuments returns the clients that the options describe.
func NewDocuments(o DocumentOptions) *Documents {
	d := &Documents{options: o, cache: flight.NewCache[string, result](maxCached, cached, o.Now)}
	client := func(trusted func(string) bool) *http.Client {
		transport := o.Transport
		if transport == nil {
			transport = egress.New(egress.Options{Trusted: trusted, DialTimeout: documentTimeout}).Transport()
		}
		return &http.Client{
			Transport: transport, Timeout: documentTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	d.public = client(func(string) bool { return false })
	d.named = client(func(string) bool { return true })
	return d
}

// Close closes idle connections.
func (d *Documents) Close() {
	d.public.CloseIdleConnections()
	d.named.CloseIdleConnections()
}

// check returns why an id cannot be one.
func (d *Documents) check(id string) error {
	if id == d.options.Own.ID {
		return nil
	}
	if len(id) > maxID {
		return apierr.Input("Invalid client_id: it is longer than %d bytes", maxID)
	}
	u, err := url.Parse(id)
	if err != nil || redirects.Check(id) != nil {
		return apierr.Input("Invalid client_id")
	}
	host := u.Hostname()
	local := host == "localhost" || host == "127.0.0.1"
	switch path := u.EscapedPath(); {
	case u.Scheme != "https" && !(u.Scheme == "http" && local && d.options.Development),
		path == "", path == "/", u.RawQuery != "", u.ForceQuery,
		strings.Contains(strings.ToLower(strings.ReplaceAll(path, "%2E", "."))+"/", "/./"),
		strings.Contains(strings.ReplaceAll(strings.ToLower(path), "%2e", ".")+"/", "/../"):
		return apierr.Input("Invalid client_id")
	}
	if _, ok := d.options.IDs.Find(id); !ok {
		return apierr.Input("Invalid client_id '%s'", id)
	}
	return nil
}

// find returns the client that the document at the address describes.
func (d *Documents) find(ctx context.Context, id string) (*Client, error) {
	if id == d.options.Own.ID {
		own := d.options.Own
		own.allowed = d.options.Redirects
		return &own, nil
	}
	if err := d.check(id); err != nil {
		return nil, err
	}
	r, err := d.cache.Get(ctx, id, func(ctx context.Context) (result, error) {
		c, err := d.fetch(ctx, id)
		if ctx.Err() != nil {
			return result{}, ctx.Err()
		}
		return result{c, err}, nil
	})
	if err != nil {
		return nil, err
	}
	return r.client, r.err
}

func (d *Documents) fetch(ctx context.Context, id string) (*Client, error) {
	client := d.public
	if p, ok := d.options.IDs.Find(id); ok && (p.Exact() || d.options.Development && redirects.IsLoopback(id)) {
		client = d.named
	}
	bad := func(err error) error {
		d.options.Log.WarnContext(ctx, "the metadata document of a client was not fetched", "clientId", id, "error", err)
		return apierr.Input("Invalid client_id: its metadata document was not fetched")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, id, nil)
	if err != nil {
		return nil, bad(err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, bad(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, bad(fmt.Errorf("the answer has the status %d", resp.StatusCode))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, bad(err)
	}
	if len(raw) > maxDocument {
		return nil, bad(fmt.Errorf("it is longer than %d bytes", maxDocument))
	}
	c, err := parseDocument(id, raw)
	if err != nil {
		return nil, apierr.Input("Invalid client_id: its metadata document cannot be used: %v", err)
	}
	c.allowed = d.options.Redirects
	return c, nil
}

// parseDocument reads a client id metadata document.
func parseDocument(id string, raw []byte) (*Client, error) {
	var doc struct {
		ID           string          `json:"client_id"`
		Name         string          `json:"client_name"`
		RedirectURIs []string        `json:"redirect_uris"`
		Secret       json.RawMessage `json:"client_secret"`
		AuthMethod   string          `json:"token_endpoint_auth_method"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, errors.New("it is not the JSON of a client")
	}
	switch {
	case doc.ID != id:
		return nil, errors.New("it describes another client_id")
	case doc.Secret != nil:
		return nil, errors.New("it has a client_secret, which is none where everybody can read it")
	case strings.HasPrefix(doc.AuthMethod, "client_secret_"):
		return nil, errors.New("it asks for an authentication with a secret")
	case len(doc.RedirectURIs) == 0:
		return nil, errors.New("it has no redirect_uris")
	case len(doc.RedirectURIs) > maxRedirectURIs:
		return nil, fmt.Errorf("it has more than %d redirect_uris", maxRedirectURIs)
	}
	for _, uri := range doc.RedirectURIs {
		if err := redirects.Check(uri); err != nil {
			return nil, fmt.Errorf("a redirect_uri is malformed: %w", err)
		}
	}
	c := &Client{ID: id, Name: cleanName(doc.Name), RedirectURIs: doc.RedirectURIs, Verified: true, Public: true}
	if c.Name == "" {
		c.Name = id
	}
	return c, nil
}
