package scaffoldermodulegithub_test

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

// scenario is an action, the world that it begins in, and what there has to be
// exactly once.
type scenario struct {
	id      string
	input   map[string]any
	prepare func(w *world)
	// state describes the world afterwards.
	state func(w *world) string
	want  string
}

var files = []actiontest.Option{actiontest.WithFile("README.md", "hello"), actiontest.WithFile("logo.bin", "a\x00b")}

func repositories(w *world) (n int) {
	w.Change(func(w *fakegithub.World) { n = len(w.Repositories()) })
	return n
}

func existing(w *world) {
	w.AddGitRepository("acme", "shop", map[string]string{"old.txt": "old"})
	w.setup().Workflows = []string{"release.yaml"}
	w.setup().Issues = append(w.setup().Issues, &fakegithub.Issue{Number: 1, Title: "Set up", State: "open"})
}

// pushed describes the repository after a push.
func pushed(w *world) string {
	git := w.Git()
	return fmt.Sprintf("%d repositories, branches %v, %d commits, %d files, %d protected, secrets %v, variables %v",
		repositories(w), git.Branches("acme/shop"), git.Commits("acme/shop", "main"), len(git.Files("acme/shop", "main")),
		len(w.setup().Protection), w.setup().Secrets, w.setup().Variables)
}

var scenarios = []scenario{
	{
		id: "publish:github",
		input: map[string]any{
			"access": "acme/shop-team", "collaborators": []any{map[string]any{"user": "user:default/ada", "access": "push"}}, "topics": []string{"Go"},
			"repoVariables": map[string]any{"A": "1"}, "secrets": map[string]any{"S": "s3cret"}, "subscribe": true,
		},
		state: pushed,
		want:  "1 repositories, branches [main], 1 commits, 2 files, 1 protected, secrets map[S:s3cret], variables map[A:1]",
	},
	{
		id: "github:repo:create", input: map[string]any{"description": "x"},
		state: func(w *world) string { return fmt.Sprintf("%d %v", repositories(w), w.setup().Created["description"]) }, want: "1 x",
	},
	{
		id: "github:repo:create", input: map[string]any{"repoUrl": "?owner=" + fakegithub.Self + "&repo=mine"},
		state: func(w *world) string {
			return fmt.Sprintf("%d %v", repositories(w), w.setup(fakegithub.Self, "mine").Created["name"])
		}, want: "1 mine",
	},
	{
		id: "github:repo:push", input: map[string]any{},
		prepare: func(w *world) { w.AddGitRepository("acme", "shop", nil) }, state: pushed,
		want: "1 repositories, branches [main], 1 commits, 2 files, 1 protected, secrets map[], variables map[]",
	},
	{
		id: "github:repo:push", input: map[string]any{}, // where git is out of reach
		prepare: func(w *world) {
			w.AddGitRepository("acme", "shop", nil)
			w.blockGit()
		},
		state: pushed,
		want:  "1 repositories, branches [main], 1 commits, 2 files, 1 protected, secrets map[], variables map[]",
	},
	{
		id:      "publish:github:pull-request",
		input:   map[string]any{"branchName": "change/it", "title": "Change", "description": "it", "filesToDelete": []string{"old.txt", "none.txt"}, "reviewers": []string{"ada"}},
		prepare: existing,
		state: func(w *world) string {
			git, pulls := w.Git(), pulls(w)
			return fmt.Sprintf("%d pulls, branches %v, %d commits, files %v", len(pulls), git.Branches("acme/shop"), git.Commits("acme/shop", "change/it"), len(git.Files("acme/shop", "change/it")))
		},
		want: "1 pulls, branches [change/it main], 2 commits, files 2",
	},
	{
		id: "publish:github:pull-request", input: map[string]any{"branchName": "change", "title": "Change", "description": "it", "forceFork": true},
		prepare: existing,
		state: func(w *world) string {
			return fmt.Sprintf("%d pulls, %d repositories, branches %v and %v", len(pulls(w)), repositories(w), w.Git().Branches("acme/shop"), w.Git().Branches(fakegithub.Self+"/shop"))
		},
		want: "1 pulls, 2 repositories, branches [main] and [change main]",
	},
	{
		id: "publish:github:pull-request", input: map[string]any{"branchName": "change", "title": "New", "description": "it", "update": true},
		prepare: func(w *world) {
			existing(w)
			w.run("publish:github:pull-request", map[string]any{"branchName": "change", "title": "Old", "description": "it"}, actiontest.WithFile("x", "1"))
		},
		state: func(w *world) string {
			p := pulls(w)
			return fmt.Sprintf("%d pulls, %s, %d commits, %t", len(p), p[0].Title, w.Git().Commits("acme/shop", "change"), p[0].HeadSHA == w.Git().Head("acme/shop", "change"))
		},
		want: "1 pulls, New, 2 commits, true",
	},
	{
		id: "github:issues:create", input: map[string]any{"title": "Set up", "body": "all"}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(len(w.setup().Issues)) }, want: "2",
	},
	{
		id: "github:issues:label", input: map[string]any{"number": 1, "labels": []string{"a", "b"}}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(w.setup().Issues[0].Labels) }, want: "[a b]",
	},
	{
		id: "github:actions:dispatch", input: map[string]any{"workflowId": "release.yaml", "branchOrTagName": "main", "returnWorkflowRunDetails": true},
		prepare: func(w *world) {
			existing(w)
			w.run("github:actions:dispatch", map[string]any{"workflowId": "release.yaml", "branchOrTagName": "main"})
		},
		state: func(w *world) string { return fmt.Sprint(len(w.setup().Runs)) }, want: "2",
	},
	{
		id: "github:autolinks:create", input: map[string]any{"keyPrefix": "S-", "urlTemplate": "https://example.com/<num>"}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(len(w.setup().Autolinks)) }, want: "1",
	},
	{
		id: "github:branch-protection:create", input: map[string]any{"requiredCommitSigning": true}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(len(w.setup().Protection), w.setup().Signatures) }, want: "1 map[main:true]",
	},
	{
		id: "github:deployKey:create", input: map[string]any{"publicKey": "ssh-ed25519 AAAA me@here", "privateKey": "s3cret", "deployKeyName": "Push it"}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(len(w.setup().Keys), w.setup().Secrets) }, want: "1 map[PUSH_IT_PRIVATE_KEY:s3cret]",
	},
	{
		id: "github:environment:create",
		input: map[string]any{
			"name": "prod/eu", "customBranchPolicyNames": []string{"main", "release/*"}, "customTagPolicyNames": []string{"v*"},
			"environmentVariables": map[string]any{"A": "1"}, "secrets": map[string]any{"S": "s3cret"}, "reviewers": []string{"user:default/ada", "group:default/shop-team"},
		},
		prepare: existing,
		state: func(w *world) string {
			e := w.setup().Environments["prod/eu"]
			return fmt.Sprint(len(w.setup().Environments), len(e.Policies), e.Variables, e.Secrets, e.Settings["reviewers"])
		},
		want: "1 3 map[A:1] map[S:s3cret] [map[id:100 type:User] map[id:500 type:Team]]",
	},
	{
		id: "github:pages:enable", input: map[string]any{}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(w.setup().Pages) }, want: "map[build_type:workflow source:map[branch:main path:/]]",
	},
	{
		id: "github:webhook", input: map[string]any{"webhookUrl": "https://ci.example.com", "webhookSecret": "s3cret"}, prepare: existing,
		state: func(w *world) string { return fmt.Sprint(len(w.setup().Hooks)) }, want: "1",
	},
}

