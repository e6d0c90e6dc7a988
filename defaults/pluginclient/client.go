package pluginclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// maxAnswer bounds what Call decodes, in bytes.
const maxAnswer = 256 << 20

var pluginID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// client is the client of a plugin.
type client struct {
	shared    *Shared
	discovery core.DiscoveryService
	tokens    *tokens
}

// New returns the client of the plugin whose auth and discovery services are
// given.
func New(shared *Shared, auth core.AuthService, discovery core.DiscoveryService) core.PluginClientService {
	return &client{shared: shared, discovery: discovery, tokens: newTokens(auth, shared.now)}
}

// Local implements [core.PluginClientService].
func (c *client) Local(plugin string) bool {
	_, ok := c.shared.handler(c.discovery, plugin)
	return ok
}

// Transport implements [core.PluginClientService].
func (c *client) Transport() http.RoundTripper { return (*transport)(c) }

// Do implements [core.PluginClientService].
func (c *client) Do(ctx context.Context, r core.PluginRequest) (*http.Response, error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("calling plugin %q: %w", r.Plugin, err)
	}
	return resp, nil
}

func (c *client) do(ctx context.Context, r core.PluginRequest) (*http.Response, error) {
	h, local := c.shared.handler(c.discovery, r.Plugin)
	req, base, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	if !r.As.IsNone() {
		token, err := c.tokens.get(ctx, r.As, r.Plugin, local)
		if err != nil {
			closeBody(req)
			return nil, err
		}
		if !token.IsZero() {
			req.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
	}
	c.shared.inject(req)
	if local {
		return c.shared.inMemory(req, h, base)
	}
	return c.shared.network.RoundTrip(req)
}

// request returns the request and the path of the plugin's base URL.
func (c *client) request(ctx context.Context, r core.PluginRequest) (req *http.Request, base string, err error) {
	if !pluginID.MatchString(r.Plugin) {
		return nil, "", errors.New("this is no plugin id")
	}
	if r.Path != "" && r.Path[0] != '/' {
		return nil, "", fmt.Errorf("the path %q does not begin with a slash", r.Path)
	}
	if strings.ContainsAny(r.Path, "?#") {
		return nil, "", fmt.Errorf("the path %q is not escaped, or has the query that belongs to the field Query", r.Path)
	}
	at, err := c.discovery.BaseURL(ctx, r.Plugin)
	if err != nil {
		return nil, "", err
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, "", fmt.Errorf("the base URL: %w", err)
	}
	base = u.EscapedPath()
	u.RawPath = base + r.Path
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, "", fmt.Errorf("the path %q: %w", r.Path, err)
	}
	// What a caller puts into a path must not lead out of the plugin.
	for segment := range strings.SplitSeq(r.Path, "/") {
		if plain, _ := url.PathUnescape(segment); plain == "." || plain == ".." {
			return nil, "", fmt.Errorf("the path %q has a dot segment", r.Path)
		}
	}
	u.RawQuery = r.Query.Encode()

	body, header := r.Body, r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if r.JSON != nil {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r.JSON); err != nil {
			return nil, "", fmt.Errorf("encoding the body: %w", err)
		}
		body = bytes.NewReader(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
		if header.Get("Content-Type") == "" {
			header.Set("Content-Type", "application/json")
		}
	}
	req, err = http.NewRequestWithContext(ctx, r.Method, "http://plugin/", body)
	if err != nil {
		return nil, "", err
	}
	req.URL, req.Host, req.Header = u, u.Host, header
	return req, base, nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// Call implements [core.PluginClientService].
func (c *client) Call(ctx context.Context, r core.PluginRequest, out any) error {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return apierr.FromResponse(resp)
	}
	body := &io.LimitedReader{R: resp.Body, N: maxAnswer + 1}
	if out != nil {
		err = json.NewDecoder(body).Decode(out)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, body) // so that the connection can be used again
	}
	switch {
	case body.N <= 0:
		return fmt.Errorf("plugin %q answered %s with more than %d bytes", r.Plugin, resp.Request.URL.Path, maxAnswer)
	case err != nil:
		return fmt.Errorf("reading the answer of plugin %q to %s: %w", r.Plugin, resp.Request.URL.Path, err)
	}
	return nil
}
