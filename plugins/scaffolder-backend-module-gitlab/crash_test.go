package scaffoldermodulegitlab

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/fakegitlab"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

// crashCase is an action whose effect is there once, wherever it is cut off.
type crashCase struct {
	id      string
	input   map[string]any
	files   map[string]string
	prepare func(w *world)
	check   func(t *testing.T, w *world, out map[string]any)
}

func shop(w *world) {
	w.AddProject("acme/shop")
	w.Git.Seed("acme/shop", "main", map[string]string{"README.md": "Shop", "docs/old.md": "old"})
}

var repoURL = "HOST?owner=acme&repo=shop"

// with adds members to an input.
func with(input map[string]any, more map[string]any) map[string]any {
	all := map[string]any{"repoUrl": repoURL}
	for _, m := range []map[string]any{input, more} {
		for name, v := range m {
			all[name] = v
		}
	}
	return all
}

func one(t *testing.T, what string, n int) {
	t.Helper()
	if n != 1 {
		t.Errorf("there are %d of: %s", n, what)
	}
}

func crashCases() []crashCase {
	return []crashCase{
		{
			id: "publish:gitlab", files: map[string]string{"README.md": "Shop", "src/main.go": "package main"},
			input: with(nil, map[string]any{
				"defaultBranch": "main", "setUserAsOwner": true, "ownerUsername": "ada", "topics": []string{"one"},
				"branches":         []map[string]any{{"name": "staging", "create": true, "protect": true}, {"name": "main", "protect": true}},
				"projectVariables": []map[string]any{{"key": "REGION", "value": "eu"}, {"key": "PASSWORD", "value": "hidden-5ecret", "masked_and_hidden": true}},
			}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.Look(func(projects []*fakegitlab.Project, _ []*fakegitlab.Group, _ []*fakegitlab.Migration) {
					one(t, "project", len(projects))
					p := projects[0]
					if out["projectId"] != float64(p.ID) || out["created"] != true || out["commitHash"] != w.Git.Head("acme/shop", "main") {
						t.Errorf("the outputs are %v", out)
					}
					if len(p.Variables) != 2 || len(p.Protected) != 2 || p.Members[2] != 50 {
						t.Errorf("variables %v, protected %v, members %v", p.Variables, p.Protected, p.Members)
					}
				})
				one(t, "commit", w.Git.Commits("acme/shop", "main"))
				if got := w.Git.Branches("acme/shop"); fmt.Sprint(got) != "[main staging]" {
					t.Errorf("the branches are %v", got)
				}
			},
		},
		{
			id: "publish:gitlab:merge-request", prepare: func(w *world) {
				shop(w)
				p := w.Project("acme/shop")
				p.Preparing, p.Approvers = 2, []*fakegitlab.User{w.AddUser("eve")}
			},
			files: map[string]string{"README.md": "Shop, new", "new.md": "new"},
			input: with(nil, map[string]any{
				"title": "A change", "branchName": "change", "assignee": "ada", "reviewers": []string{"ada"}, "labels": []string{"a", "b"},
				"assignReviewersFromApprovalRules": true, "autoMerge": true,
			}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					one(t, "merge request", len(p.Requests))
					m := p.Requests[0]
					if !m.AutoMerge || len(m.Reviewers) != 2 || out["mergeRequestUrl"] != m.WebURL {
						t.Errorf("%+v, outputs %v", m, out)
					}
				})
				if n := w.Git.Commits("acme/shop", "change"); n != 2 {
					t.Errorf("the branch has %d commits", n)
				}
			},
		},
		{
			id: "gitlab:repo:push", prepare: shop, files: map[string]string{"README.md": "Shop, new", "new.md": "new"},
			input: with(nil, map[string]any{"branchName": "main", "commitMessage": "Change\n\nwith a body"}),
			check: func(t *testing.T, w *world, out map[string]any) {
				if n := w.Git.Commits("acme/shop", "main"); n != 2 || out["commitHash"] != w.Git.Head("acme/shop", "main") {
					t.Errorf("%d commits, outputs %v", n, out)
				}
			},
		},
		{
			id: "gitlab:repo:push", prepare: shop, files: map[string]string{"README.md": "Shop, new"},
			input: with(nil, map[string]any{"branchName": "feature/x", "commitMessage": "Change", "commitAction": "update"}),
			check: func(t *testing.T, w *world, out map[string]any) {
				if n := w.Git.Commits("acme/shop", "feature/x"); n != 2 || out["commitHash"] != w.Git.Head("acme/shop", "feature/x") {
					t.Errorf("%d commits, outputs %v", n, out)
				}
			},
		},
		{
			id: "gitlab:repo:push", prepare: shop,
			input: with(nil, map[string]any{"branchName": "main", "commitMessage": "Nothing", "allowEmpty": true}),
			check: func(t *testing.T, w *world, out map[string]any) {
				if n := w.Git.Commits("acme/shop", "main"); n != 2 || out["commitHash"] != w.Git.Head("acme/shop", "main") {
					t.Errorf("%d commits, outputs %v", n, out)
				}
			},
		},
		{
			id: "gitlab:group:ensureExists", input: with(nil, map[string]any{"path": []any{"acme/shops", map[string]any{"name": "One", "slug": "one"}}}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
					if len(groups) != 3 || out["groupId"] != float64(groups[2].ID) {
						t.Errorf("%d groups, outputs %v", len(groups), out)
					}
				})
			},
		},
		{
			id: "gitlab:group:access", prepare: func(w *world) {
				w.AddGroup("others") // 102
				w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
					groups[0].Shared = []fakegitlab.Share{{ID: groups[1].ID, Level: 10}}
				})
			},
			input: with(nil, map[string]any{"path": "acme", "userIds": []int{2}, "groupIds": []int{102}, "accessLevel": "maintainer"}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
					if g := groups[0]; g.Members[2] != 40 || len(g.Shared) != 1 || g.Shared[0].Level != 40 || out["accessLevel"] != 40.0 {
						t.Errorf("%+v, outputs %v", g, out)
					}
				})
			},
		},
		{
			id: "gitlab:group:access", prepare: func(w *world) {
				w.AddGroup("others")
				w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
					groups[0].Shared, groups[0].Members[2] = []fakegitlab.Share{{ID: groups[1].ID, Level: 10}}, 30
				})
			},
			input: with(nil, map[string]any{"path": "acme", "userIds": []int{2}, "groupIds": []int{102}, "action": "remove"}),
			check: func(t *testing.T, w *world, _ map[string]any) {
				w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
					if g := groups[0]; len(g.Members) != 0 || len(g.Shared) != 0 {
						t.Errorf("%+v", g)
					}
				})
			},
		},
		{
			id: "gitlab:issues:create", prepare: func(w *world) {
				shop(w)
				// one with the same title is there already
				w.succeeds("gitlab:issues:create", with(nil, map[string]any{"title": "Review"}))
			},
			input: with(nil, map[string]any{"title": "Review", "description": "the second"}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					if len(p.Issues) != 2 || p.Issues[1].Parameters["description"] != "the second" || out["issueIid"] != 2.0 {
						t.Errorf("%d issues, outputs %v", len(p.Issues), out)
					}
				})
			},
		},
		{
			id: "gitlab:issue:edit", prepare: func(w *world) {
				shop(w)
				w.succeeds("gitlab:issues:create", with(nil, map[string]any{"title": "Review"}))
			},
			input: with(nil, map[string]any{"projectId": "acme/shop", "issueIid": 1, "stateEvent": "close"}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					if len(p.Issues) != 1 || p.Issues[0].State != "closed" || out["state"] != "closed" {
						t.Errorf("outputs %v", out)
					}
				})
			},
		},
		{
			id: "gitlab:pipeline:trigger", prepare: func(w *world) {
				shop(w)
				w.succeeds("gitlab:pipeline:trigger", with(nil, map[string]any{"projectId": "acme/shop", "tokenDescription": "first", "branch": "main"}))
			},
			input: with(nil, map[string]any{"projectId": "acme/shop", "tokenDescription": "first", "branch": "main", "variables": map[string]string{"A": "b"}}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					if len(p.Pipelines) != 2 || len(p.Triggers) != 0 || out["pipelineUrl"] != p.Pipelines[1].WebURL || p.Pipelines[1].Variables["A"] != "b" {
						t.Errorf("%d pipelines, %d trigger tokens, outputs %v", len(p.Pipelines), len(p.Triggers), out)
					}
				})
			},
		},
		{
			id: "gitlab:projectAccessToken:create", prepare: func(w *world) {
				shop(w)
				w.succeeds("gitlab:projectAccessToken:create", with(nil, map[string]any{"projectId": "acme/shop", "name": "ci"}))
			},
			input: with(nil, map[string]any{"projectId": "acme/shop", "name": "ci"}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					checkTokens(t, p.AccessTokens, out["access_token"])
				})
			},
		},
		{
			id: "gitlab:projectDeployToken:create", prepare: func(w *world) {
				shop(w)
				w.succeeds("gitlab:projectDeployToken:create", with(nil, map[string]any{"projectId": "acme/shop", "name": "cd", "scopes": []string{"read_registry"}}))
			},
			input: with(nil, map[string]any{"projectId": "acme/shop", "name": "cd", "scopes": []string{"read_registry"}}),
			check: func(t *testing.T, w *world, out map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					last := checkTokens(t, p.DeployTokens, out["deploy_token"])
					if out["user"] != last.Username {
						t.Errorf("outputs %v", out)
					}
				})
			},
		},
		{
			id: "gitlab:projectVariable:create", prepare: shop,
			input: with(nil, map[string]any{"projectId": "acme/shop", "key": "KEY", "value": "hidden-5ecret", "variableType": "env_var", "maskedAndHidden": true}),
			check: func(t *testing.T, w *world, _ map[string]any) {
				w.project("acme/shop", func(p *fakegitlab.Project) {
					one(t, "variable", len(p.Variables))
					if *p.Variables[0].Value != "hidden-5ecret" {
						t.Errorf("%+v", p.Variables[0])
					}
				})
			},
		},
		{
			id: "gitlab:group:migrate",
			input: map[string]any{
				"destinationAccessToken": fakegitlab.UserToken, "destinationUrl": repoURL, "sourceAccessToken": "source-5ecret",
				"sourceFullPath": "old/shop", "sourceUrl": "https://gitlab.example.com",
			},
			check: func(t *testing.T, w *world, out map[string]any) {
				w.Look(func(_ []*fakegitlab.Project, _ []*fakegitlab.Group, migrations []*fakegitlab.Migration) {
					one(t, "migration", len(migrations))
					if out["migrationId"] != float64(migrations[0].ID) || out["importedRepoUrl"] != w.Host+"/acme/shop" {
						t.Errorf("outputs %v", out)
					}
				})
			},
		},
		{
			id: "gitlab:user:info", input: with(nil, map[string]any{"userId": 2}),
			check: func(t *testing.T, _ *world, out map[string]any) {
				if out["username"] != "ada" {
					t.Errorf("outputs %v", out)
				}
			},
		},
	}
}

