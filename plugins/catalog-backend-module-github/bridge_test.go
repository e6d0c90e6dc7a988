package catalogmodulegithub_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/providertest"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// bridged starts the module with no provider, and a repository acme/r000.
func bridged(t *testing.T) (*fakegithub.Server, *providertest.Catalog) {
	t.Helper()
	gh := fakegithub.New(t)
	repos(gh, 1)
	return gh, start(t, gh, gh.Integration())
}

// shaped is a commit in a webhook, with its page.
func shaped(gh *fakegithub.Server, sha string, added, modified, removed []string) map[string]any {
	c := commit(added, modified, removed)
	c["id"], c["url"] = sha, gh.URL+"/acme/r000/commit/"+sha
	return c
}

func pushOf(gh *fakegithub.Server, commits ...any) map[string]any {
	return map[string]any{
		"ref": "refs/heads/main", "before": "b", "after": "a", "compare": gh.URL + "/acme/r000/compare/b...a", "commits": commits,
		"repository": payload(gh, "r000", nil),
	}
}

// tell publishes a webhook as the events plugin does.
func tell(t *testing.T, c *providertest.Catalog, kind string, body any) error {
	t.Helper()
	return c.PublishWith(t.Context(), "github", body, map[string]any{"x-github-event": kind})
}

// short writes events without what they have in common.
func short(gh *fakegithub.Server, events []catalognode.SCMEvent) list {
	cut := func(u string) string {
		u = strings.TrimPrefix(u, gh.URL+"/")
		return strings.TrimPrefix(u, "acme/r000/blob/main/")
	}
	var out list
	for _, e := range events {
		text := string(e.Type) + " " + cut(e.URL)
		if e.URL == "" {
			text += cut(e.FromURL) + " to " + cut(e.ToURL)
		}
		if e.CommitURL != "" {
			text += " by " + strings.TrimPrefix(e.CommitURL, gh.URL+"/acme/r000/")
		}
		out = append(out, text)
	}
	return out
}

