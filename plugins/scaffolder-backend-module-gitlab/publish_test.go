package scaffoldermodulegitlab

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/fakegitlab"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	w := begin(t, "scaffolder: {defaultCommitMessage: Configured, defaultAuthor: {name: Bot, email: bot@example.com}}")
	out := w.succeeds("publish:gitlab", with(nil, map[string]any{
		"sourcePath": "./out", "gitAuthorName": "Ada",
		"settings": map[string]any{
			"name": "The Shop", "description": "Sells", "visibility": "internal", "topics": []string{"a", "b"}, "merge_method": "ff", "squash_option": "always",
			"auto_devops_enabled": false, "ci_config_path": "ci.yml", "only_allow_merge_if_all_discussions_are_resolved": true,
			"only_allow_merge_if_pipeline_succeeds": true, "allow_merge_on_skipped_pipeline": false,
		},
		"branches": []map[string]any{{"name": "next", "create": true}},
	}), actiontest.WithFile("out/run.sh", "#!/bin/sh"), actiontest.WithFile("other.txt", "other"), actiontest.WithFile("out/.gitignore", "*.log\n"), actiontest.WithFile("out/a.log", "log"))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		if diff := cmp.Diff(map[string]any{
			"remoteUrl": w.URL + "/acme/shop", "repoContentsUrl": w.URL + "/acme/shop/-/blob/master", "projectId": float64(p.ID),
			"commitHash": w.Git.Head("acme/shop", "master"), "created": true,
		}, out); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]any{
			"name": "The Shop", "path": "shop", "namespace_id": 101.0, "description": "Sells", "visibility": "internal", "topics": []any{"a", "b"}, "merge_method": "ff", "squash_option": "always",
			"auto_devops_enabled": false, "ci_config_path": "ci.yml", "only_allow_merge_if_all_discussions_are_resolved": true,
			"only_allow_merge_if_pipeline_succeeds": true, "allow_merge_on_skipped_pipeline": false,
		}, p.Settings); diff != "" {
			t.Error(diff)
		}
	})
	if diff := cmp.Diff(map[string]string{".gitignore": "100644 *.log", "run.sh": "100644 #!/bin/sh"}, w.Git.Files("acme/shop", "master")); diff != "" {
		t.Error(diff)
	}
	if got := w.Git.Git("acme/shop", "log", "--format=%an <%ae> %s", "next"); got != "Ada <bot@example.com> Configured" {
		t.Errorf("the commit is %q", got)
	}
}

func TestPublishForAUser(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	out := w.succeeds("publish:gitlab", map[string]any{
		"repoUrl": "HOST?owner=ada&repo=own", "token": fakegitlab.UserToken, "sourcePath": false, "repoVisibility": "public", "topics": []string{"a"}, "defaultBranch": "main", "setUserAsOwner": true,
	})
	w.project("ada/own", func(p *fakegitlab.Project) {
		if p.Visibility != "public" || p.CreatorID != 2 || p.Members[2] != 50 || p.Topics[0] != "a" || out["commitHash"] != nil || out["repoContentsUrl"] != w.URL+"/ada/own/-/blob/main" {
			t.Errorf("%+v, outputs %v", p, out)
		}
	})
	if n := len(w.Git.Branches("ada/own")); n != 0 {
		t.Errorf("there are %d branches", n)
	}
}

