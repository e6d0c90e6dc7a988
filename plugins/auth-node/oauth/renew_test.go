package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// strict takes a second use of a refresh token for theft. Its answers wait
// for open.
type strict struct {
	identityProvider
	open  chan struct{}
	began chan struct{}

	mu      sync.Mutex
	n       int
	ended   bool
	fail    error // after the token was replaced
	revoked string
}

func newStrict() *strict {
	s := &strict{open: make(chan struct{}), began: make(chan struct{}, 100)}
	close(s.open)
	return s
}

func (s *strict) Authenticate(context.Context, oauth.Callback) (oauth.Result[string], error) {
	return oauth.Result[string]{User: "jane", Session: oauth.Session{AccessToken: "a", RefreshToken: "r0"}}, nil
}

func (s *strict) Refresh(ctx context.Context, r oauth.RefreshRequest) (oauth.Result[string], error) {
	s.began <- struct{}{}
	s.mu.Lock()
	open := s.open
	s.mu.Unlock()
	<-open
	if err := ctx.Err(); err != nil {
		return oauth.Result[string]{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || r.RefreshToken != fmt.Sprintf("r%d", s.n) {
		s.ended = true
		return oauth.Result[string]{}, apierr.Authentication("the token was used")
	}
	s.n++
	session := oauth.Session{AccessToken: fmt.Sprintf("a%d", s.n), RefreshToken: fmt.Sprintf("r%d", s.n), Scope: r.Scope, ExpiresIn: time.Hour}
	return oauth.Result[string]{User: "jane", Session: session}, s.fail
}

func (s *strict) Revoke(_ context.Context, token string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = token
	return "", nil
}

func strictPortal(t *testing.T, idp *strict, now *atomic.Int64) *portal {
	t.Helper()
	p := newPortal(t, &idp.identityProvider, "", func(p *oauth.Provider[string]) {
		p.Initialize = func(context.Context, oauth.Options) (oauth.Authenticator[string], error) { return idp, nil }
		p.Now = func() time.Time { return time.Unix(1_900_000_000+now.Load(), 0) }
	})
	encoded, _, _ := p.start(t, "env=dev")
	p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
	return p
}

// stale refreshes with a cookie that the browser has replaced since.
func (p *portal) stale(t *testing.T, token, query string) (*http.Response, string) {
	t.Helper()
	other := &portal{url: p.url, browser: &http.Client{Transport: p.browser.Transport}}
	return other.send(t, http.MethodGet, "/refresh?env=dev"+query, xhr, "XMLHttpRequest", "Cookie", "corp-refresh-token="+token)
}

func TestOneRefreshAtATime(t *testing.T) {
	t.Parallel()
	idp := newStrict()
	p := strictPortal(t, idp, &atomic.Int64{})
	idp.open = make(chan struct{})
	var wg sync.WaitGroup
	for i := range 20 {
		scope := fmt.Sprintf("&scope=s%d", i%2)
		wg.Go(func() {
			resp, body := p.stale(t, "r0", scope)
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, fmt.Sprintf("s%d ", i%2)) {
				t.Errorf("refresh %d: %d %s", i, resp.StatusCode, body)
			}
		})
	}
	<-idp.began
	close(idp.open)
	wg.Wait()
	if idp.n != 2 || idp.ended {
		t.Errorf("%d refreshes for two scopes, the session has ended: %t", idp.n, idp.ended)
	}
}

func TestReplacedTokenInTheGraceWindow(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	idp := newStrict()
	p := strictPortal(t, idp, &now)
	cookie := func(resp *http.Response) string {
		for _, c := range resp.Cookies() {
			if c.Name == "corp-refresh-token" {
				return c.Value
			}
		}
		return ""
	}
	p.stale(t, "r0", "")
	now.Store(20)
	resp, body := p.stale(t, "r0", "")
	if cookie(resp) != "r1" || !strings.Contains(body, `"accessToken":"a1"`) || !strings.Contains(body, `"expiresInSeconds":3580`) {
		t.Errorf("the old token: %v %s", resp.Cookies(), body)
	}
	if resp, body = p.stale(t, "r0", "&scope=more"); cookie(resp) != "r2" || !strings.Contains(body, `"accessToken":"a2"`) {
		t.Errorf("the old token and another scope: %v %s", resp.Cookies(), body)
	}
	// Whoever gets an old answer gets the newest token.
	if resp, body = p.stale(t, "r0", ""); cookie(resp) != "r2" || !strings.Contains(body, `"accessToken":"a1"`) || idp.n != 2 {
		t.Errorf("the old token once more: %v %s", resp.Cookies(), body)
	}
	// What comes later is theft, as far as anybody can tell.
	now.Store(100)
	if resp, body = p.stale(t, "r0", ""); resp.StatusCode != http.StatusUnauthorized || !idp.ended {
		t.Errorf("after the window: %d %s", resp.StatusCode, body)
	}
}

func TestLogoutEndsTheGraceWindow(t *testing.T) {
	t.Parallel()
	idp := newStrict()
	p := strictPortal(t, idp, &atomic.Int64{})
	p.stale(t, "r0", "")
	p.stale(t, "r1", "")
	resp, _ := (&portal{url: p.url, browser: &http.Client{}}).send(t, http.MethodPost, "/logout?env=dev", xhr, "XMLHttpRequest", "Cookie", "corp-refresh-token=r1")
	if resp.StatusCode != http.StatusOK || idp.revoked != "r2" {
		t.Errorf("logout: %d, revoked %q", resp.StatusCode, idp.revoked)
	}
	idp.ended = true
	for _, token := range []string{"r0", "r1"} {
		if resp, body := p.stale(t, token, ""); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s after the logout: %d %s", token, resp.StatusCode, body)
		}
	}
}

// The browser keeps the new token also where the refresh fails after it.
func TestTokenOfAFailedRefresh(t *testing.T) {
	t.Parallel()
	idp := newStrict()
	p := strictPortal(t, idp, &atomic.Int64{})
	idp.fail = errors.New("no profile")
	if resp, body := p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "profile") {
		t.Errorf("refresh: %d %s", resp.StatusCode, body)
	}
	idp.fail = nil
	if resp, body := p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusOK || idp.n != 2 {
		t.Errorf("refresh after that: %d %s", resp.StatusCode, body)
	}
	if resp, body := p.stale(t, "r0", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("refresh of another tab: %d %s", resp.StatusCode, body)
	}
}

// A browser that hangs up does not lose the session.
func TestRefreshOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	idp := newStrict()
	p := strictPortal(t, idp, &atomic.Int64{})
	idp.open = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/refresh?env=dev", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(xhr, "XMLHttpRequest")
	gone := make(chan error)
	go func() {
		resp, err := p.browser.Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		gone <- err
	}()
	<-idp.began
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(idp.open)
	if resp, body := p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusOK || idp.n != 1 {
		t.Errorf("refresh: %d %s after %d refreshes", resp.StatusCode, body, idp.n)
	}
}
