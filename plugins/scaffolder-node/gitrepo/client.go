package gitrepo

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/egress"
)

// Auth is what requests to a git server carry. The zero value is anonymous.
type Auth struct {
	scheme string
	value  core.Token
}

// Basic returns the authentication by user and password, or by a token in
// place of the password.
func Basic(user string, password core.Token) Auth {
	return Auth{"Basic", core.NewToken(base64.StdEncoding.EncodeToString([]byte(user + ":" + password.Reveal())))}
}

// Bearer returns the authentication by a token.
func Bearer(token core.Token) Auth { return Auth{"Bearer", token} }

// Remote is a repository on a server.
type Remote struct {
	// URL is that for cloning, by http or https, without credentials.
	URL  string
	Auth Auth
}

// Options configure a [Client]. The zero value of each member is its default.
type Options struct {
	// Transport sends the requests; by default that of an [egress.Guard] that
	// trusts no host.
	Transport http.RoundTripper
	// MaxTries is how often a request is sent that fails for a passing reason:
	// 6, which is 5 retries.
	MaxTries int
	// MaxFetch bounds what is read of a server, in bytes; 1 GiB.
	MaxFetch int64
	// UserAgent is sent with every request; "git/flytower". Some servers want it
	// to begin with git/.
	UserAgent string
	// Sleep and Random replace the clock and the source of jitter, a number in
	// [0,1), in tests.
	Sleep  func(ctx context.Context, d time.Duration) error
	Random func() float64
}

// Client sends to and reads from git servers. It is safe for concurrent use.
type Client struct {
	o    Options
	http *http.Client
}

// NewClient returns a client.
func NewClient(o Options) *Client {
	if o.Transport == nil {
		o.Transport = egress.New(egress.Options{}).Transport()
	}
	o.MaxTries = cmp.Or(o.MaxTries, 6)
	o.MaxFetch = cmp.Or(o.MaxFetch, 1<<30)
	o.UserAgent = cmp.Or(o.UserAgent, "git/flytower")
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return &Client{o, &http.Client{Transport: o.Transport, CheckRedirect: sameHost}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// sameHost follows redirects, such as that of a renamed repository, on the
// same host only: nothing of a push goes elsewhere.
func sameHost(r *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case len(via) > 5:
		return errors.New("too many redirects")
	case r.URL.Host != first.Host || r.URL.Scheme != first.Scheme:
		return fmt.Errorf("it redirects to another place, %s://%s", r.URL.Scheme, r.URL.Host)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// StatusError is an answer of a git server that is no success.
type StatusError struct {
	Status int
	// Message is the beginning of what it said, if that is plain text.
	Message string
}

// Error says what the status means.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// passing reports whether the same request may succeed later. A repository that
// was made a moment ago is unknown to some servers of a host for a while.
func passing(ctx context.Context, err error) bool {
	var status *StatusError
	var final *finalError
	switch {
	case context.Cause(ctx) != nil, errors.As(err, &final), egress.IsBlocked(err):
		return false
	case errors.As(err, &status):
		return status.Status >= 500 || status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout || status.Status == http.StatusNotFound
	}
	return true
}

// finalError is one that a retry does not change.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// patiently retries what fails for a passing reason, after 2 seconds, 4, 8 and
// so on.
func (c *Client) patiently(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n >= c.o.MaxTries || !passing(ctx, err) {
			return err
		}
		pause := time.Duration(1<<n) * time.Second
		pause += time.Duration(c.o.Random() * 0.1 * float64(pause))
		if waiting := c.o.Sleep(ctx, pause); waiting != nil {
			return fmt.Errorf("%w, after: %w", waiting, err)
		}
	}
}

// send sends a request of the smart HTTP protocol. The caller closes the body.
func (c *Client) send(ctx context.Context, remote Remote, method, path string, header map[string]string, body io.Reader, size int64) (*http.Response, error) {
	base, err := url.Parse(remote.URL)
	switch {
	case err != nil:
		return nil, &finalError{errors.New("the URL of the repository is malformed")}
	case base.User != nil:
		return nil, &finalError{errors.New("the URL of the repository has credentials in it")}
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, &finalError{fmt.Errorf("the URL of the repository has the scheme %q, and has to be https", base.Scheme)}
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(remote.URL, "/")+path, body)
	if err != nil {
		return nil, &finalError{err}
	}
	r.ContentLength = size
	r.Header.Set("User-Agent", c.o.UserAgent)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	if remote.Auth.scheme != "" {
		r.Header.Set("Authorization", remote.Auth.scheme+" "+remote.Auth.value.Reveal())
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, refused(answer)
	}
	return answer, nil
}

func refused(answer *http.Response) error {
	e := &StatusError{Status: answer.StatusCode}
	if text, err := io.ReadAll(io.LimitReader(answer.Body, 500)); err == nil && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
		e.Message = strings.TrimSpace(string(text))
	}
	return errors.Join(e, answer.Body.Close())
}

// The services of the protocol.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

const maxRefs = 64 << 20

// refs reads what the server has. An empty repository has none.
func (c *Client) refs(ctx context.Context, remote Remote, service string) (refs *packp.AdvRefs, err error) {
	answer, err := c.send(ctx, remote, http.MethodGet, "/info/refs?service="+service, nil, nil, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if got := answer.Header.Get("Content-Type"); got != "application/x-"+service+"-advertisement" {
		return nil, &finalError{fmt.Errorf("the server answered with %q: there is no git repository at this address", got)}
	}
	refs = packp.NewAdvRefs()
	if err := refs.Decode(io.LimitReader(answer.Body, maxRefs)); err != nil && !errors.Is(err, packp.ErrEmptyAdvRefs) {
		return nil, fmt.Errorf("read the branches of the server: %w", err)
	}
	return refs, nil
}

// Branch returns the commit of a branch on a server; ok is false if there is
// no such branch.
func (c *Client) Branch(ctx context.Context, remote Remote, branch string) (commit Hash, ok bool, err error) {
	err = c.patiently(ctx, func() error {
		refs, err := c.refs(ctx, remote, uploadPack)
		if err == nil {
			commit, ok = refs.References[plumbing.NewBranchReferenceName(branch).String()]
		}
		return err
	})
	if err != nil {
		return Hash{}, false, fmt.Errorf("read the branches of %s: %w", remote.URL, err)
	}
	return commit, ok, nil
}
