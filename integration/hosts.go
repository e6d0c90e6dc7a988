package integration

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Kind is a kind of host, named as its configuration key below integrations.
type Kind string

// The kinds of hosts.
const (
	KindGitHub          Kind = "github"
	KindGitLab          Kind = "gitlab"
	KindBitbucketCloud  Kind = "bitbucketCloud"
	KindBitbucketServer Kind = "bitbucketServer"
	KindAzure           Kind = "azure"
	KindGerrit          Kind = "gerrit"
	KindGitea           Kind = "gitea"
	KindHarness         Kind = "harness"
)

// Hosts are the configured hosts of an installation. The public hosts
// github.com, gitlab.com, bitbucket.org and dev.azure.com are always among
// them. Where two entries of one kind name the same host, the first counts.
//
// Hosts is immutable after [FromConfig] and safe for concurrent use.
type Hosts struct {
	GitHub          []GitHub
	GitLab          []GitLab
	BitbucketCloud  []BitbucketCloud
	BitbucketServer []BitbucketServer
	Azure           []Azure
	Gerrit          []Gerrit
	Gitea           []Gitea
	Harness         []Harness

	// byDefault are the kinds whose public host is there without being
	// configured.
	byDefault map[Kind]bool
}

// Kind returns the kind of the host of the URL; ok is false for a host that
// is not configured, and for what is no URL.
func (h *Hosts) Kind(rawURL string) (kind Kind, ok bool) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return "", false
	}
	m := h.match(u)
	return m.kind, m.parse != nil
}

// Parse returns the place that a URL of a configured host names. It fails for
// other hosts and for URLs that name no repository.
func (h *Hosts) Parse(rawURL string) (Location, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return Location{}, fmt.Errorf("parsing %q: %w", Redact(rawURL), err)
	}
	m := h.match(u)
	if m.parse == nil {
		return Location{}, fmt.Errorf("no integration is configured for the host %q; add one below integrations", u.Host)
	}
	l, err := m.parse(u)
	if err != nil {
		return Location{}, fmt.Errorf("parsing %q as a URL of %s: %w", Redact(rawURL), m.kind, err)
	}
	l.Kind, l.Host = m.kind, u.Host
	return l, nil
}

// hostMatch is what is known about the host of a URL.
type hostMatch struct {
	kind  Kind
	parse func(*url.URL) (Location, error) // nil: unknown host
}

// match finds the integration in the order in which readers are asked.
func (h *Hosts) match(u *url.URL) hostMatch {
	if h == nil {
		return hostMatch{}
	}
	for _, c := range h.Azure {
		if c.Host == u.Host || c.Host == "dev.azure.com" && strings.HasSuffix(u.Host, ".visualstudio.com") {
			return hostMatch{KindAzure, parseAzure}
		}
	}
	for _, c := range h.BitbucketCloud {
		if c.Host == u.Host {
			return hostMatch{KindBitbucketCloud, parseBitbucketCloud}
		}
	}
	for _, c := range h.BitbucketServer {
		if c.Host == u.Host {
			return hostMatch{KindBitbucketServer, parseBitbucketServer}
		}
	}
	for _, c := range h.Gerrit {
		if c.Host == u.Host || hostOf(c.GitilesBaseURL) == u.Host {
			return hostMatch{KindGerrit, func(u *url.URL) (Location, error) { return parseGitiles(u, c.GitilesBaseURL) }}
		}
	}
	for _, c := range h.GitHub {
		if c.Host == u.Host {
			return hostMatch{KindGitHub, parseGitHub}
		}
	}
	for _, c := range h.Gitea {
		if c.Host == u.Host {
			return hostMatch{KindGitea, func(u *url.URL) (Location, error) { return parseGitea(u, c.BaseURL) }}
		}
	}
	for _, c := range h.GitLab {
		if c.Host == u.Host {
			return hostMatch{KindGitLab, func(u *url.URL) (Location, error) { return parseGitLab(u, c.BaseURL) }}
		}
	}
	for _, c := range h.Harness {
		if c.Host == u.Host {
			return hostMatch{KindHarness, parseHarness}
		}
	}
	return hostMatch{}
}

