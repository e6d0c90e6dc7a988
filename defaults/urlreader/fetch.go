package urlreader

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/glob"
	"github.com/flytower/flytower/defaults/urlreader/internal/reading"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/hostclient"
)

// fetch reads what backend.reading.allow opens, as it is.
type fetch struct {
	common
	rules *reading.Rules
}

// Read follows redirects as long as every target is open, too.
func (f *fetch) Read(ctx context.Context, u *url.URL, o core.ReadOptions) (core.ReadResult, error) {
	token, at := o.Token, u
	for hop := 0; ; hop++ {
		h := http.Header{}
		if !token.IsZero() {
			h.Set("Authorization", "Bearer "+token.Reveal())
		}
		conditional(h, o)
		a, err := f.client.Get(ctx, hostclient.Request{
			URL: at.String(), Header: h, Credential: hostclient.CredentialID(token.Reveal()),
			Interactive: o.Interactive, MaxBytes: o.MaxBytes, NoRedirects: true,
		})
		if err != nil {
			return core.ReadResult{}, fmt.Errorf("reading %s: %w", integration.Redact(u.String()), err)
		}
		switch a.Status {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return result(a, u)
		}
		if hop >= hostclient.MaxRedirects {
			return core.ReadResult{}, apierr.New(apierr.KindError, "%s redirects more than %d times", integration.Redact(u.String()), hostclient.MaxRedirects)
		}
		next, err := f.follow(at, a.Header.Get("Location"))
		if err != nil {
			return core.ReadResult{}, fmt.Errorf("reading %s: %w", integration.Redact(u.String()), err)
		}
		if next.Host != at.Host || next.Scheme != at.Scheme {
			token = core.Token{} // meant for the first host only
		}
		at = next
	}
}

// follow returns the target of a redirect if it is open.
func (f *fetch) follow(at *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, apierr.New(apierr.KindError, "%s redirects to nowhere", at.Host)
	}
	next, err := integration.ParseURL(at.ResolveReference(ref).String())
	if err != nil {
		return nil, apierr.NotAllowed("%s redirects to a URL that is refused: %w", at.Host, err)
	}
	if at.Scheme == "https" && next.Scheme != "https" {
		return nil, apierr.NotAllowed("%s redirects to %s, which is not encrypted", at.Host, integration.Redact(next.String()))
	}
	if !f.rules.Allows(next) {
		return nil, apierr.NotAllowed("it redirects to %s, which is not allowed; add its host to %s", integration.Redact(next.String()), reading.Key)
	}
	return next, nil
}

// ReadTree fails: a plain address has no trees.
func (*fetch) ReadTree(_ context.Context, u *url.URL, _ core.TreeOptions) (core.TreeResult, error) {
	return nil, apierr.NotImplemented("%s cannot be read as a tree: configure an integration for its host", integration.Redact(u.String()))
}

// Search finds the one file; a plain address cannot be listed.
func (f *fetch) Search(ctx context.Context, u *url.URL, o core.ReadOptions) (core.SearchResult, error) {
	if glob.IsPattern(u.Path) {
		return core.SearchResult{}, apierr.NotImplemented("%s cannot be searched: configure an integration for its host, or name one file", integration.Redact(u.String()))
	}
	return searchOne(ctx, f, u, o)
}