func TestPushesBecomeSCMEvents(t *testing.T) {
	t.Parallel()
	type file = fakegithub.CommitFile
	changed := func(status string, names ...string) (files []file) {
		for _, n := range names {
			files = append(files, file{Status: status, Filename: n})
		}
		return files
	}
	renamed := func(from, to string) file { return file{Status: "renamed", Filename: to, Previous: from} }
	for label, tc := range map[string]struct {
		commits []any // of c1, c2, …
		files   [][]file
		body    map[string]any
		want    list
		reads   int
	}{
		"added, modified and removed by themselves": {
			commits: []any{list{"+a.yaml", "~b.yml", "+c.txt"}, list{"~a.yaml", "~b.yml"}},
			want:    list{"location.created a.yaml by commit/c1", "location.updated b.yml by commit/c1"},
		},
		"removed":                {commits: []any{list{"~a.yaml", "-b.yaml"}, list{"-a.yaml"}}, want: list{"location.deleted a.yaml by commit/c2", "location.deleted b.yaml by commit/c1"}},
		"escaped":                {commits: []any{list{"~sub/my file#1.yaml"}}, want: list{"location.updated sub/my%20file%231.yaml by commit/c1"}},
		"nothing that counts":    {commits: []any{list{"+a.go", "-b.md", "~yaml"}}},
		"no commits":             {},
		"another branch":         {commits: []any{list{"+a.yaml"}}, body: map[string]any{"ref": "refs/heads/dev"}},
		"a tag":                  {commits: []any{list{"+a.yaml"}}, body: map[string]any{"ref": "refs/tags/main"}},
		"the end of the branch":  {body: map[string]any{"deleted": true}, commits: []any{list{"-a.yaml"}}},
		"another host":           {commits: []any{list{"+a.yaml"}}, body: map[string]any{"repository": map[string]any{"name": "r000", "html_url": "https://ghe.example.com/acme/r000", "default_branch": "main"}}},
		"replaced commits":       {commits: []any{list{"+a.yaml"}}, body: map[string]any{"forced": true}, want: list{"location.created a.yaml by commit/c1", "repository.updated acme/r000 by compare/b...a"}},
		"replaced, nothing else": {body: map[string]any{"forced": true}, want: list{"repository.updated acme/r000 by compare/b...a"}},
		"renamed": {
			commits: []any{list{"+new.yaml", "-old.yaml", "+x.go"}}, files: [][]file{append(changed("added", "x.go"), renamed("old.yaml", "new.yaml"))},
			want: list{"location.moved old.yaml to new.yaml by commit/c1"}, reads: 1,
		},
		"removed and added": {
			commits: []any{list{"+new.yaml"}, list{"-old.yaml"}}, files: [][]file{changed("added", "new.yaml"), changed("removed", "old.yaml")},
			want: list{"location.created new.yaml by commit/c1", "location.deleted old.yaml by commit/c2"}, reads: 2,
		},
		"renamed twice, edited, and back": {
			commits: []any{list{"+b.yaml", "-a.yaml"}, list{"~b.yaml", "~x.go"}, list{"+c.yaml", "-b.yaml"}, list{"+y.yaml", "-x.yaml"}, list{"+x.yaml", "-y.yaml"}},
			files: [][]file{
				{renamed("a.yaml", "b.yaml")}, changed("modified", "b.yaml", "x.go"), {renamed("b.yaml", "c.yaml")}, {renamed("x.yaml", "y.yaml")}, {renamed("y.yaml", "x.yaml")},
			},
			want: list{"location.moved a.yaml to c.yaml by commit/c3", "location.updated x.yaml by commit/c5"}, reads: 5,
		},
		"added and renamed, renamed and removed": {
			commits: []any{list{"+n.yaml", "+m.yaml", "-o.yaml"}, list{"+n2.yaml", "-n.yaml", "-m.yaml"}},
			files:   [][]file{append(changed("added", "n.yaml"), renamed("o.yaml", "m.yaml")), append(changed("removed", "m.yaml"), renamed("n.yaml", "n2.yaml"))},
			want:    list{"location.deleted o.yaml by commit/c2", "location.created n2.yaml by commit/c2"}, reads: 2,
		},
		"renamed from and to what does not count": {
			commits: []any{list{"+in.yaml", "-out.yaml"}}, files: [][]file{{renamed("in.txt", "in.yaml"), renamed("out.yaml", "out.txt")}},
			want: list{"location.created in.yaml by commit/c1", "location.deleted out.yaml by commit/c1"}, reads: 1,
		},
		"in a row": {
			commits: []any{list{"+c.yaml", "-a.yaml"}}, files: [][]file{{renamed("a.yaml", "b.yaml"), renamed("b.yaml", "c.yaml")}},
			want: list{"location.moved b.yaml to c.yaml by commit/c1", "location.moved a.yaml to b.yaml by commit/c1"}, reads: 1,
		},
		"exchanged": {
			commits: []any{list{"+z.yaml", "-y.yaml", "~a.yaml"}}, files: [][]file{{renamed("a.yaml", "b.yaml"), renamed("b.yaml", "a.yaml"), renamed("y.yaml", "z.yaml")}},
			want: list{"location.moved y.yaml to z.yaml by commit/c1", "location.updated b.yaml by commit/c1", "location.updated a.yaml by commit/c1"}, reads: 1,
		},
		"removed and put back by a rename": {
			commits: []any{list{"-a.yaml"}, list{"+a.yaml", "-b.yaml"}}, files: [][]file{changed("removed", "a.yaml"), {renamed("b.yaml", "a.yaml")}},
			want: list{"location.updated a.yaml by commit/c2", "location.deleted b.yaml by commit/c2"}, reads: 2,
		},
		"copied": {
			commits: []any{list{"+a2.yaml", "-b.yaml"}}, files: [][]file{append(changed("removed", "b.yaml"), file{Status: "copied", Filename: "a2.yaml", Previous: "a.yaml"}, file{Status: "unchanged", Filename: "u.yaml"})},
			want: list{"location.deleted b.yaml by commit/c1", "location.created a2.yaml by commit/c1"}, reads: 1,
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh, c := bridged(t)
			var commits []any
			for i, marks := range tc.commits {
				by := map[byte]list{}
				for _, m := range marks.(list) {
					by[m[0]] = append(by[m[0]], m[1:])
				}
				commits = append(commits, shaped(gh, fmt.Sprint("c", i+1), by['+'], by['~'], by['-']))
			}
			gh.Change(func(w *fakegithub.World) {
				for i, files := range tc.files {
					r := w.Repository("acme", "r000")
					r.Commits = append(r.Commits, fakegithub.Commit{SHA: fmt.Sprint("c", i+1), Files: files})
				}
			})
			body := pushOf(gh, commits...)
			maps.Copy(body, tc.body)
			if err := tell(t, c, "push", body); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, short(gh, c.TakeSCMEvents())); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
			if gh.Requests() != tc.reads {
				t.Errorf("%d requests, want %d", gh.Requests(), tc.reads)
			}
		})
	}
}

