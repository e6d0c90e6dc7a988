package integration_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
)

const allHosts = `
integrations:
  github:
    - host: ghe.example.com:8443
      apiBaseUrl: https://ghe.example.com:8443/api/v3/
  gitlab:
    - host: git.example.com
      baseUrl: https://git.example.com/lab/
      apiBaseUrl: https://git.example.com/lab/api/v4
  bitbucketServer:
    - host: bb.example.com
  gerrit:
    - host: gerrit.example.com
      gitilesBaseUrl: https://gerrit.example.com/plugins/gitiles
  gitea:
    - host: gitea.example.com
  harness:
    - host: app.harness.io
`

func hosts(t testing.TB, yaml string) *integration.Hosts {
	t.Helper()
	h, err := integration.FromConfig(configtest.FromYAML(t, yaml))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParse(t *testing.T) {
	t.Parallel()
	h := hosts(t, allHosts)
	sha := strings.Repeat("a1", 20)
	for _, c := range []struct {
		url  string
		want integration.Location
	}{
		{"https://github.com/acme/shop", integration.Location{Kind: "github", Host: "github.com", Owner: "acme", Repo: "shop"}},
		{"https://GitHub.com:443/acme/shop.git", integration.Location{Kind: "github", Host: "github.com", Owner: "acme", Repo: "shop"}},
		{"https://github.com/acme/shop/blob/main/a%20b/c.yaml#L3", integration.Location{Kind: "github", Host: "github.com", Owner: "acme", Repo: "shop", View: "blob", Ref: "main", Path: "a b/c.yaml"}},
		{"https://github.com/acme/shop/tree/feature%2Fx/", integration.Location{Kind: "github", Host: "github.com", Owner: "acme", Repo: "shop", View: "tree", Ref: "feature/x"}},
		{"https://ghe.example.com:8443/a/b/edit/v1/x", integration.Location{Kind: "github", Host: "ghe.example.com:8443", Owner: "a", Repo: "b", View: "edit", Ref: "v1", Path: "x"}},
		{"https://gitlab.com/g/sub/p/-/blob/main/d/f.yaml", integration.Location{Kind: "gitlab", Host: "gitlab.com", Owner: "g/sub", Repo: "p", View: "blob", Ref: "main", Path: "d/f.yaml"}},
		{"https://gitlab.com/g/p/blob/main/f.yaml", integration.Location{Kind: "gitlab", Host: "gitlab.com", Owner: "g", Repo: "p", View: "blob", Ref: "main", Path: "f.yaml"}},
		{"https://git.example.com/lab/g/p/-/tree/main", integration.Location{Kind: "gitlab", Host: "git.example.com", Owner: "g", Repo: "p", View: "tree", Ref: "main"}},
		{"https://bitbucket.org/o/r/src/master/f", integration.Location{Kind: "bitbucketCloud", Host: "bitbucket.org", Owner: "o", Repo: "r", View: "src", Ref: "master", Path: "f"}},
		{"https://bb.example.com/projects/P/repos/r/browse/d/f?at=feature/x", integration.Location{Kind: "bitbucketServer", Host: "bb.example.com", Owner: "P", Repo: "r", View: "browse", Ref: "feature/x", Path: "d/f"}},
		{"https://bb.example.com/users/u/repos/r/raw/f?at=refs/tags/v1", integration.Location{Kind: "bitbucketServer", Host: "bb.example.com", Owner: "~u", Repo: "r", View: "raw", Ref: "v1", RefKind: "tag", Path: "f"}},
		{"https://dev.azure.com/org/proj/_git/repo?path=%2Fd%2Ff.yaml&version=GBfeature/x", integration.Location{Kind: "azure", Host: "dev.azure.com", Owner: "org", Project: "proj", Repo: "repo", View: "_git", Ref: "feature/x", RefKind: "branch", Path: "d/f.yaml"}},
		{"https://dev.azure.com/org/_git/repo", integration.Location{Kind: "azure", Host: "dev.azure.com", Owner: "org", Project: "repo", Repo: "repo", View: "_git"}},
		{"https://org.visualstudio.com/DefaultCollection/proj/_git/repo?version=GTv1", integration.Location{Kind: "azure", Host: "org.visualstudio.com", Owner: "org", Project: "proj", Repo: "repo", View: "_git", Ref: "v1", RefKind: "tag"}},
		{"https://gerrit.example.com/plugins/gitiles/a/web/app/+/refs/heads/main/d/f", integration.Location{Kind: "gerrit", Host: "gerrit.example.com", Owner: "web", Repo: "app", View: "+", Ref: "main", RefKind: "branch", Path: "d/f"}},
		{"https://gerrit.example.com/plugins/gitiles/app/+/" + sha + "/f", integration.Location{Kind: "gerrit", Host: "gerrit.example.com", Repo: "app", View: "+", Ref: sha, RefKind: "commit", Path: "f"}},
		{"https://gitea.example.com/o/r/src/branch/main/f", integration.Location{Kind: "gitea", Host: "gitea.example.com", Owner: "o", Repo: "r", View: "src", Ref: "main", RefKind: "branch", Path: "f"}},
		{"https://app.harness.io/ng/account/acc/module/code/orgs/o/projects/p/repos/r/files/feature/x/~/d/f", integration.Location{Kind: "harness", Host: "app.harness.io", Owner: "acc/o", Project: "p", Repo: "r", View: "files", Ref: "feature/x", Path: "d/f"}},
	} {
		got, err := h.Parse(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.url, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	h := hosts(t, allHosts)
	for _, u := range []string{
		"", "github.com/a/b", "ftp://github.com/a/b", "https://", "https://other.example.com/a/b/blob/main/x",
		"https://user:hunter2@github.com/a/b",
		"https://github.com/a",
		"https://github.com/a/b/wiki/x",
		"https://github.com/a/b/blob",
		"https://github.com/a/b/blob/main/../../../x",
		"https://github.com/a/b/blob/main/%2e%2e/x",
		"https://github.com/a/b/blob/main/%252e%252E/x",
		"https://github.com/a/b/blob/main/x%2f..%2fy",
		"https://github.com/a/b/blob/main/%2525252525252e",
		"https://github.com/a/b/blob/main//x",
		"https://github.com/a/b/blob/main/a%2f%2fb",
		"https://github.com/a/b/blob/main/%5c..%5cx",
		"https://github.com/a/b/blob/main/%00",
		"https://github.com/a%2fb/c/blob/main/x",
		"https://github.com/a%3fb/c/blob/main/x",
		"https://gitlab.com/p/-/blob/main/x",
		"https://gitlab.com/g/p/-/issues/3",
		"https://dev.azure.com/o/p/_git/r?path=/a/../../x",
		"https://dev.azure.com/o/p/_git/r?version=XXmain",
		"https://" + strings.Repeat("a", 9000) + ".example.com/a/b",
	} {
		l, err := h.Parse(u)
		if err == nil {
			t.Errorf("%.80s parsed as %+v", u, l)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the password: %v", err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	h := hosts(t, allHosts)
	for _, c := range []struct{ ref, base, want string }{
		{"./b.yaml", "https://github.com/o/r/blob/main/d/a.yaml", "https://github.com/o/r/tree/main/d/b.yaml"},
		{"../b.yaml", "https://github.com/o/r/blob/main/d/a.yaml", "https://github.com/o/r/tree/main/b.yaml"},
		{"/docs/b.yaml", "https://github.com/o/r/blob/main/d/a.yaml", "https://github.com/o/r/tree/main/docs/b.yaml"},
		{"/docs/", "https://github.com/o/r/blob/main/a.yaml", "https://github.com/o/r/tree/main/docs/"},
		{"./", "https://github.com/o/r/blob/main/a.yaml", "https://github.com/o/r/tree/main/"},
		{"/x%20y.yaml", "https://github.com/o/r/blob/main/a.yaml", "https://github.com/o/r/tree/main/x%20y.yaml"},
		{"https://x.example.com/y", "https://github.com/o/r/blob/main/a.yaml", "https://x.example.com/y"},
		{"b.yaml", "https://gitlab.com/g/p/-/blob/main/d/a.yaml", "https://gitlab.com/g/p/-/blob/main/d/b.yaml"},
		{"/b.yaml", "https://gitlab.com/g/p/-/blob/main/d/a.yaml", "https://gitlab.com/g/p/-/blob/main/b.yaml"},
		{"/b.yaml", "https://git.example.com/lab/g/p/-/blob/main/d/a.yaml", "https://git.example.com/lab/g/p/-/blob/main/b.yaml"},
		{"b.yaml", "https://bb.example.com/projects/P/repos/r/browse/d/a.yaml?at=main", "https://bb.example.com/projects/P/repos/r/browse/d/b.yaml?at=main"},
		{"/b.yaml", "https://bb.example.com/projects/P/repos/r/browse/d/a.yaml?at=main", "https://bb.example.com/projects/P/repos/r/browse/b.yaml?at=main"},
		{"../b.yaml", "https://dev.azure.com/o/p/_git/r?path=%2Fd%2Fa.yaml&version=GBmain", "https://dev.azure.com/o/p/_git/r?path=%2Fb.yaml&version=GBmain"},
		{"/e/b.yaml", "https://dev.azure.com/o/p/_git/r?path=%2Fd%2Fa.yaml", "https://dev.azure.com/o/p/_git/r?path=%2Fe%2Fb.yaml"},
		{"/b.yaml", "https://other.example.com/d/a.yaml?x=1", "https://other.example.com/b.yaml?x=1"},
		{"b.yaml", "file:///srv/d/a.yaml", "file:///srv/d/b.yaml"},
	} {
		got, err := h.Resolve(c.ref, c.base)
		if err != nil || got != c.want {
			t.Errorf("Resolve(%q, %q) = %q, %v; want %q", c.ref, c.base, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"//evil.example.com/x", "https://github.com/o/r/blob/main/a"}, {"b", "not a url"}, {"b", ""}, {"/b", "https://github.com/o"}} {
		if got, err := h.Resolve(c[0], c[1]); err == nil {
			t.Errorf("Resolve(%q, %q) = %q", c[0], c[1], got)
		}
	}
}

func TestEditURL(t *testing.T) {
	t.Parallel()
	h := hosts(t, allHosts)
	for in, want := range map[string]string{
		"https://github.com/o/r/blob/main/a.yaml":                             "https://github.com/o/r/edit/main/a.yaml",
		"https://gitlab.com/g/p/-/blob/main/blob/a.yaml":                      "https://gitlab.com/g/p/-/edit/main/blob/a.yaml",
		"https://bb.example.com/projects/P/repos/r/browse/a?at=main":          "https://bb.example.com/projects/P/repos/r/browse/a?at=main&mode=edit&spa=0",
		"https://gitea.example.com/o/r/src/branch/main/a":                     "https://gitea.example.com/o/r/_edit/main/a",
		"https://other.example.com/a":                                         "https://other.example.com/a",
		"https://dev.azure.com/o/p/_git/r?path=/a":                            "https://dev.azure.com/o/p/_git/r?path=/a",
		"https://app.harness.io/ng/account/a/module/code/repos/r/files/m/~/f": "https://app.harness.io/ng/account/a/module/code/repos/r/edit/m/~/f",
	} {
		if got, err := h.EditURL(in); err != nil || got != want {
			t.Errorf("EditURL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestTrusts(t *testing.T) {
	t.Parallel()
	h := hosts(t, allHosts)
	for host, want := range map[string]bool{
		"ghe.example.com": true, "codeload.ghe.example.com": true, "GHE.example.com.": true, "git.example.com": true,
		"github.com": false, "api.github.com": false, "example.com": false, "evilghe.example.com": false,
	} {
		if got := h.Trusts(host); got != want {
			t.Errorf("Trusts(%q) = %t", host, got)
		}
	}
	if named := hosts(t, "integrations: {github: [{host: github.com}]}"); !named.Trusts("api.github.com") || named.Trusts("gitlab.com") {
		t.Error("a public host counts only where it is configured")
	}
}

func FuzzParse(f *testing.F) {
	h := hosts(f, allHosts)
	for _, s := range []string{
		"https://github.com/o/r/blob/main/a.yaml", "https://git.example.com/lab/g/p/-/tree/main/d",
		"https://bb.example.com/projects/P/repos/r/browse/a?at=x", "https://dev.azure.com/o/p/_git/r?path=/a&version=GBm",
		"https://gerrit.example.com/plugins/gitiles/p/+/HEAD/a", "https://gitea.example.com/o/r/src/branch/m/a",
		"https://app.harness.io/ng/account/a/module/code/repos/r/files/m/~/f", "https://github.com/o/r/blob/main/%252e%252e",
	} {
		f.Add(s, "./x")
	}
	f.Fuzz(func(t *testing.T, raw, ref string) {
		if _, err := h.Resolve(ref, raw); err != nil && raw == "" {
			return
		}
		l, err := h.Parse(raw)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(l.Owner+"/"+l.Repo+"/"+l.Path, "/") {
			if part == ".." || part == "." || strings.ContainsAny(part, "\x00\\") {
				t.Errorf("%q parsed as %+v", raw, l)
			}
		}
		if l.Repo == "" || strings.HasPrefix(l.Path, "/") || strings.Contains(l.Repo, "/") {
			t.Errorf("%q parsed as %+v", raw, l)
		}
		if _, err := h.EditURL(raw); err != nil {
			t.Errorf("%q parses, but has no edit URL: %v", raw, err)
		}
	})
}
