package scaffoldermodulegithub_test

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/fakegithub"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// pullInput is the least input of a pull request.
func pullInput(more map[string]any) map[string]any {
	in := map[string]any{"branchName": "change", "title": "Change", "description": "it"}
	maps.Copy(in, more)
	return in
}

func dry(c *scaffoldernode.ActionContext) { c.DryRun = true }

func TestPullRequestsHaveTheFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddGitRepository("acme", "shop", map[string]string{"keep.txt": "keep", "docs/old.md": "old", "docs/same.md": "same"})
	run := w.run("publish:github:pull-request", pullInput(map[string]any{
		"sourcePath": "out", "targetPath": "docs", "filesToDelete": []string{"old.md", "../keep.txt"}, "draft": true, "commitMessage": "the message",
		"reviewers": []string{"ada", "ada"}, "teamReviewers": []string{"shop-team"}, "assignees": []string{"ada"}, "gitAuthorName": "Ada",
	}), actiontest.WithFile("out/new.md", "new"), actiontest.WithFile("out/.gitignore", "*.tmp\n"), actiontest.WithFile("out/x.tmp", "no"),
		actiontest.WithFile("out/run.sh", "#!/bin/sh"), actiontest.WithFile("out/large.txt", strings.Repeat("x", 200<<10)), actiontest.WithFile("out/logo.bin", "a\x00\xff"),
		actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
			if err := c.Workspace.Chmod("out/run.sh", 0o755); err != nil {
				t.Error(err)
			}
			if err := c.Workspace.Symlink("new.md", "out/link"); err != nil {
				t.Error(err)
			}
		}))
	want := map[string]any{"targetBranchName": "main", "remoteUrl": w.URL + "/acme/shop/pull/1", "pullRequestNumber": 1.0}
	if diff := cmp.Diff(want, run.Outputs); diff != "" {
		t.Error(diff)
	}
	files := w.Git().Files("acme/shop", "change")
	if large := files["docs/large.txt"]; len(large) != len("100644 ")+200<<10 {
		t.Errorf("the large file has %d bytes", len(large))
	}
	delete(files, "docs/large.txt")
	if diff := cmp.Diff(map[string]string{
		"keep.txt": "100644 keep", "docs/same.md": "100644 same", "docs/new.md": "100644 new", "docs/.gitignore": "100644 *.tmp",
		"docs/run.sh": "100755 #!/bin/sh", "docs/link": "120000 new.md", "docs/logo.bin": "100644 a\x00\xff",
	}, files); diff != "" {
		t.Error(diff)
	}
	if got := w.Git().Git("acme/shop", "log", "-1", "--format=%an <%ae> %s", "change"); got != "Ada <scaffolder@backstage.io> the message" {
		t.Errorf("the commit is %q", got)
	}
	p := pulls(w)[0]
	if !p.Draft || p.Title != "Change" || p.Body != "it" || cmp.Diff([]string{"ada"}, p.Reviewers) != "" || cmp.Diff([]string{"shop-team"}, p.TeamReviewers) != "" || cmp.Diff([]string{"ada"}, p.Assignees) != "" {
		t.Errorf("the pull request is %+v", p)
	}
	if !strings.Contains(run.Log, "Added users [ada, ada] and teams [shop-team] as reviewers to Pull request 1") {
		t.Errorf("the log is\n%s", run.Log)
	}
}

func TestKindsOfPullRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		input    map[string]any
		prepare  func(w *world)
		options  []actiontest.Option
		err, log string
		check    func(t *testing.T, w *world, run *actiontest.Result)
	}{
		"a dry run": {
			options: []actiontest.Option{actiontest.WithContext(dry)},
			check: func(t *testing.T, w *world, run *actiontest.Result) {
				if diff := cmp.Diff(map[string]any{"targetBranchName": "change", "remoteUrl": w.url(), "pullRequestNumber": 43.0}, run.Outputs); diff != "" {
					t.Error(diff)
				}
				if len(pulls(w)) > 0 {
					t.Error("it made one")
				}
			},
		},
		"nothing changes": {
			input: map[string]any{"createWhenEmpty": false}, options: []actiontest.Option{actiontest.WithFile("old.txt", "old\n")}, log: "Nothing changes",
			check: func(t *testing.T, w *world, run *actiontest.Result) {
				if len(run.Outputs) > 0 || len(pulls(w)) > 0 {
					t.Errorf("it made one: %v", run.Outputs)
				}
			},
		},
		"nothing changes, and it is made": {
			options: []actiontest.Option{actiontest.WithFile("old.txt", "old\n")},
			check: func(t *testing.T, w *world, _ *actiontest.Result) {
				if len(pulls(w)) != 1 {
					t.Error("it made none")
				}
			},
		},
		"one that is there": {
			prepare: func(w *world) { w.run("publish:github:pull-request", pullInput(nil), actiontest.WithFile("a", "1")) },
			options: []actiontest.Option{actiontest.WithFile("a", "2")},
			err:     "Pull request creation failed; caused by Pull request already exists: URL/acme/shop/pull/2. Set update=true to enable updating",
		},
		"a branch that was left": {
			prepare: func(w *world) {
				w.run("publish:github:pull-request", pullInput(nil), actiontest.WithFile("a", "1"))
				pulls(w)[0].State = "closed"
			},
			options: []actiontest.Option{actiontest.WithFile("a", "2")},
			check: func(t *testing.T, w *world, _ *actiontest.Result) {
				if len(pulls(w)) != 2 || w.Git().Files("acme/shop", "change")["a"] != "100644 2" {
					t.Errorf("there are %d", len(pulls(w)))
				}
			},
		},
		"a repository that may only be read": {
			prepare: func(w *world) {
				w.Change(func(w *fakegithub.World) { w.Repository("acme", "shop").ReadOnly = true })
			},
			check: func(t *testing.T, w *world, _ *actiontest.Result) {
				if p := pulls(w); len(p) != 1 || p[0].Owner != fakegithub.Self {
					t.Errorf("there are %+v", p)
				}
			},
		},
		"the author of the configuration": {
			prepare: func(w *world) {
				w.defaults = gitrepo.Defaults{Author: gitrepo.Person{Email: "bot@example.com"}, Message: "by default"}
			},
			check: func(t *testing.T, w *world, _ *actiontest.Result) {
				if got := w.Git().Git("acme/shop", "log", "-1", "--format=%an <%ae> %s", "change"); got != "Scaffolder <bot@example.com> by default" {
					t.Errorf("the commit is %q", got)
				}
			},
		},
		"the author of the host": {
			input:   map[string]any{"forceEmptyGitAuthor": true, "gitAuthorName": "Ada"},
			prepare: func(w *world) { w.defaults = gitrepo.Defaults{Author: gitrepo.Person{Email: "bot@example.com"}} },
			check: func(t *testing.T, w *world, _ *actiontest.Result) {
				if got := w.Git().Git("acme/shop", "log", "-1", "--format=%an %s", "change"); got != "Fake Change" {
					t.Errorf("the commit is %q", got)
				}
			},
		},
		"reviewers that are not there":  {input: map[string]any{"reviewers": []string{"nobody"}}, log: "Failure when adding reviewers to Pull request 2: Reviews may only"},
		"another target":                {input: map[string]any{"targetBranchName": "missing"}, err: "Pull request creation failed; caused by read the branch missing: No commit found"},
		"itself":                        {input: map[string]any{"branchName": "main"}, err: "into itself"},
		"a folder that leads outside":   {input: map[string]any{"targetPath": "../.."}, err: "leads outside"},
		"a file that leads outside":     {options: []actiontest.Option{actiontest.WithContext(escape)}, log: ""},
		"a source that is not there":    {input: map[string]any{"sourcePath": "missing"}, err: "Pull request creation failed"},
		"a source that leads outside":   {input: map[string]any{"sourcePath": "../../etc"}, err: "Pull request creation failed"},
		"a token that may do less":      {prepare: func(w *world) { w.setup().Denied = []string{"/git/trees"} }, err: "Pull request creation failed; caused by store the files: Resource not accessible by integration"},
		"a title that is not there":     {input: map[string]any{"title": "", "commitMessage": "x"}, err: `Pull request creation failed; caused by Validation Failed: {"code":"missing_field","field":"title","resource":"PullRequest"}`},
		"another kind of input, update": {input: map[string]any{"update": "yes"}, err: "update"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			existing(w)
			if test.prepare != nil {
				test.prepare(w)
			}
			options := test.options
			if options == nil {
				options = []actiontest.Option{actiontest.WithFile("a", "1")}
			}
			run := w.try("publish:github:pull-request", pullInput(test.input), options...)
			if wrong := strings.ReplaceAll(test.err, "URL", w.URL); (run.Err == nil) != (test.err == "") || run.Err != nil && !strings.Contains(run.Err.Error(), wrong) {
				t.Fatalf("the error is %v", run.Err)
			}
			if !strings.Contains(run.Log, test.log) {
				t.Errorf("the log is\n%s", run.Log)
			}
			if test.check != nil {
				test.check(t, w, run)
			}
		})
	}
}