// Where the host leaves something out, the whole repository changed, and
// nothing counts as deleted.
func TestPushesThatAreNotKnownWhole(t *testing.T) {
	t.Parallel()
	for label, make := range map[string]func(gh *fakegithub.Server) (commits []any, files int){
		"too many commits": func(gh *fakegithub.Server) ([]any, int) {
			return slices.Repeat([]any{shaped(gh, "c", nil, nil, list{"a.yaml"})}, 2048), 0
		},
		"too many to read": func(gh *fakegithub.Server) ([]any, int) {
			return slices.Repeat([]any{shaped(gh, "c", list{"b.yaml"}, nil, list{"a.yaml"})}, 101), 0
		},
		"too many files": func(gh *fakegithub.Server) ([]any, int) {
			return []any{shaped(gh, "c", list{"b.yaml"}, nil, list{"a.yaml"})}, 3001
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh, c := bridged(t)
			commits, n := make(gh)
			gh.Change(func(w *fakegithub.World) {
				files := slices.Repeat([]fakegithub.CommitFile{{Status: "removed", Filename: "a.yaml"}}, n)
				w.Repository("acme", "r000").Commits = []fakegithub.Commit{{SHA: "c", Files: files}}
			})
			if err := tell(t, c, "push", pushOf(gh, commits...)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(list{"repository.updated acme/r000 by compare/b...a"}, short(gh, c.TakeSCMEvents())); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
		})
	}
}

// Commits of several pages are read whole, within the limits of the host.
func TestLargeCommits(t *testing.T) {
	t.Parallel()
	gh, c := bridged(t)
	var files []fakegithub.CommitFile
	for i := range 950 {
		files = append(files, fakegithub.CommitFile{Status: "modified", Filename: fmt.Sprintf("f%03d.txt", i)})
	}
	files = append(files, fakegithub.CommitFile{Status: "renamed", Filename: "new.yaml", Previous: "old.yaml"})
	gh.Change(func(w *fakegithub.World) {
		w.Repository("acme", "r000").Commits = []fakegithub.Commit{{SHA: "c", Files: files}}
	})
	gh.LimitTo(4)
	body := pushOf(gh, shaped(gh, "c", list{"new.yaml"}, nil, list{"old.yaml"}))
	if err := tell(t, c, "push", body); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(list{"location.moved old.yaml to new.yaml by commit/c"}, short(gh, c.TakeSCMEvents())); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if n := gh.Reads("/repos/acme/r000/commits/c"); n != 10 {
		t.Errorf("%d pages were read, want 10", n)
	}
	if gh.Slept() < time.Hour {
		t.Errorf("slept %s, want to the end of the limit twice", gh.Slept())
	}
}

