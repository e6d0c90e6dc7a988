package scaffoldermodulegithub_test

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/fakegithub"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

func TestPublishSetsUpAndPushes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.defaults = gitrepo.Defaults{Author: gitrepo.Person{Name: "Bot", Email: "bot@example.com"}}
	run := w.run("publish:github", map[string]any{
		"description": "The shop", "homepage": "https://shop.example.com", "repoVisibility": "internal", "access": "ada",
		"collaborators": []any{
			map[string]any{"team": "group:default/shop-team", "access": "maintain"},
			map[string]any{"user": "nobody", "access": "push"},
			map[string]any{"username": "old", "access": "pull"},
		},
		"topics": []string{"Go", "SHOP"}, "repoVariables": map[string]any{"A": "1"}, "secrets": map[string]any{"S": "s3cret"},
		"oidcCustomization": map[string]any{"useDefault": false, "includeClaimKeys": []string{"repo"}},
		"customProperties":  map[string]any{"tier": "1", "langs": []string{"go"}}, "hasWiki": false, "allowMergeCommit": false,
		"sourcePath": "./service", "gitCommitMessage": "made", "gitAuthorName": "Ada",
		"requiredStatusCheckContexts": []string{"test"}, "requiredCommitSigning": true, "requiredApprovingReviewCount": 2,
		"bypassPullRequestAllowances": map[string]any{"apps": []string{"bot"}}, "restrictions": map[string]any{"users": []string{"ada"}, "teams": []string{}},
		"protectEnforceAdmins": false,
	}, actiontest.WithFile("service/main.go", "package main"), actiontest.WithFile("service/.hidden", "x"), actiontest.WithFile("other.txt", "no"))
	git := w.Git()
	want := map[string]any{
		"remoteUrl": w.URL + "/acme/shop.git", "repoContentsUrl": w.URL + "/acme/shop/blob/main", "commitHash": git.Head("acme/shop", "main"),
	}
	if diff := cmp.Diff(want, run.Outputs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"main.go": "100644 package main", ".hidden": "100644 x"}, git.Files("acme/shop", "main")); diff != "" {
		t.Error(diff)
	}
	if got := git.Git("acme/shop", "log", "-1", "--format=%an <%ae> %s", "main"); got != "Ada <bot@example.com> made" {
		t.Errorf("the commit is %q", got)
	}
	s := w.setup()
	created := map[string]any{
		"name": "shop", "private": false, "visibility": "internal", "description": "The shop", "homepage": "https://shop.example.com",
		"delete_branch_on_merge": false, "allow_merge_commit": false, "allow_squash_merge": true, "allow_rebase_merge": true,
		"allow_auto_merge": false, "allow_update_branch": false, "squash_merge_commit_title": "COMMIT_OR_PR_TITLE", "squash_merge_commit_message": "COMMIT_MESSAGES",
		"has_wiki": false, "custom_properties": map[string]any{"tier": "1", "langs": []any{"go"}},
	}
	if diff := cmp.Diff(created, s.Created); diff != "" {
		t.Error(diff)
	}
	protection := map[string]any{
		"required_status_checks": map[string]any{"strict": true, "contexts": []any{"test"}},
		"restrictions":           map[string]any{"users": []any{"ada"}, "teams": []any{}},
		"enforce_admins":         false,
		"required_pull_request_reviews": map[string]any{
			"required_approving_review_count": 2.0, "require_code_owner_reviews": false, "dismiss_stale_reviews": false, "require_last_push_approval": false,
			"bypass_pull_request_allowances": map[string]any{"apps": []any{"bot"}},
		},
		"required_conversation_resolution": false, "required_linear_history": false, "block_creations": false,
	}
	if diff := cmp.Diff(map[string]any{"main": protection}, s.Protection); diff != "" {
		t.Error(diff)
	}
	for name, pair := range map[string][2]any{
		"collaborators": {map[string]string{"ada": "admin"}, s.Collaborators},
		"teams":         {map[string]string{"shop-team": "maintain"}, s.Teams},
		"variables":     {map[string]string{"A": "1"}, s.Variables},
		"secrets":       {map[string]string{"S": "s3cret"}, s.Secrets},
		"oidc":          {map[string]any{"use_default": false, "include_claim_keys": []any{"repo"}}, s.OIDC},
		"signatures":    {map[string]bool{"main": true}, s.Signatures},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if !strings.Contains(run.Log, "Skipping push access for nobody, Not Found") {
		t.Errorf("the log does not tell who is unknown:\n%s", run.Log)
	}
	w.Change(func(w *fakegithub.World) {
		if diff := cmp.Diff([]string{"go", "shop"}, w.Repository("acme", "shop").Topics); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCreateWithoutPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.run("github:repo:create", map[string]any{"autoInit": true, "workflowAccess": "organization", "subscribe": true, "topics": []string{"a"}})
	if diff := cmp.Diff(map[string]any{"remoteUrl": w.URL + "/acme/shop.git"}, run.Outputs); diff != "" {
		t.Error(diff)
	}
	s := w.setup()
	if s.Created["private"] != true || s.Created["visibility"] != "private" || s.WorkflowAccess != "organization" || !s.Subscribed || w.Git().Commits("acme/shop", "main") != 1 {
		t.Errorf("the repository is %+v", s)
	}
}

func TestWhatCannotBePublished(t *testing.T) {
	t.Parallel()
	taken := `Failed to create the Organization repository acme/shop, Repository creation failed.: {"resource":"Repository","code":"custom","field":"name","message":"name already exists on this account"}`
	for name, test := range map[string]struct {
		id      string
		input   map[string]any
		prepare func(w *world)
		err     string
		kind    apierr.Kind
	}{
		"a name that is taken": {id: "publish:github", prepare: func(w *world) { w.AddGitRepository("acme", "shop", nil) }, err: taken},
		"a team that is not there": {
			id: "github:repo:create", input: map[string]any{"access": "acme/nobody"},
			err: "Received 'Not Found' from the API; one of org: acme or team: nobody was not found within GitHub.", kind: apierr.KindNotFound,
		},
		"an owner that is not there": {id: "github:repo:create", input: map[string]any{"repoUrl": "?owner=nobody&repo=shop"}, err: "read the owner nobody: Not Found"},
		"a user that is another":     {id: "github:repo:create", input: map[string]any{"repoUrl": "?owner=ada&repo=shop"}, err: "Failed to create the User repository ada/shop, the token is that of fake-bot, which cannot create repositories of the user ada", kind: apierr.KindInput},
		"a host that is none":        {id: "github:repo:create", input: map[string]any{"repoUrl": "!evil.example.com?owner=acme&repo=shop"}, err: "No matching integration configuration for host evil.example.com, please check your integrations config", kind: apierr.KindInput},
		"a host that is another":     {id: "github:repo:create", input: map[string]any{"repoUrl": "!gitlab.com?owner=acme&repo=shop"}, err: "No matching integration configuration for host gitlab.com, please check your integrations config", kind: apierr.KindInput},
		"no owner":                   {id: "github:repo:create", input: map[string]any{"repoUrl": "?repo=shop"}, err: "missing owner", kind: apierr.KindInput},
		"no token of the user": {
			id: "github:issues:create", input: map[string]any{"title": "x"}, prepare: func(w *world) { w.userTokens = true },
			err: "No user credentials provided for host HOST, but scaffolder.requireScmUserCredentials is enabled", kind: apierr.KindInput,
		},
		"a repository that is not there":   {id: "github:repo:push", err: "read the repository acme/shop: Not Found"},
		"a repository that has a history":  {id: "github:repo:push", prepare: existing, err: "the branch main is there already and has other commits"},
		"a folder that is not there":       {id: "github:repo:push", input: map[string]any{"sourcePath": "missing"}, prepare: existing, err: "no such file"},
		"a token that is none":             {id: "github:repo:push", input: map[string]any{"token": "s3cret"}, prepare: existing, err: "Bad credentials"},
		"a setting that is none":           {id: "github:repo:create", input: map[string]any{"repoVisibility": "secret"}, err: "repoVisibility"},
		"an input that there is not":       {id: "publish:github", input: map[string]any{"autoInit": true}, err: "does not have"},
		"a repository that may not be set": {id: "github:repo:create", input: map[string]any{"access": "nobody"}, err: "give the user nobody access: Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.prepare != nil {
				test.prepare(w)
			}
			input := map[string]any{}
			maps.Copy(input, test.input)
			if text, ok := input["repoUrl"].(string); ok {
				input["repoUrl"] = strings.TrimPrefix(strings.Replace(w.Host+text, w.Host+"!", "", 1), "!")
			}
			run := w.try(test.id, input, actiontest.WithFile("a", "1"))
			if run.Err == nil || !strings.Contains(run.Err.Error(), strings.ReplaceAll(test.err, "HOST", w.Host)) {
				t.Fatalf("the error is %v", run.Err)
			}
			if test.kind != "" && apierr.KindOf(run.Err) != test.kind {
				t.Errorf("the kind of %v is %s", run.Err, apierr.KindOf(run.Err))
			}
		})
	}
}

func TestNobodyElsesRepositoryIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var world *fakegithub.World
	w.Change(func(x *fakegithub.World) { world = x })
	w.Git().Create("acme/shop")
	w.Inject(func(_ int, r *fakegithub.Request) *fakegithub.Failure {
		if strings.HasSuffix(r.Path, "/orgs/acme/repos") && world.Repository("acme", "shop") == nil {
			world.AddRepository(fakegithub.Repository{Owner: "acme", Name: "shop"})
		}
		return nil
	})
	first := w.try("publish:github", map[string]any{}, actiontest.WithFile("a", "1"))
	again := w.try("publish:github", map[string]any{}, actiontest.After(first))
	for _, run := range []*actiontest.Result{first, again} {
		if run.Err == nil || !strings.Contains(run.Err.Error(), "name already exists on this account") {
			t.Errorf("a repository that somebody made a moment before: %v", run.Err)
		}
	}
	if branches := w.Git().Branches("acme/shop"); len(branches) > 0 {
		t.Errorf("it got %q", branches)
	}
}

func TestTheOldNameOfARepositoryIsFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddGitRepository("acme", "renamed", nil)
	var world *fakegithub.World
	w.Change(func(x *fakegithub.World) { world = x })
	w.Inject(func(_ int, r *fakegithub.Request) *fakegithub.Failure {
		if r.Path == "/api/v3/repos/acme/shop" && world.Repository("acme", "shop") == nil {
			return &fakegithub.Failure{Status: http.StatusMovedPermanently, Header: map[string]string{"Location": w.URL + "/api/v3/repos/acme/renamed"}}
		}
		return nil
	})
	w.run("publish:github", map[string]any{}, actiontest.WithFile("a", "1"))
	if len(w.Git().Branches("acme/renamed")) > 0 || w.Git().Commits("acme/shop", "main") != 1 {
		t.Error("the renamed repository was taken for the new one")
	}
}

