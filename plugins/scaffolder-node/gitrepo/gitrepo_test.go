package gitrepo_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/gitserver"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

var when = time.Date(2026, 5, 4, 3, 2, 1, 999, time.UTC)

// newClient returns a client that may reach the loopback, and does not wait.
func newClient(t *testing.T, slept *[]time.Duration) *gitrepo.Client {
	t.Helper()
	c := gitrepo.NewClient(gitrepo.Options{
		Transport: &http.Transport{}, Random: func() float64 { return 0 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			if slept != nil {
				*slept = append(*slept, d)
			}
			return context.Cause(ctx)
		},
	})
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func newRepo(t *testing.T) *gitrepo.Repo {
	t.Helper()
	repo, err := gitrepo.New(open(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = repo.Close() })
	return repo
}

func write(t *testing.T, root *os.Root, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			if err := root.MkdirAll(name[:i], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestGitAgreesOnWhatIsPushed(t *testing.T) {
	t.Parallel()
	server := gitserver.New(t)
	url := server.Create("acme/shop")
	outside := t.TempDir()
	root := open(t, t.TempDir())
	write(t, root, map[string]string{
		"README.md": "hello", "bin/run.sh": "#!/bin/sh", "a.b": "1", "a/c": "2", "a0": "3", "empty": "",
		".gitignore": "*.log\n/build/\n!keep.log\n# a comment\n", "x.log": "no", "keep.log": "yes", "build/out": "no", "sub/build/out": "yes",
		"sub/.gitignore": "secret\n", "sub/secret": "no", "secret": "yes", ".git/config": "no", "nested/.git/config": "no", "nested/file": "yes",
	})
	must(t, root.Chmod("bin/run.sh", 0o755), root.Symlink("README.md", "link"), root.Symlink(outside, "far"), root.Symlink("nowhere", "broken"))
	repo := newRepo(t)
	tree, err := repo.AddFolder(t.Context(), root, ".")
	must(t, err)
	commit, err := repo.Commit(gitrepo.CommitOptions{Tree: tree, When: when, Message: "first\n\nwith ünïcode", Author: gitrepo.Person{Name: "Ada <x>\n", Email: "ada@example.com"}})
	must(t, err)
	remote := gitrepo.Remote{URL: url, Auth: gitrepo.Basic(gitserver.User, core.NewToken(gitserver.Password))}
	must(t, newClient(t, nil).Push(t.Context(), repo, remote, "main", plumbing.NewHash(commit.Hash)))
	want := map[string]string{
		"README.md": "100644 hello", "bin/run.sh": "100755 #!/bin/sh", "a.b": "100644 1", "a/c": "100644 2", "a0": "100644 3", "empty": "100644 ",
		".gitignore": "100644 *.log\n/build/\n!keep.log\n# a comment", "keep.log": "100644 yes", "sub/build/out": "100644 yes",
		"sub/.gitignore": "100644 secret", "secret": "100644 yes", "nested/file": "100644 yes",
		"link": "120000 README.md", "far": "120000 " + outside, "broken": "120000 nowhere",
	}
	if diff := cmp.Diff(want, server.Files("acme/shop", "main")); diff != "" {
		t.Error(diff)
	}
	if got := server.Git("acme/shop", "log", "-1", "--format=%H|%an|%ae|%cn|%ct|%B", "main"); got != commit.Hash+"|Ada x|ada@example.com|Ada x|1777863721|first\n\nwith ünïcode" {
		t.Errorf("git says %q", got)
	}
	server.Git("acme/shop", "fsck", "--strict")
}

func TestChangesOnTopOfWhatAServerHas(t *testing.T) {
	t.Parallel()
	server := gitserver.New(t)
	url := server.Create("acme/shop")
	server.Seed("acme/shop", "main", map[string]string{"a": "1", "dir/b": "2", "dir/c": "3"})
	base := server.Seed("acme/shop", "main", map[string]string{"d": "4"})
	remote := gitrepo.Remote{URL: url, Auth: gitrepo.Bearer(core.NewToken(gitserver.Password))}
	client, repo := newClient(t, nil), newRepo(t)
	for _, branch := range []string{"main", ""} {
		head, err := client.Fetch(t.Context(), repo, remote, branch)
		must(t, err)
		if head.String() != base {
			t.Fatalf("the branch %q is at %s, and was fetched as %s", branch, base, head)
		}
	}
	root := open(t, t.TempDir())
	must(t, repo.Checkout(t.Context(), plumbing.NewHash(base), root, "out"))
	if text, err := root.ReadFile("out/dir/b"); err != nil || string(text) != "2\n" {
		t.Errorf("checked out: %q, %v", text, err)
	}
	write(t, root, map[string]string{"new/x": "new", "new/c": "other"})
	tree, err := repo.Change(t.Context(), plumbing.NewHash(base), gitrepo.Change{Remove: []string{"a", "dir/b", "missing"}, From: root, Folder: "new", At: "dir"})
	must(t, err)
	commit, err := repo.Commit(gitrepo.CommitOptions{Tree: tree, Parents: []gitrepo.Hash{plumbing.NewHash(base)}, When: when})
	must(t, err)
	must(t, client.Push(t.Context(), repo, remote, "change", plumbing.NewHash(commit.Hash)))
	must(t, client.Push(t.Context(), repo, remote, "main", plumbing.NewHash(commit.Hash)))
	if diff := cmp.Diff(map[string]string{"dir/c": "100644 other", "dir/x": "100644 new", "d": "100644 4"}, server.Files("acme/shop", "change")); diff != "" {
		t.Error(diff)
	}
	if n := server.Commits("acme/shop", "main"); n != 3 {
		t.Errorf("main has %d commits", n)
	}
	if head, ok, err := client.Branch(t.Context(), remote, "main"); !ok || err != nil || head.String() != commit.Hash {
		t.Errorf("the branch is %s, %t, %v", head, ok, err)
	}
	if _, err := client.Fetch(t.Context(), repo, remote, "missing"); !errors.Is(err, gitrepo.ErrNoBranch) {
		t.Errorf("a missing branch: %v", err)
	}
	other, err := repo.Commit(gitrepo.CommitOptions{Tree: tree, When: when})
	must(t, err)
	var diverged *gitrepo.DivergedError
	if err := client.Push(t.Context(), repo, remote, "main", plumbing.NewHash(other.Hash)); !errors.As(err, &diverged) {
		t.Errorf("an unrelated commit: %v", err)
	}
	server.Git("acme/shop", "fsck", "--strict")
}

func TestWhatIsRetried(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail  func(s *gitserver.Server, remote *gitrepo.Remote)
		tries int
		err   string
	}{
		"a wrong password": {func(_ *gitserver.Server, r *gitrepo.Remote) {
			r.Auth = gitrepo.Basic(gitserver.User, core.NewToken("wr0ng-pass"))
		}, 1, "401"},
		"no password": {func(_ *gitserver.Server, r *gitrepo.Remote) { r.Auth = gitrepo.Auth{} }, 1, "401"},
		"credentials in the URL": {func(_ *gitserver.Server, r *gitrepo.Remote) {
			r.URL = strings.Replace(r.URL, "://", "://x:wr0ng-pass@", 1)
		}, 0, "credentials"},
		"no repository":         {func(_ *gitserver.Server, r *gitrepo.Remote) { r.URL += "x.git" }, 6, "404"},
		"a broken connection":   {func(s *gitserver.Server, _ *gitrepo.Remote) { s.Wire.Cut(1, crashpoint.Before, nil) }, 6, "EOF"},
		"one broken connection": {func(s *gitserver.Server, _ *gitrepo.Remote) { s.Wire.Blip(1, crashpoint.Before) }, 3, ""},
		"a push that was cut":   {func(s *gitserver.Server, _ *gitrepo.Remote) { s.Wire.Blip(2, crashpoint.Before) }, 4, ""},
		"a lost answer":         {func(s *gitserver.Server, _ *gitrepo.Remote) { s.Wire.Blip(2, crashpoint.After) }, 3, ""},
		"a hook that says no": {func(s *gitserver.Server, _ *gitrepo.Remote) {
			s.Hook("acme/shop", "pre-receive", "#!/bin/sh\necho 'GH013: not on a Friday' >&2\nexit 1\n")
		}, 2, "not on a Friday"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gitserver.New(t)
			remote := gitrepo.Remote{URL: server.Create("acme/shop"), Auth: gitrepo.Basic(gitserver.User, core.NewToken(gitserver.Password))}
			test.fail(server, &remote)
			root := open(t, t.TempDir())
			write(t, root, map[string]string{"a": "1"})
			repo := newRepo(t)
			tree, err := repo.AddFolder(t.Context(), root, ".")
			must(t, err)
			commit, err := repo.Commit(gitrepo.CommitOptions{Tree: tree, When: when})
			must(t, err)
			var slept []time.Duration
			err = newClient(t, &slept).Push(t.Context(), repo, remote, "main", plumbing.NewHash(commit.Hash))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("the error is %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), gitserver.Password) || strings.Contains(err.Error(), "wr0ng-pass") && name != "credentials in the URL") {
				t.Errorf("the password is in the error: %v", err)
			}
			if n := server.Wire.Requests(); n != test.tries {
				t.Errorf("%d requests in place of %d: %q", n, test.tries, server.Wire.Log())
			}
			if err == nil && (server.Head("acme/shop", "main") != commit.Hash || server.Commits("acme/shop", "main") != 1) {
				t.Error("the branch does not have the one commit")
			}
			if test.tries == 6 {
				if diff := cmp.Diff([]time.Duration{2e9, 4e9, 8e9, 16e9, 32e9}, slept); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// publishing is an action that publishes the workspace.
func publishing(client *gitrepo.Client, defaults gitrepo.Defaults, what gitrepo.Publication) scaffoldernode.Action {
	publisher := &gitrepo.Publisher{Client: client, Defaults: defaults}
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "acme:publish"},
		func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
			Commit string `json:"commit"`
		}, err error) {
			out.Commit, err = publisher.Publish(ctx, c, what)
			return out, err
		})
}

func TestAPublicationIsOneCommitWhereverTheProcessDies(t *testing.T) {
	t.Parallel()
	const most = 3
	for n := 1; n <= most; n++ {
		for _, point := range []crashpoint.Point{crashpoint.Before, crashpoint.After} {
			server := gitserver.New(t)
			what := gitrepo.Publication{
				Remote: gitrepo.Remote{URL: server.Create("acme/shop"), Auth: gitrepo.Basic(gitserver.User, core.NewToken(gitserver.Password))},
				Branch: "main", Key: "acme/shop", Sign: true,
			}
			action := publishing(newClient(t, nil), gitrepo.Defaults{Key: signingKey(t)}, what)
			ctx, die := context.WithCancel(t.Context())
			server.Wire.Cut(n, point, die)
			first := actiontest.Run(t, action, struct{}{}, actiontest.WithFile("a", "1"), actiontest.In(ctx))
			if (first.Err != nil) != server.Wire.WasCut() || n < most != server.Wire.WasCut() {
				t.Fatalf("request %d, %s it acted: %v", n, point, first.Err)
			}
			die()
			server.Wire.Mend()
			again := actiontest.Run(t, action, struct{}{}, actiontest.After(first))
			must(t, again.Err)
			if got := server.Head("acme/shop", "main"); got != again.Outputs["commit"] || server.Commits("acme/shop", "main") != 1 {
				t.Errorf("request %d, %s it acted: the branch is at %s, the output is %v", n, point, got, again.Outputs["commit"])
			}
		}
	}
}

func signingKey(t *testing.T) *gitrepo.SigningKey {
	t.Helper()
	key, err := gitrepo.ParseSigningKey(core.NewToken(armored(t, "")))
	must(t, err)
	return key
}

func armored(t *testing.T, passphrase string) string {
	t.Helper()
	created := when.Add(-time.Hour)
	entity, err := openpgp.NewEntity("Bot", "", "bot@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return created }})
	must(t, err)
	if passphrase != "" {
		must(t, entity.EncryptPrivateKeys([]byte(passphrase), nil))
	}
	var text strings.Builder
	w, err := armor.Encode(&text, openpgp.PrivateKeyType, nil)
	must(t, err)
	must(t, entity.SerializePrivateWithoutSigning(w, nil), w.Close())
	return text.String()
}

func TestCommitsAreSigned(t *testing.T) {
	t.Parallel()
	text := armored(t, "")
	key, err := gitrepo.ParseSigningKey(core.NewToken(text))
	must(t, err)
	repo, root := newRepo(t), open(t, t.TempDir())
	tree, err := repo.AddFolder(t.Context(), root, ".")
	must(t, err)
	o := gitrepo.CommitOptions{Tree: tree, When: when, Key: key}
	commit, err := repo.Commit(o)
	must(t, err)
	again, err := repo.Commit(o)
	must(t, err)
	if commit != again {
		t.Error("the same commit has two signatures")
	}
	if !strings.Contains(commit.Text, "author Scaffolder <scaffolder@backstage.io> 1777863721 +0000\ncommitter Scaffolder <scaffolder@backstage.io> 1777863721 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n ") {
		t.Errorf("the commit is\n%s", commit.Text)
	}
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(text))
	must(t, err)
	head, message, _ := strings.Cut(commit.Text, "\n\n")
	plain, signature, _ := strings.Cut(head, "gpgsig ")
	signed := plain + "\n" + message
	if _, err := openpgp.CheckArmoredDetachedSignature(ring, strings.NewReader(signed), strings.NewReader(strings.ReplaceAll(signature, "\n ", "\n")), &packet.Config{Time: func() time.Time { return when }}); err != nil {
		t.Errorf("the signature does not fit: %v\n%s", err, commit.Text)
	}
}

func TestSigningKeysThatAreNoKeys(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "s3cret-text", armored(t, "s3cret-text")} {
		if _, err := gitrepo.ParseSigningKey(core.NewToken(text)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestDefaultsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	d, err := gitrepo.ReadDefaults(configtest.FromYAML(t, "scaffolder: {defaultAuthor: {name: Bot, email: bot@example.com}, defaultCommitMessage: made}\n"))
	must(t, err)
	if diff := cmp.Diff(gitrepo.Defaults{Author: gitrepo.Person{Name: "Bot", Email: "bot@example.com"}, Message: "made"}, d); diff != "" {
		t.Error(diff)
	}
	_, err = gitrepo.ReadDefaults(configtest.FromYAML(t, "scaffolder: {defaultCommitSigningKey: s3cret-text}\n"))
	var wrong *core.ConfigError
	if !errors.As(err, &wrong) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a key that is none: %v", err)
	}
}

func TestSourceFolder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": ".", ".": ".", "./a": "a", "a/b/": "a/b", "../a": "a", "../../a/../b": "b", "..": ".", "a/../../b": "b", "/a": "a", "..a": "..a"} {
		if got, err := gitrepo.SourceFolder(text); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestNothingOutsideOfTheWorkspaceIsRead(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, open(t, outside), map[string]string{"secret": "s3cret"})
	root := open(t, t.TempDir())
	write(t, root, map[string]string{"inside/a": "1"})
	must(t, root.Symlink(outside, "out"), root.Symlink("inside", "in"))
	repo := newRepo(t)
	if _, err := repo.AddFolder(t.Context(), root, "out"); err == nil {
		t.Error("a folder outside was added")
	}
	tree, err := repo.AddFolder(t.Context(), root, "in")
	must(t, err)
	same, err := repo.AddFolder(t.Context(), root, "inside")
	must(t, err)
	if tree != same {
		t.Error("a link to a folder inside leads to other files")
	}
}

func TestNothingOutsideOfTheWorkspaceIsWritten(t *testing.T) {
	t.Parallel()
	for name, listing := range map[string]func(blob string) string{
		"an absolute link":         func(blob string) string { return "120000 " + blob + "\tlink\n" },
		"a link with a file below": func(blob string) string { return "120000 " + blob + "\tlink\n100644 " + blob + "\tlink2/x\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gitserver.New(t)
			url := server.Create("acme/evil")
			outside := t.TempDir()
			blob, err := server.TryGit("acme/evil", outside, "hash-object", "-w", "--stdin")
			must(t, err)
			tree, err := server.Tree("acme/evil", "", listing(blob))
			must(t, err)
			commit, err := server.TryGit("acme/evil", "", "commit-tree", tree, "-m", "evil")
			must(t, err)
			server.Git("acme/evil", "update-ref", "refs/heads/main", commit)
			client, repo := newClient(t, nil), newRepo(t)
			head, err := client.Fetch(t.Context(), repo, gitrepo.Remote{URL: url, Auth: gitrepo.Bearer(core.NewToken(gitserver.Password))}, "main")
			must(t, err)
			root := open(t, t.TempDir())
			if err := repo.Checkout(t.Context(), head, root, "."); err == nil || !strings.Contains(err.Error(), "leads outside") {
				t.Errorf("it was checked out: %v", err)
			}
			left, err := os.ReadDir(outside)
			if err != nil || len(left) > 0 {
				t.Errorf("there are %v outside, %v", left, err)
			}
		})
	}
}