func pulls(w *world) (out []*fakegithub.Issue) {
	for _, i := range w.setup().Issues {
		if i.Pull {
			out = append(out, i)
		}
	}
	return out
}

func (s scenario) begin(t testing.TB) (*world, map[string]any) {
	w := newWorld(t)
	if s.prepare != nil {
		s.prepare(w)
	}
	input := map[string]any{}
	maps.Copy(input, s.input)
	if text, ok := input["repoUrl"].(string); ok {
		input["repoUrl"] = w.Host + text
	}
	return w, input
}

// TestOneOfAllWhereverTheProcessDies runs every action, and lets the process
// die before the n-th request acts, and after it acted and before its answer
// came, for every n. Another process goes on with the checkpoints.
func TestOneOfAllWhereverTheProcessDies(t *testing.T) {
	t.Parallel()
	for i, s := range scenarios {
		t.Run(fmt.Sprintf("%d %s", i, s.id), func(t *testing.T) {
			t.Parallel()
			w, input := s.begin(t)
			w.Wire.Mend()
			w.run(s.id, input, files...)
			requests := w.Wire.Requests()
			if got := s.state(w); got != s.want {
				t.Fatalf("without a crash there is %s; want %s", got, s.want)
			}
			if requests == 0 {
				t.Fatal("the action sent nothing")
			}
			for n := 1; n <= requests; n++ {
				for _, point := range []crashpoint.Point{crashpoint.Before, crashpoint.After} {
					w, input := s.begin(t)
					ctx, die := context.WithCancel(t.Context())
					w.Wire.Cut(n, point, die)
					first := w.try(s.id, input, append(files[:len(files):len(files)], actiontest.In(ctx))...)
					die()
					log := w.Wire.Log()
					if !w.Wire.WasCut() || first.Err == nil {
						t.Fatalf("the process did not die at request %d: %v, %q", n, first.Err, log)
					}
					w.Wire.Mend()
					w.run(s.id, input, actiontest.After(first))
					if got := s.state(w); got != s.want {
						t.Errorf("dead at request %d, %s it acted (%s): there is %s; want %s", n, point, log[len(log)-1], got, s.want)
					}
				}
			}
		})
	}
}

// TestOneOfAllWhereverTheNetworkFails breaks one request, and the same process
// goes on.
func TestOneOfAllWhereverTheNetworkFails(t *testing.T) {
	t.Parallel()
	for i, s := range scenarios {
		t.Run(fmt.Sprintf("%d %s", i, s.id), func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				for _, point := range []crashpoint.Point{crashpoint.Before, crashpoint.After} {
					w, input := s.begin(t)
					w.Wire.Blip(n, point)
					w.run(s.id, input, files...)
					if got := s.state(w); got != s.want {
						t.Errorf("request %d lost, %s it acted: there is %s; want %s", n, point, got, s.want)
					}
					if !w.Wire.WasCut() {
						return
					}
				}
			}
		})
	}
}