// What the host does not tell is unknown: nothing happens, above all nothing
// is deleted.
func TestPushesInTrouble(t *testing.T) {
	t.Parallel()
	for label, f := range map[string]fakegithub.Failure{
		"502": fakegithub.BadGateway, "limit": fakegithub.SecondaryLimit, "too many": fakegithub.TooMany, "401": fakegithub.Unauthorized,
		"not found": {Status: 404, Body: "{}"}, "broken off": fakegithub.BrokenOff, "garbage": fakegithub.Garbage,
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh, c := bridged(t)
			gh.Change(func(w *fakegithub.World) {
				w.Repository("acme", "r000").Commits = []fakegithub.Commit{
					{SHA: "c1", Files: []fakegithub.CommitFile{{Status: "removed", Filename: "a.yaml"}}},
					{SHA: "c2", Files: []fakegithub.CommitFile{{Status: "added", Filename: "b.yaml"}}},
				}
			})
			body := pushOf(gh, shaped(gh, "c1", nil, nil, list{"a.yaml"}), shaped(gh, "c2", list{"b.yaml"}, nil, nil))
			gh.FailFrom(2, f)
			if err := tell(t, c, "push", body); err == nil {
				t.Error("a push that could not be followed is not reported")
			}
			if events := c.TakeSCMEvents(); events != nil {
				t.Errorf("events: %v", events)
			}
			gh.FailOnly(1, f)
			err := tell(t, c, "push", body)
			want := list{"location.deleted a.yaml by commit/c1", "location.created b.yaml by commit/c2"}
			if label == "401" || label == "not found" {
				want = nil // that would be so tomorrow, too
			}
			if d := cmp.Diff(want, short(gh, c.TakeSCMEvents())); d != "" || (err == nil) != (want != nil) {
				t.Errorf("after one failure: %v, events (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestRepositoryWebhooksBecomeSCMEvents(t *testing.T) {
	t.Parallel()
	from := func(key string, v any) map[string]any { return map[string]any{key: map[string]any{"from": v}} }
	for label, tc := range map[string]struct {
		action     string
		repository map[string]any
		changes    map[string]any
		want       list
	}{
		"created":     {action: "created", want: list{"repository.created acme/r000"}},
		"deleted":     {action: "deleted", want: list{"repository.deleted acme/r000"}},
		"archived":    {action: "archived", want: list{"repository.updated acme/r000"}},
		"unarchived":  {action: "unarchived", want: list{"repository.updated acme/r000"}},
		"publicized":  {action: "publicized", want: list{"repository.updated acme/r000"}},
		"privatized":  {action: "privatized", want: list{"repository.updated acme/r000"}},
		"renamed":     {action: "renamed", changes: map[string]any{"repository": from("name", "old")}, want: list{"repository.moved acme/old to acme/r000"}},
		"transferred": {action: "transferred", changes: transferredFrom("other"), want: list{"repository.moved other/r000 to acme/r000"}},
		"transferred by a user": {
			action: "transferred", changes: map[string]any{"owner": map[string]any{"from": map[string]any{"user": map[string]any{"login": "jane"}}}},
			want: list{"repository.moved jane/r000 to acme/r000"},
		},
		"transferred from nowhere": {action: "transferred"},
		"branch":                   {action: "edited", repository: map[string]any{"default_branch": "trunk"}, changes: from("default_branch", "main"), want: list{"repository.moved  to acme/r000/blob/trunk"}},
		"topics":                   {action: "edited", changes: from("topics", list{})},
		"starred":                  {action: "starred"},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh, c := bridged(t)
			body := map[string]any{"action": tc.action, "repository": payload(gh, "r000", tc.repository), "changes": tc.changes, "sender": map[string]any{}}
			// By the event bus come events without metadata.
			for _, metadata := range []map[string]any{{"X-GitHub-Event": []string{"repository"}}, nil} {
				if err := c.PublishWith(t.Context(), "github", body, metadata); err != nil {
					t.Fatal(err)
				}
				got := short(gh, c.TakeSCMEvents())
				for i := range got {
					got[i] = strings.ReplaceAll(got[i], "acme/r000/blob/main to", " to")
				}
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Errorf("events (-want +got):\n%s", d)
				}
			}
		})
	}
}

func TestWebhooksThatAreNoneOfTheBridge(t *testing.T) {
	t.Parallel()
	gh, c := bridged(t)
	push := pushOf(gh, shaped(gh, "c", list{"a.yaml"}, nil, nil))
	if err := c.Publish(t.Context(), "github", push); err != nil || len(c.TakeSCMEvents()) != 1 {
		t.Errorf("a push without metadata: %v", err)
	}
	issue := map[string]any{"action": "deleted", "issue": map[string]any{}, "repository": payload(gh, "r000", nil)}
	for _, kind := range []any{"issues", 7, nil} {
		if err := c.PublishWith(t.Context(), "github", issue, map[string]any{"x-github-event": kind}); err != nil || c.TakeSCMEvents() != nil {
			t.Errorf("%v: %v", kind, err)
		}
	}
	if err := c.Publish(t.Context(), "github", "text"); err != nil || c.TakeSCMEvents() != nil {
		t.Errorf("text: %v", err)
	}
	for _, body := range []any{"text", map[string]any{}, map[string]any{"repository": map[string]any{"name": "x", "html_url": ":"}}} {
		if err := tell(t, c, "push", body); err == nil {
			t.Errorf("%v was taken for a push", body)
		}
	}
}