// escape puts a link into the workspace that leads to a secret of the machine:
// the link is what gets into the commit.
func escape(c *scaffoldernode.ActionContext) {
	if err := c.Workspace.Symlink("/etc/passwd", "passwd"); err != nil && !os.IsExist(err) {
		panic(err)
	}
}

func TestIssues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	existing(w)
	run := w.run("github:issues:create", map[string]any{"title": "Title", "body": "Body", "assignees": []string{"ada"}, "labels": []string{"a"}, "milestone": "1"})
	if diff := cmp.Diff(map[string]any{"issueUrl": w.URL + "/acme/shop/issues/2", "issueNumber": 2.0}, run.Outputs); diff != "" {
		t.Error(diff)
	}
	made := w.setup().Issues[1]
	if !strings.HasPrefix(made.Body, "Body\n\n<!-- scaffolder:") || made.Title != "Title" || made.Labels[0] != "a" || made.Assignees[0] != "ada" {
		t.Errorf("the issue is %+v", made)
	}
	if run := w.try("github:issues:create", map[string]any{"title": "x", "milestone": 7}); run.Err == nil || !strings.Contains(run.Err.Error(), `create the issue in acme/shop: Validation Failed: {"code":"invalid","field":"milestone","resource":"Issue"}`) {
		t.Errorf("a milestone that is not there: %v", run.Err)
	}
	run = w.run("github:issues:create", map[string]any{"title": "x"}, actiontest.WithContext(dry))
	if diff := cmp.Diff(map[string]any{"issueUrl": "https://" + w.Host + "/acme/shop/issues/42", "issueNumber": 42.0}, run.Outputs); diff != "" {
		t.Error(diff)
	}
	if len(w.setup().Issues) != 2 {
		t.Error("the dry run created an issue")
	}
	w.run("github:issues:label", map[string]any{"number": 2, "labels": []string{"b"}})
	if diff := cmp.Diff([]string{"a", "b"}, made.Labels); diff != "" {
		t.Error(diff)
	}
	if run := w.run("github:issues:label", map[string]any{"number": 99, "labels": []string{"b"}}); !strings.Contains(run.Log, "Failed: adding labels to issue: '99' on repo: 'shop', Not Found") {
		t.Errorf("the log is\n%s", run.Log)
	}
}