func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return normalHost(u)
}

// Trusts reports whether the operator named the host in the configuration of
// an integration, by itself or in one of its base URLs, or named a parent
// domain of it. Such a host may have a private address. Public hosts that are
// there by default do not count.
func (h *Hosts) Trusts(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, known := range h.configured() {
		name := known
		if u, err := url.Parse("//" + known); err == nil {
			name = u.Hostname()
		}
		if host == name || strings.HasSuffix(host, "."+name) {
			return true
		}
	}
	return false
}

func (h *Hosts) configured() []string {
	if h == nil {
		return nil
	}
	var all []string
	add := func(host string, urls ...string) {
		all = append(all, host)
		for _, u := range urls {
			if u != "" {
				all = append(all, hostOf(u))
			}
		}
	}
	for _, c := range h.GitHub {
		if c.Host != "github.com" || !h.byDefault[KindGitHub] {
			add(c.Host, c.APIBaseURL, c.RawBaseURL)
		}
	}
	for _, c := range h.GitLab {
		if c.Host != "gitlab.com" || !h.byDefault[KindGitLab] {
			add(c.Host, c.APIBaseURL, c.BaseURL)
		}
	}
	for _, c := range h.BitbucketCloud {
		if !h.byDefault[KindBitbucketCloud] {
			add(c.Host, c.APIBaseURL)
		}
	}
	for _, c := range h.BitbucketServer {
		add(c.Host, c.APIBaseURL)
	}
	for _, c := range h.Azure {
		if c.Host != "dev.azure.com" || !h.byDefault[KindAzure] {
			add(c.Host)
		}
	}
	for _, c := range h.Gerrit {
		add(c.Host, c.BaseURL, c.GitilesBaseURL)
	}
	for _, c := range h.Gitea {
		add(c.Host, c.BaseURL)
	}
	for _, c := range h.Harness {
		add(c.Host)
	}
	return all
}

// Redact returns a URL for logs and error texts: without credentials, and
// cut where it is long.
func Redact(rawURL string) string {
	const most = 300
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		// Nobody knows where its credentials are.
		scheme, _, _ := strings.Cut(rawURL, ":")
		if len(scheme) > 10 {
			scheme = scheme[:10]
		}
		return scheme + ":…"
	case u.User != nil:
		u.User = url.User("***")
		rawURL = u.String()
	}
	if len(rawURL) > most {
		rawURL = rawURL[:most] + "…"
	}
	return rawURL
}

// Resolve resolves a reference that stands in the file at base by the rules
// of the host of base.
//
// A whole URL stays as it is. "/docs/a.yaml" counts from the root of the
// repository, anything else from the directory of base. The query of base,
// where some hosts keep the branch, is kept; on GitHub the result has the
// form /tree/, which it redirects to files and directories alike.
//
// The result need not exist, nor lie in the same repository: callers to whom
// that matters compare the two by [Location.SameRepository].
func (h *Hosts) Resolve(ref, base string) (string, error) {
	if isWholeURL(ref) {
		return ref, nil
	}
	b, err := url.Parse(base)
	if err != nil || b.Scheme == "" {
		return "", fmt.Errorf("resolving %q: the base %q is not a whole URL", Redact(ref), Redact(base))
	}
	m := h.match(&url.URL{Scheme: b.Scheme, Host: normalHost(b), Path: b.Path})
	if m.kind == KindAzure {
		return resolveAzure(ref, b)
	}
	out, err := resolvePath(ref, b, m)
	if err != nil {
		return "", fmt.Errorf("resolving %q against %q: %w", Redact(ref), Redact(base), err)
	}
	out.RawQuery = b.RawQuery
	s := out.String()
	if m.kind == KindGitHub {
		s = withGitHubView(s, "tree")
	}
	return s, nil
}