// checkTokens wants one token that was there, and one that is the output.
func checkTokens(t *testing.T, all []*fakegitlab.IssuedToken, output any) *fakegitlab.IssuedToken {
	t.Helper()
	var live []*fakegitlab.IssuedToken
	for _, token := range all {
		if !token.Revoked {
			live = append(live, token)
		}
	}
	if len(live) != 2 || live[0] != all[0] || live[1].Token != output {
		t.Fatalf("%d tokens live, the output is %v", len(live), output)
	}
	return live[1]
}

// TestCrashesLeaveOneOfEach cuts the connection at each request of each action,
// before or after the server acted, and runs the step again.
func TestCrashesLeaveOneOfEach(t *testing.T) {
	t.Parallel()
	for i, tt := range crashCases() {
		t.Run(fmt.Sprintf("%d %s", i, tt.id), func(t *testing.T) {
			t.Parallel()
			clean := prepared(t, tt)
			clean.Wire.Mend()
			tt.check(t, clean, clean.succeeds(tt.id, tt.input, withFiles(tt.files)...))
			calls := clean.Wire.Requests()
			if calls == 0 {
				t.Fatal("the action sends nothing")
			}
			for n := 1; n <= calls; n++ {
				for _, point := range []crashpoint.Point{crashpoint.Before, crashpoint.After} {
					t.Run(fmt.Sprintf("%d %v", n, point), func(t *testing.T) { crash(t, tt, n, point, true) })
				}
				t.Run(fmt.Sprintf("%d out of reach", n), func(t *testing.T) { crash(t, tt, n, crashpoint.After, false) })
			}
		})
	}
}