func TestWarningsAboutProtection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(w *world)
		log     string
	}{
		"a free plan": {func(w *world) { w.Change(func(w *fakegithub.World) { w.FreePlan = true }) }, "plans that are paid for"},
		"no right": {func(w *world) {
			w.Inject(func(_ int, r *fakegithub.Request) *fakegithub.Failure {
				if strings.HasSuffix(r.Path, "/protection") {
					return &fakegithub.Failure{Status: http.StatusForbidden, Body: `{"message":"Resource not accessible by integration"}`}
				}
				return nil
			})
		}, "Skipping: default branch protection on 'shop', Resource not accessible by integration"},
		"a branch that is noticed late": {func(w *world) {
			failed := false
			w.Inject(func(_ int, r *fakegithub.Request) *fakegithub.Failure {
				if strings.HasSuffix(r.Path, "/protection") && !failed {
					failed = true
					return &fakegithub.Failure{Status: http.StatusNotFound, Body: `{"message":"Branch not found"}`}
				}
				return nil
			})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.prepare(w)
			run := w.run("publish:github", map[string]any{}, actiontest.WithFile("a", "1"))
			if !strings.Contains(run.Log, test.log) {
				t.Errorf("the log is\n%s", run.Log)
			}
			if protected := len(w.setup().Protection) > 0; protected != (test.log == "") {
				t.Errorf("protected is %t", protected)
			}
		})
	}
}

func TestAppsPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	yaml := w.AppIntegration("acme")
	run := actiontest.Run(t, find(t, w.parts(yaml), "publish:github"), map[string]any{"repoUrl": w.url()}, actiontest.WithFile("a", "1"))
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	if w.Git().Commits("acme/shop", "main") != 1 {
		t.Error("nothing was pushed")
	}
	other := actiontest.Run(t, find(t, w.parts(yaml), "publish:github"), map[string]any{"repoUrl": w.url("other", "shop")})
	if other.Err == nil || !strings.Contains(other.Err.Error(), "No token available for host: "+w.Host+", with owner other, and repo shop") {
		t.Errorf("an owner without the app: %v", other.Err)
	}
}

func TestPublishWhereGitIsOutOfReach(t *testing.T) {
	t.Parallel()
	now, key := time.Now(), signingKey(t)
	publish := func(t *testing.T, block bool) (*world, *actiontest.Result) {
		w := newWorld(t)
		w.defaults.Key = key
		w.now = func() time.Time { return now }
		if block {
			w.blockGit()
		}
		return w, w.run("publish:github", map[string]any{}, actiontest.WithFile("a/b", "1"), actiontest.WithFile("bin", "\x00"), actiontest.WithContext(escape),
			actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
				if err := c.Workspace.Chmod("a/b", 0o755); err != nil {
					t.Error(err)
				}
			}))
	}
	plain, pushed := publish(t, false)
	w, run := publish(t, true)
	git := w.Git()
	if diff := cmp.Diff(plain.Git().Files("acme/shop", "main"), git.Files("acme/shop", "main")); diff != "" {
		t.Error(diff)
	}
	if git.Head("acme/shop", "main") != run.Outputs["commitHash"] || git.Commits("acme/shop", "main") != 1 {
		t.Error("the branch does not have the one commit")
	}
	if run.Outputs["commitHash"] != pushed.Outputs["commitHash"] {
		t.Error("git would have pushed another commit")
	}
	raw := git.Git("acme/shop", "cat-file", "commit", "main")
	if !strings.Contains(raw, "gpgsig -----BEGIN PGP SIGNATURE-----") || !strings.Contains(raw, "author Scaffolder <scaffolder@backstage.io>") || !strings.HasSuffix(raw, "\n\ninitial commit") {
		t.Errorf("the commit is\n%s", raw)
	}
	if !strings.Contains(run.Log, "trying another way") || strings.Contains(run.Log, "changed") {
		t.Errorf("the log is\n%s", run.Log)
	}
	git.Git("acme/shop", "fsck", "--strict")
}

func signingKey(t *testing.T) *gitrepo.SigningKey {
	t.Helper()
	created := time.Now().Add(-time.Hour)
	entity, err := openpgp.NewEntity("Bot", "", "bot@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return created }})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	w, err := armor.Encode(&text, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(entity.SerializePrivateWithoutSigning(w, nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	key, err := gitrepo.ParseSigningKey(core.NewToken(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