// isWholeURL reports whether s is absolute as browsers understand it.
func isWholeURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "" || u.Path != "")
}

func resolvePath(ref string, base *url.URL, m hostMatch) (*url.URL, error) {
	if strings.HasPrefix(ref, "//") {
		return nil, fmt.Errorf("a reference with a host and no scheme is ambiguous; write https:%s", ref)
	}
	r, err := url.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("malformed reference: %w", err)
	}
	if !strings.HasPrefix(ref, "/") || m.parse == nil {
		return base.ResolveReference(r), nil
	}
	l, err := m.parse(base)
	if err != nil {
		return nil, err
	}
	// The root of the repository is the URL without the path of the file.
	root := strings.TrimRight(base.EscapedPath(), "/")
	for range strings.Count(l.Path, "/") + 1 {
		if l.Path == "" {
			break
		}
		i := strings.LastIndexByte(root, '/')
		if i < 0 {
			return nil, fmt.Errorf("the path %q is not at the end of the URL", l.Path)
		}
		root = root[:i]
	}
	out := *base
	out.Fragment, out.RawFragment = r.Fragment, r.RawFragment
	joined := root + path.Clean(r.EscapedPath())
	if strings.HasSuffix(r.EscapedPath(), "/") && !strings.HasSuffix(joined, "/") {
		joined += "/"
	}
	if out.Path, err = url.PathUnescape(joined); err != nil {
		return nil, fmt.Errorf("malformed reference: %w", err)
	}
	out.RawPath = joined
	return &out, nil
}

// resolveAzure works on the path that is in the query.
func resolveAzure(ref string, base *url.URL) (string, error) {
	q := base.Query()
	p := q.Get("path")
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	r, err := url.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("resolving %q: malformed reference: %w", Redact(ref), err)
	}
	q.Set("path", (&url.URL{Path: p}).ResolveReference(r).Path)
	out := *base
	out.RawQuery = q.Encode()
	return out.String(), nil
}

var (
	gitHubView = regexp.MustCompile(`^(https?://[^/]+/[^/]+/[^/]+/)(?:blob|tree|edit)/`)
	gitLabView = regexp.MustCompile(`/-/(?:blob|tree|edit)/`)
)

func withGitHubView(u, view string) string { return gitHubView.ReplaceAllString(u, "${1}"+view+"/") }

// EditURL returns the URL at which a person edits the file of a URL. For
// hosts that are not configured it is the URL itself.
func (h *Hosts) EditURL(rawURL string) (string, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return "", fmt.Errorf("no edit URL for %q: %w", Redact(rawURL), err)
	}
	m := h.match(u)
	q := u.Query()
	switch m.kind {
	case KindGitHub:
		return withGitHubView(u.String(), "edit"), nil
	case KindGitLab:
		s := u.String()
		if at := gitLabView.FindStringIndex(s); at != nil {
			s = s[:at[0]] + "/-/edit/" + s[at[1]:]
		}
		return s, nil
	case KindBitbucketCloud, KindBitbucketServer:
		l, err := m.parse(u)
		if err != nil {
			return "", fmt.Errorf("no edit URL for %q: %w", Redact(rawURL), err)
		}
		ref := l.Ref
		if ref == "" {
			ref = "master"
		}
		q.Set("mode", "edit")
		q.Set("spa", "0")
		q.Set("at", ref)
		u.RawQuery = q.Encode()
		return u.String(), nil
	case KindGitea:
		l, err := m.parse(u)
		if err != nil {
			return "", fmt.Errorf("no edit URL for %q: %w", Redact(rawURL), err)
		}
		s := u.String()
		if l.RefKind == RefBranch {
			s = strings.Replace(s, "/src/branch/", "/_edit/", 1)
		}
		return s, nil
	case KindHarness:
		return strings.Replace(u.String(), "/files/", "/edit/", 1), nil
	default:
		return u.String(), nil
	}
}