func TestCredentialsStayAtTheHost(t *testing.T) {
	t.Parallel()
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(other.Close)
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/x.git/info/refs", http.StatusFound))
	t.Cleanup(first.Close)
	remote := gitrepo.Remote{URL: first.URL + "/x.git", Auth: gitrepo.Bearer(core.NewToken("s3cret"))}
	_, _, err := newClient(t, nil).Branch(t.Context(), remote, "main")
	if err == nil || asked || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("asked: %t; %v", asked, err)
	}
}

func TestTheEgressGuardIsTheDefault(t *testing.T) {
	t.Parallel()
	server := gitserver.New(t)
	client := gitrepo.NewClient(gitrepo.Options{Sleep: func(context.Context, time.Duration) error { t.Error("it was tried again"); return nil }})
	t.Cleanup(client.Close)
	if _, _, err := client.Branch(t.Context(), gitrepo.Remote{URL: server.Create("acme/shop")}, "main"); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("the loopback was reached: %v", err)
	}
}

func TestLargeRepositoriesAreRefused(t *testing.T) {
	t.Parallel()
	server := gitserver.New(t)
	url := server.Create("acme/shop")
	server.Seed("acme/shop", "main", map[string]string{"a": "1"})
	client := gitrepo.NewClient(gitrepo.Options{Transport: &http.Transport{DisableKeepAlives: true}, MaxFetch: 50})
	_, err := client.Fetch(t.Context(), newRepo(t), gitrepo.Remote{URL: url, Auth: gitrepo.Bearer(core.NewToken(gitserver.Password))}, "main")
	if err == nil || !strings.Contains(err.Error(), "larger than is allowed") {
		t.Errorf("it was fetched: %v", err)
	}
}