func TestWorkflows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	existing(w)
	input := func(more map[string]any) map[string]any {
		in := map[string]any{"workflowId": "release.yaml", "branchOrTagName": "main", "workflowInputs": map[string]any{"v": "1"}}
		maps.Copy(in, more)
		return in
	}
	if run := w.run("github:actions:dispatch", input(nil)); len(run.Outputs) > 0 {
		t.Errorf("the outputs are %v", run.Outputs)
	}
	run := w.run("github:actions:dispatch", input(map[string]any{"returnWorkflowRunDetails": true}))
	if diff := cmp.Diff(map[string]any{"workflowRunId": 9001.0, "workflowRunUrl": w.URL + "/api/v3/repos/acme/shop/actions/runs/9001", "workflowRunHtmlUrl": w.URL + "/acme/shop/actions/runs/9001"}, run.Outputs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"v": "1"}, w.setup().Runs[1]["inputs"]); diff != "" {
		t.Error(diff)
	}
	for text, more := range map[string]map[string]any{
		"start the workflow none.yaml: Not Found":                    {"workflowId": "none.yaml"},
		"start the workflow release.yaml: No ref found for: missing": {"branchOrTagName": "missing"},
	} {
		if run := w.try("github:actions:dispatch", input(more)); run.Err == nil || !strings.Contains(run.Err.Error(), text) {
			t.Errorf("%v: %v", more, run.Err)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	existing(w)
	w.run("github:autolinks:create", map[string]any{"keyPrefix": "S-", "urlTemplate": "https://example.com/<num>", "isAlphanumeric": false})
	if diff := cmp.Diff(map[string]any{"id": 1, "key_prefix": "S-", "url_template": "https://example.com/<num>", "is_alphanumeric": false}, w.setup().Autolinks[0]); diff != "" {
		t.Error(diff)
	}
	if run := w.try("github:autolinks:create", map[string]any{"keyPrefix": "S-", "urlTemplate": "https://other.example.com/<num>"}); run.Err == nil || !strings.Contains(run.Err.Error(), "create the autolink S-: Validation Failed") {
		t.Errorf("a prefix that is taken: %v", run.Err)
	}
	w.run("github:branch-protection:create", map[string]any{"branch": "main", "enforceAdmins": false, "blockCreations": true})
	if p, ok := w.setup().Protection["main"].(map[string]any); !ok || p["block_creations"] != true || p["enforce_admins"] != false || p["restrictions"] != nil {
		t.Errorf("the protection is %v", p)
	}
	if run := w.try("github:branch-protection:create", map[string]any{"branch": "missing"}); run.Err == nil || !strings.Contains(run.Err.Error(), "protect the branch missing: Branch not found") {
		t.Errorf("a branch that is not there: %v", run.Err)
	}
	w.run("github:pages:enable", map[string]any{"buildType": "legacy", "sourceBranch": "gh", "sourcePath": "/docs"})
	w.run("github:pages:enable", map[string]any{"buildType": "legacy", "sourceBranch": "gh", "sourcePath": "/docs"})
	if diff := cmp.Diff(map[string]any{"build_type": "legacy", "source": map[string]any{"branch": "gh", "path": "/docs"}}, w.setup().Pages); diff != "" {
		t.Error(diff)
	}
	if run := w.try("github:pages:enable", map[string]any{}); run.Err == nil || !strings.Contains(run.Err.Error(), "GitHub Pages is already enabled.") {
		t.Errorf("other pages: %v", run.Err)
	}
	run := w.run("github:deployKey:create", map[string]any{"publicKey": "ssh-ed25519 AAAA", "privateKey": "s3cret", "deployKeyName": "a", "privateKeySecretName": "KEY"})
	if run.Outputs["privateKeySecretName"] != "KEY" || w.setup().Secrets["KEY"] != "s3cret" || w.setup().Keys[0]["title"] != "a" {
		t.Errorf("the outputs are %v", run.Outputs)
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	existing(w)
	if run := w.run("github:webhook", map[string]any{"webhookUrl": "https://ci.example.com"}, actiontest.WithContext(dry)); len(w.setup().Hooks) > 0 {
		t.Errorf("the dry run created a webhook: %s", run.Log)
	}
	w.run("github:webhook", map[string]any{"webhookUrl": "https://ci.example.com"})
	if diff := cmp.Diff(map[string]any{
		"id": 1, "name": "web", "active": true, "events": []any{"push"},
		"config": map[string]any{"url": "https://ci.example.com", "content_type": "form", "insecure_ssl": "0"},
	}, w.setup().Hooks[0]); diff != "" {
		t.Error(diff)
	}
	w.run("github:webhook", map[string]any{"webhookUrl": "https://ci.example.com", "events": []string{"*"}, "active": false, "contentType": "json", "insecureSsl": true, "webhookSecret": "s3cret"})
	if diff := cmp.Diff([]map[string]any{{
		"id": 1, "active": false, "events": []any{"*"},
		"config": map[string]any{"url": "https://ci.example.com", "content_type": "json", "insecure_ssl": "1", "secret": "s3cret"},
	}}, w.setup().Hooks); diff != "" {
		t.Error(diff)
	}
	w.setup().Denied = []string{"/hooks"}
	if run := w.run("github:webhook", map[string]any{"webhookUrl": "https://x.example.com"}); !strings.Contains(run.Log, "Failed: create webhook 'https://x.example.com' on repo: 'shop', Resource not accessible by integration") {
		t.Errorf("the log is\n%s", run.Log)
	}
}

func TestEnvironments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	existing(w)
	run := w.run("github:environment:create", map[string]any{
		"name": "prod", "deploymentBranchPolicy": map[string]any{"protected_branches": false, "custom_branch_policies": true}, "waitTimer": 30, "preventSelfReview": true,
		"reviewers": []string{"user:default/nobody", "group:default/shop-team", "user:default/missing", "component:default/x"},
	})
	if diff := cmp.Diff(map[string]any{
		"deployment_branch_policy": map[string]any{"protected_branches": false, "custom_branch_policies": true},
		"wait_timer":               30.0, "prevent_self_review": true, "reviewers": []any{map[string]any{"type": "Team", "id": 500.0}},
	}, w.setup().Environments["prod"].Settings); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"User not found: nobody, Not Found", "user:default/missing is not in the catalog"} {
		if !strings.Contains(run.Log, text) {
			t.Errorf("the log does not say %q:\n%s", text, run.Log)
		}
	}
}

func TestAutocompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	existing(w)
	p := w.parts(w.Integration())
	for name, test := range map[string]struct {
		request scaffoldernode.AutocompleteRequest
		want    []scaffoldernode.Completion
		err     string
	}{
		"repositories": {scaffoldernode.AutocompleteRequest{Resource: "repositoriesWithOwner"}, []scaffoldernode.Completion{{ID: "acme/shop"}}, ""},
		"owners":       {scaffoldernode.AutocompleteRequest{Resource: "owners"}, []scaffoldernode.Completion{{ID: "acme"}}, ""},
		"branches":     {scaffoldernode.AutocompleteRequest{Resource: "branches", Context: map[string]string{"owner": "acme", "repository": "shop"}}, []scaffoldernode.Completion{{ID: "main"}}, ""},
		"no owner":     {scaffoldernode.AutocompleteRequest{Resource: "branches"}, nil, "Missing owner and/or repository context parameter"},
		"else":         {scaffoldernode.AutocompleteRequest{Resource: "stars"}, nil, "Invalid resource: stars"},
		"another host": {scaffoldernode.AutocompleteRequest{Resource: "owners", Context: map[string]string{"host": "evil.example.com"}}, nil, "No matching integration configuration for host evil.example.com"},
	} {
		if test.request.Context == nil {
			test.request.Context = map[string]string{}
		}
		if test.request.Context["host"] == "" {
			test.request.Context["host"] = w.Host
		}
		test.request.Token = fakegithub.Token
		got, err := p.Complete(t.Context(), test.request)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
