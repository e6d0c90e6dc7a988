package integration

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Location is the place in a repository that a URL names.
type Location struct {
	Kind Kind
	// Host is the configured host, with its port where that is not the default.
	Host string
	// Owner is the account, the path of nested groups, or the organisation.
	Owner string
	// Project is set where a host has a level between owner and repository
	// (Azure, Harness); empty elsewhere.
	Project string
	Repo    string
	// Ref is a branch, tag or commit; empty for the default branch.
	Ref string
	// RefKind tells what Ref is, where the URL says so.
	RefKind RefKind
	// Path is below the root of the repository, with slashes, without one in
	// front; empty for the root.
	Path string
	// View is the word of the URL for what it shows: blob, tree, raw, edit …;
	// empty for the repository itself.
	View string
}

// RefKind tells what a reference is.
type RefKind string

// The kinds of references that URLs tell apart.
const (
	RefUnknown RefKind = ""
	RefBranch  RefKind = "branch"
	RefTag     RefKind = "tag"
	RefCommit  RefKind = "commit"
)

// SameRepository reports whether both places are in one repository.
func (l Location) SameRepository(other Location) bool {
	return l.Kind == other.Kind && l.Host == other.Host &&
		strings.EqualFold(l.Owner, other.Owner) &&
		strings.EqualFold(l.Project, other.Project) &&
		strings.EqualFold(l.Repo, other.Repo)
}

// FullName returns owner, project and repository, joined by slashes.
func (l Location) FullName() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{l.Owner, l.Project, l.Repo} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

// maxURL bounds a URL, in bytes.
const maxURL = 8 << 10

// maxDecodings is how often a path is percent-decoded in the search for
// hidden dot segments; a path that still changes after that is refused.
const maxDecodings = 5

// ParseURL parses an absolute http or https URL and refuses what could make
// two programs see different targets in it: credentials, control characters,
// backslashes, and "." or ".." segments, also when they are percent-encoded
// several times. Scheme and host are in lower case, and a default port is
// removed.
func ParseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("the URL has %d bytes, more than %d", len(raw), maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the input, which may hold a password
		}
		return nil, fmt.Errorf("malformed URL: %w", err)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the URL has the scheme %q, want http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL holds credentials; configure them instead")
	case u.Opaque != "":
		return nil, errors.New("the URL has no path after its scheme")
	}
	if err := checkPath(u.EscapedPath()); err != nil {
		return nil, err
	}
	u.Host = normalHost(u)
	return u, nil
}

// normalHost returns host and port in the form in which they are compared.
func normalHost(u *url.URL) string {
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, ":")
	switch {
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return host
}

// checkPath refuses dot segments, control characters and backslashes in any
// depth of percent-encoding.
func checkPath(escaped string) error {
	p := escaped
	for range maxDecodings {
		for seg := range strings.SplitSeq(p, "/") {
			if seg == "." || seg == ".." {
				return errors.New(`the path of the URL has a "." or ".." segment`)
			}
		}
		for i := range len(p) {
			if c := p[i]; c < 0x20 || c == 0x7f || c == '\\' {
				return fmt.Errorf("the path of the URL has the character %q", c)
			}
		}
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			// A broken escape in a deeper layer is a literal percent sign.
			return nil
		}
		p = next
	}
	return errors.New("the path of the URL is percent-encoded too many times")
}

// segments returns the decoded segments of the path, without empty ones at
// either end. An empty segment between others is refused.
func segments(u *url.URL) ([]string, error) {
	trimmed := strings.Trim(u.EscapedPath(), "/")
	if trimmed == "" {
		return nil, nil
	}
	parts := strings.Split(trimmed, "/")
	for i, p := range parts {
		d, err := url.PathUnescape(p)
		if err != nil {
			return nil, errors.New("the path of the URL has a broken percent escape")
		}
		if d == "" {
			return nil, errors.New("the path of the URL has an empty segment")
		}
		if d[0] == '/' || d[len(d)-1] == '/' || strings.Contains(d, "//") {
			return nil, errors.New("the path of the URL has an empty segment behind an encoded slash")
		}
		if !utf8.ValidString(d) {
			return nil, errors.New("the path of the URL is not UTF-8")
		}
		parts[i] = d
	}
	return parts, nil
}