func TestPublishWhatExists(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	out := w.succeeds("publish:gitlab", with(nil, map[string]any{"skipExisting": true}), actiontest.WithFile("README.md", "new"))
	if diff := cmp.Diff(map[string]any{
		"remoteUrl": w.URL + "/acme/shop", "repoContentsUrl": w.URL + "/acme/shop/-/blob/main", "projectId": float64(w.Project("acme/shop").ID), "created": false,
	}, out); diff != "" {
		t.Error(diff)
	}
	w.fails("has already been taken", "publish:gitlab", with(nil, nil))
	w.fails("The namespace nobody is not found or the user doesn't have permissions to access it", "publish:gitlab", map[string]any{"repoUrl": "HOST?owner=nobody&repo=shop"})
	w.fails("No owner provided for host: HOST, and repo shop", "publish:gitlab", map[string]any{"repoUrl": "HOST?project=x&repo=shop"})
	w.fails("Signing commits is enabled but no signing key is provided in the configuration", "publish:gitlab", map[string]any{"repoUrl": "HOST?owner=acme&repo=signed", "signCommit": true})
	w.fails("Branch creation failed for next. POST", "publish:gitlab", map[string]any{"repoUrl": "HOST?owner=acme&repo=two", "branches": []map[string]any{{"name": "next", "create": true, "ref": "nowhere"}}}, actiontest.WithFile("a", "a"))
	w.fails("Environment variable creation failed for SHORT. POST", "publish:gitlab", map[string]any{
		"repoUrl": "HOST?owner=acme&repo=three", "projectVariables": []map[string]any{{"key": "SHORT", "value": "5ecret", "masked": true}},
	}, actiontest.WithFile("a", "a"))
	run := w.run("publish:gitlab", map[string]any{"repoUrl": "HOST?owner=acme&repo=four", "ownerUsername": "nobody"}, actiontest.WithFile("a", "a"))
	if run.Err != nil || !strings.Contains(run.Log, "Could not find GitLab user with username 'nobody'. Skipping owner assignment.") {
		t.Errorf("%v: %s", run.Err, run.Log)
	}
	if p := w.Project("acme/signed"); p != nil {
		t.Error("a project was created that could not be pushed to")
	}
}