// randomCommit makes a commit of up to n changes of files, and returns what
// the host says of it.
func randomCommit(r *rand.Rand, files map[string]bool, n int) (out []fakegithub.CommitFile) {
	touched := map[string]bool{}
	pick := func() string {
		all := slices.Sorted(maps.Keys(files))
		all = slices.DeleteFunc(all, func(p string) bool { return touched[p] })
		if len(all) == 0 {
			return ""
		}
		return all[r.IntN(len(all))]
	}
	fresh := func() string { return fmt.Sprintf("f%d%s", r.IntN(8), []string{".yaml", ".txt"}[r.IntN(2)]) }
	for range 1 + r.IntN(n) {
		switch old := pick(); r.IntN(4) {
		case 0:
			if p := fresh(); !files[p] && !touched[p] {
				files[p], touched[p] = true, true
				out = append(out, fakegithub.CommitFile{Status: "added", Filename: p})
			}
		case 1:
			if old != "" {
				delete(files, old)
				touched[old] = true
				out = append(out, fakegithub.CommitFile{Status: "removed", Filename: old})
			}
		case 2:
			if p := fresh(); old != "" && !files[p] && !touched[p] {
				delete(files, old)
				files[p], touched[p], touched[old] = true, true, true
				out = append(out, fakegithub.CommitFile{Status: "renamed", Filename: p, Previous: old})
			}
		default:
			if old != "" {
				touched[old] = true
				out = append(out, fakegithub.CommitFile{Status: "modified", Filename: old})
			}
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Whoever follows the events has the files that the repository has, whatever
// happened to them.
func TestFollowersOfPushesKeepUp(t *testing.T) {
	t.Parallel()
	gh, c := bridged(t)
	r := rand.New(rand.NewPCG(11, 7))
	yaml := func(files map[string]bool) map[string]bool {
		out := map[string]bool{}
		for p := range files {
			if strings.HasSuffix(p, ".yaml") {
				out[p] = true
			}
		}
		return out
	}
	files := map[string]bool{"f0.yaml": true, "f1.yaml": true, "f2.txt": true}
	followed := yaml(files)
	for i := range 300 {
		before := maps.Clone(files)
		var commits []any
		var real []fakegithub.Commit
		for j := range 1 + r.IntN(4) {
			sha := fmt.Sprint("c", j)
			changed := randomCommit(r, files, 3)
			by := map[string]list{}
			for _, f := range changed {
				by[f.Status] = append(by[f.Status], f.Filename)
				if f.Status == "renamed" {
					by["added"], by["removed"] = append(by["added"], f.Filename), append(by["removed"], f.Previous)
				}
			}
			real = append(real, fakegithub.Commit{SHA: sha, Files: changed})
			commits = append(commits, shaped(gh, sha, by["added"], by["modified"], by["removed"]))
		}
		gh.LimitTo(1 << 30)
		gh.Change(func(w *fakegithub.World) { w.Repository("acme", "r000").Commits = real })
		if err := tell(t, c, "push", pushOf(gh, commits...)); err != nil {
			t.Fatal(err)
		}
		events := short(gh, c.TakeSCMEvents())
		for _, e := range events {
			what, rest, _ := strings.Cut(e, " ")
			rest, _, _ = strings.Cut(rest, " by ")
			switch what {
			case "location.created":
				followed[rest] = true
			case "location.deleted":
				delete(followed, rest)
			case "location.moved":
				from, to, _ := strings.Cut(rest, " to ")
				if !followed[from] {
					t.Errorf("step %d: moved from %s, which is not there", i, from)
				}
				delete(followed, from)
				followed[to] = true
			}
		}
		if d := cmp.Diff(yaml(files), followed); d != "" {
			t.Fatalf("step %d: from %v, by %v, told %v (-want +followed):\n%s", i, before, real, events, d)
		}
	}
}