// names checks segments that are names, so that they cannot smuggle a
// separator into the URL of an API.
func names(what string, parts ...string) error {
	for _, p := range parts {
		if strings.ContainsAny(p, "/?#%") || strings.TrimSpace(p) == "" {
			return fmt.Errorf("%q is not the name of %s", p, what)
		}
	}
	return nil
}

// parseGitHub reads /<owner>/<repo>[/(blob|tree|raw|edit)/<ref>[/<path>]].
func parseGitHub(u *url.URL) (Location, error) {
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	if len(s) < 2 {
		return Location{}, errors.New("want /<owner>/<repository>/blob/<ref>/<path>")
	}
	l := Location{Owner: s[0], Repo: strings.TrimSuffix(s[1], ".git")}
	if err := names("an owner or a repository", l.Owner, l.Repo); err != nil {
		return Location{}, err
	}
	if len(s) == 2 {
		return l, nil
	}
	if !slices.Contains([]string{"blob", "tree", "raw", "edit"}, s[2]) || len(s) < 4 {
		return Location{}, errors.New("want blob, tree, raw or edit and a ref after the repository")
	}
	l.View, l.Ref, l.Path = s[2], s[3], strings.Join(s[4:], "/")
	return l, nil
}

// parseGitLab reads /<group…>/<project>[[/-]/(blob|tree|raw|edit)/<ref>[/<path>]]
// below the path of the installation.
func parseGitLab(u *url.URL, base string) (Location, error) {
	u, err := below(u, base)
	if err != nil {
		return Location{}, err
	}
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	views := []string{"blob", "tree", "raw", "edit"}
	project, rest := s, []string(nil)
	if i := slices.Index(s, "-"); i >= 0 {
		project, rest = s[:i], s[i+1:]
		if len(rest) < 2 || !slices.Contains(views, rest[0]) {
			return Location{}, errors.New("want blob, tree, raw or edit and a ref after /-/")
		}
	} else {
		for i := 2; i+1 < len(s); i++ {
			if slices.Contains(views, s[i]) {
				project, rest = s[:i], s[i:]
				break
			}
		}
	}
	if len(project) < 2 {
		return Location{}, errors.New("want /<group>/<project>/-/blob/<ref>/<path>")
	}
	n := len(project) - 1
	project[n] = strings.TrimSuffix(project[n], ".git")
	if err := names("a group or a project", project...); err != nil {
		return Location{}, err
	}
	l := Location{Owner: strings.Join(project[:n], "/"), Repo: project[n]}
	if rest != nil {
		l.View, l.Ref, l.Path = rest[0], rest[1], strings.Join(rest[2:], "/")
	}
	return l, nil
}

// below strips the path of base, under which an installation lives.
func below(u *url.URL, base string) (*url.URL, error) {
	b, err := url.Parse(base)
	if err != nil || strings.Trim(b.Path, "/") == "" {
		return u, nil //nolint:nilerr // the base was checked when it was configured
	}
	prefix := strings.TrimRight(b.EscapedPath(), "/")
	rest, ok := strings.CutPrefix(u.EscapedPath(), prefix)
	if !ok || rest != "" && rest[0] != '/' {
		// A URL that somebody copied without the path of the installation.
		return u, nil
	}
	v := *u
	if v.Path, err = url.PathUnescape(rest); err != nil {
		return nil, errors.New("the path of the URL has a broken percent escape")
	}
	v.RawPath = rest
	return &v, nil
}

// parseBitbucketCloud reads /<owner>/<repo>[/(src|raw)/<ref>[/<path>]].
func parseBitbucketCloud(u *url.URL) (Location, error) {
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	if len(s) < 2 {
		return Location{}, errors.New("want /<workspace>/<repository>/src/<ref>/<path>")
	}
	l := Location{Owner: s[0], Repo: strings.TrimSuffix(s[1], ".git")}
	if err := names("a workspace or a repository", l.Owner, l.Repo); err != nil {
		return Location{}, err
	}
	if len(s) == 2 {
		return l, nil
	}
	if s[2] != "src" && s[2] != "raw" || len(s) < 4 {
		return Location{}, errors.New("want src or raw and a ref after the repository")
	}
	l.View, l.Ref, l.Path = s[2], s[3], strings.Join(s[4:], "/")
	return l, nil
}