func TestCommitsAreSigned(t *testing.T) {
	t.Parallel()
	entity, err := openpgp.NewEntity("Bot", "", "bot@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var key bytes.Buffer
	out, err := armor.Encode(&key, openpgp.PrivateKeyType, nil)
	if err == nil {
		err = entity.SerializePrivate(out, nil)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	w := begin(t, "", fmt.Sprintf("commitSigningKey: %q", key.String()))
	w.succeeds("publish:gitlab", with(nil, map[string]any{"signCommit": true}), actiontest.WithFile("a", "a"))
	if commit := w.Git.Git("acme/shop", "cat-file", "commit", "master"); !strings.Contains(commit, "gpgsig -----BEGIN PGP SIGNATURE-----") {
		t.Errorf("the commit is\n%s", commit)
	}
	broken := begin(t, "", "commitSigningKey: no key")
	broken.fails("commitSigningKey of HOST", "publish:gitlab", with(nil, nil))
}

func TestMergeRequest(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	const id = "publish:gitlab:merge-request"
	out := w.succeeds(id, with(nil, map[string]any{
		"title": "Docs", "description": "Better", "branchName": "docs/better", "targetPath": "docs", "assignee": "ada", "reviewers": []string{"nobody", "ada"},
		"labels": "a,b", "removeSourceBranch": true, "projectid": "ignored",
	}), actiontest.WithFile("docs/old.md", "old\n"), actiontest.WithFile("docs/new.md", "new"), actiontest.WithFile("docs/run.sh", "x"), actiontest.WithFile("other.md", "x"),
		actiontest.WithFile("docs/sub/.gitignore", "*.log"), actiontest.WithFile("docs/sub/a.log", "x"))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		m := p.Requests[0]
		if diff := cmp.Diff(map[string]any{"targetBranchName": "main", "projectid": "acme/shop", "projectPath": "acme/shop", "mergeRequestUrl": m.WebURL}, out); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]any{
			"title": "Docs", "description": "Better", "source_branch": "docs/better", "target_branch": "main", "assignee_id": 2.0, "reviewer_ids": []any{2.0}, "labels": "a,b", "remove_source_branch": true,
		}, m.Parameters); diff != "" {
			t.Error(diff)
		}
	})
	if diff := cmp.Diff(map[string]string{
		"README.md": "100644 Shop", "docs/old.md": "100644 old", "docs/new.md": "100644 new", "docs/run.sh": "100644 x", "docs/sub/.gitignore": "100644 *.log",
	}, w.Git.Files("acme/shop", "docs/better")); diff != "" {
		t.Error(diff)
	}
	// docs/old.md was left out of the commit, as it is the same
	if got := w.Git.Git("acme/shop", "show", "--name-only", "--format=%s", "docs/better"); got != "Docs\n\ndocs/new.md\ndocs/run.sh\ndocs/sub/.gitignore" {
		t.Errorf("the commit has %q", got)
	}

	change := with(nil, map[string]any{"title": "Docs", "branchName": "docs/better", "sourcePath": "."})
	w.fails("The branch creation failed because the branch already exists at: "+w.URL+"/acme/shop/-/tree/docs/better. Additionally, there is a Merge Request for this branch: "+w.URL+"/acme/shop/-/merge_requests/1",
		id, change, actiontest.WithFile("README.md", "other"))
	// the same changes are there: the merge request is found
	if again := w.succeeds(id, change, actiontest.WithFile("docs/new.md", "new")); again["mergeRequestUrl"] != out["mergeRequestUrl"] {
		t.Errorf("again: %v", again)
	}
	w.fails("The branch creation failed because the branch already exists at: "+w.URL+"/acme/shop/-/tree/main.", id, with(nil, map[string]any{"title": "t", "branchName": "main", "commitAction": "create"}), actiontest.WithFile("x", "x"))
	w.fails("Committing the changes to c1 failed. Please check that none of the files created by the template already exists. POST", id,
		with(nil, map[string]any{"title": "t", "branchName": "c1", "commitAction": "create"}), actiontest.WithFile("README.md", "x"))
	w.fails("Relative path is not allowed to refer to a directory outside its parent", id, with(nil, map[string]any{"title": "t", "branchName": "c2", "sourcePath": "../x"}))
	w.fails("404 Project Not Found", id, map[string]any{"repoUrl": "HOST?owner=acme&repo=nothing", "title": "t", "branchName": "c2"})
	for _, name := range []string{"c1", "c2"} {
		if w.Git.Head("acme/shop", name) != "" {
			t.Errorf("the branch %s was left", name)
		}
	}
	// deletions, into another branch
	w.succeeds(id, with(nil, map[string]any{"title": "Away", "branchName": "away", "targetBranchName": "docs/better", "commitAction": "delete", "sourcePath": "gone"}), actiontest.WithFile("gone/docs/new.md", ""))
	if files := w.Git.Files("acme/shop", "away"); len(files) != 4 || files["docs/new.md"] != "" {
		t.Errorf("the files are %v", files)
	}
	// nothing to commit makes a branch without one
	w.succeeds(id, with(nil, map[string]any{"title": "Empty", "branchName": "empty", "commitAction": "skip"}), actiontest.WithFile("a", "a"))
	if w.Git.Head("acme/shop", "empty") != w.Git.Head("acme/shop", "main") {
		t.Error("the branch has a commit")
	}
}

func TestApprovalsOfMergeRequests(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	p := w.Project("acme/shop")
	p.Preparing, p.Approvers = 3, []*fakegitlab.User{w.AddUser("eve")}
	input := with(nil, map[string]any{"title": "t", "branchName": "b", "assignReviewersFromApprovalRules": true, "autoMerge": true, "reviewers": []string{"ada"}})
	w.succeeds("publish:gitlab:merge-request", input, actiontest.WithFile("a", "a"))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		if m := p.Requests[0]; !m.AutoMerge || !cmp.Equal(m.Reviewers, []int64{2, p.Approvers[0].ID}) {
			t.Errorf("%+v", m)
		}
	})
	if w.slept != 3*checkPause {
		t.Errorf("it waited %v", w.slept)
	}
	p.Preparing = checkTries + 10
	run := w.run("publish:gitlab:merge-request", with(input, map[string]any{"branchName": "c", "autoMerge": false}), actiontest.WithFile("a", "a"))
	if run.Err != nil || !strings.Contains(run.Log, "Failed to assign reviewers from approval rules") {
		t.Errorf("%v: %s", run.Err, run.Log)
	}
}