func prepared(t *testing.T, tt crashCase) *world {
	t.Helper()
	w := begin(t, "")
	if tt.prepare != nil {
		tt.prepare(w)
	}
	return w
}

func withFiles(files map[string]string) (options []actiontest.Option) {
	for path, content := range files {
		options = append(options, actiontest.WithFile(path, content))
	}
	return options
}

// crash runs an action that is cut off, and again. Where the process does not
// die, the host is only out of reach.
func crash(t *testing.T, tt crashCase, n int, point crashpoint.Point, dies bool) {
	w := prepared(t, tt)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	onCut := cancel
	if !dies {
		onCut = nil
	}
	w.Wire.Cut(n, point, onCut)
	first := w.run(tt.id, tt.input, append(withFiles(tt.files), actiontest.In(ctx))...)
	if !w.Wire.WasCut() {
		t.Fatal("the request did not come")
	}
	log := w.Wire.Log()
	w.Wire.Mend()
	second := w.run(tt.id, tt.input, actiontest.After(first))
	if second.Err != nil {
		t.Fatalf("cut at %s, then: %v", log[n-1], second.Err)
	}
	tt.check(t, w, second.Outputs)
	if t.Failed() {
		t.Logf("cut at %s; the first run: %v; then %v", log[n-1], first.Err, w.Wire.Log())
	}
	for key, value := range second.Checkpoints() {
		if strings.Contains(string(value), "5ecret") {
			t.Errorf("the checkpoint %s has a secret: %s", key, value)
		}
	}
	for _, run := range []*actiontest.Result{first, second} {
		if strings.Contains(run.Log, "5ecret") || run.Err != nil && strings.Contains(run.Err.Error(), "5ecret") {
			t.Errorf("a secret is in the log or in the error: %s %v", run.Log, run.Err)
		}
	}
}