// parseBitbucketServer reads
// /projects/<P>/repos/<r>[/(browse|raw|src)[/<path>]][?at=<ref>], also for
// /users/<u>/repos/<r>.
func parseBitbucketServer(u *url.URL) (Location, error) {
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	// An installation may live below a path.
	i := slices.Index(s, "repos")
	if i < 2 || len(s) < i+2 || s[i-2] != "projects" && s[i-2] != "users" {
		return Location{}, errors.New("want /projects/<project>/repos/<repository>/browse/<path>?at=<ref>")
	}
	l := Location{Owner: s[i-1], Repo: s[i+1]}
	if s[i-2] == "users" {
		l.Owner = "~" + l.Owner
	}
	if err := names("a project or a repository", l.Owner, l.Repo); err != nil {
		return Location{}, err
	}
	if len(s) > i+2 {
		if !slices.Contains([]string{"browse", "raw", "src"}, s[i+2]) {
			return Location{}, errors.New("want browse, raw or src after the repository")
		}
		l.View, l.Path = s[i+2], strings.Join(s[i+3:], "/")
	}
	at := u.Query().Get("at")
	switch {
	case strings.HasPrefix(at, "refs/heads/"):
		l.Ref, l.RefKind = strings.TrimPrefix(at, "refs/heads/"), RefBranch
	case strings.HasPrefix(at, "refs/tags/"):
		l.Ref, l.RefKind = strings.TrimPrefix(at, "refs/tags/"), RefTag
	default:
		l.Ref = at
	}
	return l, nil
}

// parseAzure reads /<org>/<project>/_git/<repo>?path=<p>&version=GB<branch>
// in all its forms: <org>.visualstudio.com without the organisation, the
// short form where the project names the repository, and a collection in
// front of the project.
func parseAzure(u *url.URL) (Location, error) {
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	i := slices.Index(s, "_git")
	if i < 0 || len(s) != i+2 {
		return Location{}, errors.New("want /<organization>/<project>/_git/<repository>?path=<path>")
	}
	l := Location{Repo: s[i+1]}
	front := s[:i]
	if org, ok := strings.CutSuffix(u.Hostname(), ".visualstudio.com"); ok {
		front = append([]string{org}, slices.DeleteFunc(slices.Clone(front), func(p string) bool {
			return strings.EqualFold(p, "DefaultCollection")
		})...)
	}
	switch len(front) {
	case 0:
		return Location{}, errors.New("the URL names no organization")
	case 1:
		l.Owner, l.Project = front[0], l.Repo
	default:
		n := len(front) - 1
		l.Owner, l.Project = strings.Join(front[:n], "/"), front[n]
	}
	if err := names("an organization, project or repository", append(strings.Split(l.Owner, "/"), l.Project)...); err != nil {
		return Location{}, err
	}
	q := u.Query()
	p := q.Get("path")
	if err := checkPath(p); err != nil {
		return Location{}, err
	}
	l.Path = strings.Trim(p, "/")
	if v := q.Get("version"); len(v) > 2 {
		l.Ref = v[2:]
		switch v[:2] {
		case "GB":
			l.RefKind = RefBranch
		case "GT":
			l.RefKind = RefTag
		case "GC":
			l.RefKind = RefCommit
		default:
			return Location{}, fmt.Errorf("version=%s does not start with GB, GT or GC", v)
		}
	}
	l.View = "_git"
	return l, nil
}