func TestRepoPush(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	const id = "gitlab:repo:push"
	out := w.succeeds(id, with(nil, map[string]any{"branchName": "next", "commitMessage": "Change", "sourcePath": "out", "targetPath": "./docs/"}),
		actiontest.WithFile("out/old.md", "newer"), actiontest.WithFile("out/deep/new.md", "new"))
	if diff := cmp.Diff(map[string]any{"projectid": "acme/shop", "projectPath": "acme/shop", "commitHash": w.Git.Head("acme/shop", "next")}, out); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"README.md": "100644 Shop", "docs/old.md": "100644 newer", "docs/deep/new.md": "100644 new"}, w.Git.Files("acme/shop", "next")); diff != "" {
		t.Error(diff)
	}
	run := w.run(id, with(nil, map[string]any{"branchName": "same", "commitMessage": "Nothing"}), actiontest.WithFile("README.md", "Shop\n"))
	if run.Err != nil || run.Outputs["commitHash"] != nil || !strings.Contains(run.Log, "No file changes to commit to acme/shop on branch 'same'; skipping commit. Set 'allowEmpty: true' to create an empty commit.") {
		t.Errorf("%v, %v: %s", run.Err, run.Outputs, run.Log)
	}
	if w.Git.Head("acme/shop", "same") != w.Git.Head("acme/shop", "main") {
		t.Error("the branch is not at the default branch")
	}
	w.succeeds(id, with(nil, map[string]any{"branchName": "main", "commitMessage": "Away", "commitAction": "delete"}), actiontest.WithFile("docs/old.md", ""))
	if n := len(w.Git.Files("acme/shop", "main")); n != 1 {
		t.Errorf("there are %d files", n)
	}
	w.fails("Committing the changes to main failed. Please check that none of the files created by the template already exists. ", id, with(nil, map[string]any{"branchName": "main", "commitMessage": "m", "commitAction": "create"}), actiontest.WithFile("README.md", "x"))
	w.fails("Committing the changes to main failed. Please verify that all files you're trying to modify exist in the repository. ", id, with(nil, map[string]any{"branchName": "main", "commitMessage": "m", "commitAction": "update"}), actiontest.WithFile("nothing", "x"))
	w.fails("Failed to check status of branch 'b'. Please make sure that branch already exists or Backstage has permissions to create one. ", id, map[string]any{"repoUrl": "HOST?owner=acme&repo=nothing", "branchName": "b", "commitMessage": "m"})

	// the first commit of a repository without any
	w.AddProject("acme/empty")
	w.succeeds(id, map[string]any{"repoUrl": "HOST?project=acme%2Fempty", "branchName": "main", "commitMessage": "First"}, actiontest.WithFile("a", "a"))
	if n := w.Git.Commits("acme/empty", "main"); n != 1 {
		t.Errorf("there are %d commits", n)
	}
}

// TestManyFiles pages through the list of files.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	w.AddProject("acme/shop")
	w.PageTo(3)
	files := map[string]string{}
	var options []actiontest.Option
	for i := range 10 {
		files[fmt.Sprintf("f%d.txt", i)] = "same"
		options = append(options, actiontest.WithFile(fmt.Sprintf("f%d.txt", i), "same\n"))
	}
	w.Git.Seed("acme/shop", "main", files)
	options = append(options, actiontest.WithFile("f9.txt", "changed"))
	w.succeeds("gitlab:repo:push", with(nil, map[string]any{"branchName": "main", "commitMessage": "One"}), options...)
	if got := w.Git.Git("acme/shop", "show", "--name-only", "--format=", "main"); got != "f9.txt" {
		t.Errorf("the commit has %q", got)
	}
}
