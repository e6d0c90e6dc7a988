package fakeidp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Settings describe an identity provider and the one client that it has.
type Settings struct {
	ClientID, ClientSecret string
	// Callback is where users are sent back, and nowhere else.
	Callback string
	// Header says that the client proves who it is in a header and not in the
	// form; Either takes both.
	Header, Either bool
	// Form answers the token endpoint as a form, as GitHub does.
	Form bool

	// The endpoints; one that is empty is not there.
	Authorize, Token, UserInfo, Revoke, Keys, Metadata string
	// UserInfoMethod is that of the user info endpoint; empty is GET.
	UserInfoMethod string
	// Pages are more addresses that need an access token, and what they answer.
	Pages map[string][]byte
	// Issuer is that of ID tokens; without, there are none.
	Issuer string

	// ExpiresIn is told with access tokens, if not zero.
	ExpiresIn time.Duration
	// RefreshTokens are given with a session; Rotate replaces them each time,
	// and ends the session if an old one comes again.
	RefreshTokens, Rotate bool
	// AccessToken returns the access token for a scope; nil gives opaque ones.
	AccessToken func(scope, id string) string
	// Extra is added to the metadata.
	Extra map[string]any
}

// User is who sits in front of the browser.
type User struct {
	Subject string
	// Claims are what the user info endpoint answers.
	Claims map[string]any
	// IDClaims are added to ID tokens.
	IDClaims map[string]any
}

// Server is an identity provider. It is safe for concurrent use.
type Server struct {
	settings Settings
	http     *httptest.Server
	rsa      *rsa.PrivateKey
	ec       *ecdsa.PrivateKey

	mu       sync.Mutex
	n        int
	user     User
	codes    map[string]*grant
	access   map[string]*grant
	refresh  map[string]*grant
	asked    []url.Values // requests for authorization
	forms    []url.Values // of the token endpoint
	revoked  []string
	counts   map[string]int
	failures map[string]*failure
	forge    Forgery
	deny     string
	gate     func(grantType string)
}

// grant is a session of a user.
type grant struct {
	user                       User
	scope, challenge, nonce    string
	used, ended                bool
	redirect, code, newRefresh string
}

type failure struct {
	status, left int
	body         string
}

// Forgery changes the ID tokens that the server makes.
type Forgery struct {
	// Claims changes the claims.
	Claims func(claims map[string]any)
	// Algorithm replaces RS256; "none" leaves the signature out, and "HS256"
	// signs with the public key, as in attacks.
	Algorithm string
	// OtherKey signs with a key that nobody has published.
	OtherKey bool
}

// New starts an identity provider, and stops it with the test.
func New(t testing.TB, s Settings) *Server {
	t.Helper()
	server := &Server{
		settings: s, codes: map[string]*grant{}, access: map[string]*grant{}, refresh: map[string]*grant{},
		counts: map[string]int{}, failures: map[string]*failure{},
	}
	var err error
	if server.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if server.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	endpoint := func(method, address string, handle http.HandlerFunc) {
		if address == "" {
			return
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		path := u.Path
		if strings.HasSuffix(path, "/") {
			path += "{$}" // nothing below it
		}
		mux.HandleFunc(method+" "+u.Hostname()+path, func(w http.ResponseWriter, r *http.Request) {
			if !server.fails(w, address) {
				handle(w, r)
			}
		})
	}
	method := s.UserInfoMethod
	if method == "" {
		method = http.MethodGet
	}
	endpoint(http.MethodGet, s.Authorize, server.authorize)
	endpoint(http.MethodPost, s.Token, server.token)
	endpoint(method, s.UserInfo, server.userInfo)
	endpoint(http.MethodPost, s.Revoke, server.revoke)
	endpoint(http.MethodGet, s.Keys, server.keys)
	endpoint(http.MethodGet, s.Metadata, server.metadata)
	for address, body := range s.Pages {
		endpoint(http.MethodGet, address, func(w http.ResponseWriter, r *http.Request) {
			if _, ok := server.bearer(w, r); ok {
				_, _ = w.Write(body)
			}
		})
	}
	server.http = httptest.NewServer(mux)
	t.Cleanup(server.http.Close)
	return server
}

// Transport brings requests for any address to the server.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	to, err := url.Parse(t.s.http.URL)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host = r.URL.Host, to.Scheme, to.Host
	return t.s.http.Client().Transport.RoundTrip(r)
}

// SignIn puts a user in front of the browser, who agrees to everything.
func (s *Server) SignIn(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.deny = u, ""
}

// Deny makes the next users refuse: the error is that of RFC 6749 §4.1.2.1.
func (s *Server) Deny(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deny = code
}

// Forge changes the ID tokens from now on.
func (s *Server) Forge(f Forgery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forge = f
}

// Fail makes an endpoint answer its next n requests with an error.
func (s *Server) Fail(address string, n, status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[address] = &failure{status: status, left: n, body: body}
}

// Gate calls a function before every answer of the token endpoint.
func (s *Server) Gate(f func(grantType string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = f
}

func (s *Server) fails(w http.ResponseWriter, address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[address]++
	f := s.failures[address]
	if f == nil || f.left == 0 {
		return false
	}
	f.left--
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_, _ = w.Write([]byte(f.body))
	return true
}

// Requests returns how many requests the endpoint has got.
func (s *Server) Requests(address string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[address]
}

// Asked returns the last request for authorization.
func (s *Server) Asked() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[len(s.asked)-1]
}

// Forms returns the forms that the token endpoint has got.
func (s *Server) Forms() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.forms)
}

// Revoked returns the tokens that were revoked.
func (s *Server) Revoked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.revoked)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a test that hangs up wants no answer
}