// parseGitiles reads
// <project>/+/(refs/heads/<b>|refs/tags/<t>|HEAD|<commit>)[/<path>] below the
// Gitiles base URL.
func parseGitiles(u *url.URL, base string) (Location, error) {
	u, err := below(u, base)
	if err != nil {
		return Location{}, err
	}
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	if len(s) > 0 && s[0] == "a" {
		s = s[1:] // the prefix of authenticated requests
	}
	i := slices.Index(s, "+")
	project := s
	if i >= 0 {
		project = s[:i]
	}
	if len(project) == 0 {
		return Location{}, errors.New("want <project>/+/refs/heads/<branch>/<path>")
	}
	if err := names("a project", project...); err != nil {
		return Location{}, err
	}
	l := Location{Owner: strings.Join(project[:len(project)-1], "/"), Repo: project[len(project)-1]}
	if i < 0 {
		return l, nil
	}
	rest := s[i+1:]
	switch {
	case len(rest) >= 3 && rest[0] == "refs" && rest[1] == "heads":
		l.Ref, l.RefKind, rest = rest[2], RefBranch, rest[3:]
	case len(rest) >= 3 && rest[0] == "refs" && rest[1] == "tags":
		l.Ref, l.RefKind, rest = rest[2], RefTag, rest[3:]
	case len(rest) >= 1 && rest[0] == "HEAD":
		l.Ref, rest = "HEAD", rest[1:]
	case len(rest) >= 1 && isCommit(rest[0]):
		l.Ref, l.RefKind, rest = rest[0], RefCommit, rest[1:]
	default:
		return Location{}, errors.New("want refs/heads/<branch>, refs/tags/<tag>, HEAD or a commit after /+/")
	}
	l.View, l.Path = "+", strings.Join(rest, "/")
	return l, nil
}

func isCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

// parseGitea reads /<owner>/<repo>[/(src|raw)/(branch|tag|commit)/<ref>[/<path>]].
func parseGitea(u *url.URL, base string) (Location, error) {
	u, err := below(u, base)
	if err != nil {
		return Location{}, err
	}
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	if len(s) < 2 {
		return Location{}, errors.New("want /<owner>/<repository>/src/branch/<ref>/<path>")
	}
	l := Location{Owner: s[0], Repo: strings.TrimSuffix(s[1], ".git")}
	if err := names("an owner or a repository", l.Owner, l.Repo); err != nil {
		return Location{}, err
	}
	if len(s) == 2 {
		return l, nil
	}
	if s[2] != "src" && s[2] != "raw" || len(s) < 5 {
		return Location{}, errors.New("want src/branch/<ref> after the repository")
	}
	switch s[3] {
	case "branch", "tag", "commit":
		l.RefKind = RefKind(s[3])
	default:
		return Location{}, errors.New("want branch, tag or commit after src")
	}
	l.View, l.Ref, l.Path = s[2], s[4], strings.Join(s[5:], "/")
	return l, nil
}

// parseHarness reads
// /ng/account/<acc>/module/code[/orgs/<o>][/projects/<p>]/repos/<r>[/(files|raw|edit)/<ref>[/~/<path>]].
func parseHarness(u *url.URL) (Location, error) {
	const want = "want /ng/account/<account>/module/code/orgs/<org>/projects/<project>/repos/<repository>/files/<ref>/~/<path>"
	s, err := segments(u)
	if err != nil {
		return Location{}, err
	}
	if len(s) < 7 || s[0] != "ng" || s[1] != "account" || s[3] != "module" || s[4] != "code" {
		return Location{}, errors.New(want)
	}
	l, rest := Location{Owner: s[2]}, s[5:]
	for len(rest) >= 2 && rest[0] != "repos" {
		switch rest[0] {
		case "orgs":
			l.Owner += "/" + rest[1]
		case "projects":
			l.Project = rest[1]
		default:
			return Location{}, errors.New(want)
		}
		if err := names("an organization or a project", rest[1]); err != nil {
			return Location{}, err
		}
		rest = rest[2:]
	}
	if len(rest) < 2 {
		return Location{}, errors.New(want)
	}
	l.Repo, rest = rest[1], rest[2:]
	if err := names("an account or a repository", s[2], l.Repo); err != nil {
		return Location{}, err
	}
	if len(rest) == 0 {
		return l, nil
	}
	if !slices.Contains([]string{"files", "raw", "edit"}, rest[0]) || len(rest) < 2 {
		return Location{}, errors.New(want)
	}
	l.View = rest[0]
	ref := rest[1:]
	if i := slices.Index(ref, "~"); i >= 0 {
		l.Path = strings.Join(ref[i+1:], "/")
		ref = ref[:i]
	}
	// The tilde ends the ref, so a branch may have slashes here.
	l.Ref = strings.TrimPrefix(strings.Join(ref, "/"), "refs/heads/")
	if l.Ref == "" {
		return Location{}, errors.New(want)
	}
	return l, nil
}
