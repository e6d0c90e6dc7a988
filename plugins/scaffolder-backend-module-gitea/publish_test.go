package scaffoldermodulegitea

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/integration/hostclient"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/crashpoint"
	"github.com/flytower/flytower/internal/fakegitea"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// world is a Gitea and the action for it.
type world struct {
	*fakegitea.Server
	t      *testing.T
	action scaffoldernode.Action
	slept  time.Duration
}

// begin starts a Gitea; config is added to its integration.
func begin(t *testing.T, config string, integration ...string) *world {
	t.Helper()
	w := &world{Server: fakegitea.New(t), t: t}
	w.configure(w.Integration(integration...) + config)
	return w
}

func (w *world) configure(config string) {
	w.t.Helper()
	wait := func(ctx context.Context, d time.Duration) error { w.slept += d; return context.Cause(ctx) }
	g, err := open(configtest.FromYAML(w.t, config), options{
		http: hostclient.Options{Sleep: wait, Random: func() float64 { return 0 }}, git: gitrepo.Options{Sleep: wait}, sleep: wait,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(g.close)
	w.action = g.publish()
}

func (w *world) run(input map[string]any, options ...actiontest.Option) *actiontest.Result {
	w.t.Helper()
	in := map[string]any{"repoUrl": w.Host + "?owner=acme&repo=shop", "description": "The shop"}
	for name, v := range input {
		if text, ok := v.(string); ok {
			v = strings.ReplaceAll(text, "HOST", w.Host)
		}
		in[name] = v
	}
	return actiontest.Run(w.t, w.action, in, append([]actiontest.Option{actiontest.WithFile("README.md", "Shop"), actiontest.WithFile("out/a.txt", "a")}, options...)...)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	w.ShowLate(2)
	run := w.run(map[string]any{"repoVisibility": "private", "gitCommitMessage": "Begin", "gitAuthorName": "Ada", "gitAuthorEmail": "ada@example.com", "sourcePath": "out"})
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	want := map[string]any{
		"remoteUrl": w.URL + "/acme/shop.git", "repoContentsUrl": w.URL + "/acme/shop/src/branch/main/", "commitHash": w.Git.Head("acme/shop", "main"),
	}
	if diff := cmp.Diff(want, run.Outputs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]fakegitea.Repository{"acme/shop": {Name: "shop", FullName: "acme/shop", Description: "The shop", Private: true}}, w.Repositories()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a.txt": "100644 a"}, w.Git.Files("acme/shop", "main")); diff != "" {
		t.Error(diff)
	}
	if got := w.Git.Git("acme/shop", "log", "--format=%an <%ae>|%B"); !regexp.MustCompile(`^Ada <ada@example.com>\|Begin\n\nChange-Id: I[0-9a-f]{40}$`).MatchString(got) {
		t.Errorf("the commit is %q", got)
	}
	if w.slept != 2*time.Second {
		t.Errorf("it waited %v for the branch", w.slept)
	}
}

func TestDefaultsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	w := begin(t, "scaffolder: {defaultCommitMessage: Configured, defaultAuthor: {name: Bot, email: bot@example.com}}")
	if run := w.run(map[string]any{"gitCommitMessage": "Input", "repoUrl": "HOST?repo=own", "defaultBranch": "trunk"}); run.Err != nil {
		t.Fatal(run.Err)
	}
	// the user's own repository; the message of the configuration goes first
	if got := w.Git.Git("robot/own", "log", "--format=%an <%ae> %s", "trunk"); got != "Bot <bot@example.com> Configured" {
		t.Errorf("the commit is %q", got)
	}
	if w.Repositories()["robot/own"].Private {
		t.Error("it is not public")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	w.Git.Create("acme/taken")
	if run := w.run(map[string]any{"repoUrl": "HOST?owner=acme&repo=there"}); run.Err != nil {
		t.Fatal(run.Err)
	}
	for want, input := range map[string]map[string]any{
		"Organization nobody do not exist. Please create it first !":                                              {"repoUrl": "HOST?owner=nobody&repo=shop"},
		"Unable to create repository, 409 Conflict, The repository with the same name already exists.":            {"repoUrl": "HOST?owner=acme&repo=there"},
		"No matching integration configuration for host other.example.com, please check your integrations config": {"repoUrl": "other.example.com?owner=acme&repo=shop"},
		"No matching integration configuration for host github.com, please check your integrations config":        {"repoUrl": "github.com?owner=acme&repo=shop"},
		"Invalid repo URL passed to publisher: https://" + w.Host + "/?owner=acme, missing repo":                  {"repoUrl": "HOST?owner=acme"},
		"Signing commits is enabled but no signing key is provided in the configuration":                          {"signCommit": true},
	} {
		if run := w.run(input); run.Err == nil || !strings.Contains(run.Err.Error(), want) {
			t.Errorf("the error is %v, want %q", run.Err, want)
		}
	}
	if n := len(w.Repositories()); n != 1 {
		t.Errorf("there are %d repositories", n)
	}
	w.configure(fmt.Sprintf("integrations: {gitea: [{host: %q, baseUrl: %q}]}", w.Host, w.URL))
	if run := w.run(nil); run.Err == nil || run.Err.Error() != "Credentials for the gitea "+w.Host+" required." {
		t.Errorf("without credentials: %v", run.Err)
	}
	w.configure(fmt.Sprintf("integrations: {gitea: [{host: %q, baseUrl: %q, username: robot, password: wr0ng}]}", w.Host, w.URL))
	if run := w.run(nil); run.Err == nil || !strings.Contains(run.Err.Error(), "401 Unauthorized") || strings.Contains(run.Err.Error(), "wr0ng") {
		t.Errorf("with wrong credentials: %v", run.Err)
	}
}

func TestCommitsAreSigned(t *testing.T) {
	t.Parallel()
	key, ring := signingKey(t)
	for what, w := range map[string]*world{
		"of the integration": begin(t, "", fmt.Sprintf("commitSigningKey: %q", key)),
		"of all":             begin(t, fmt.Sprintf("scaffolder: {defaultCommitSigningKey: %q}", key)),
	} {
		if run := w.run(map[string]any{"signCommit": true}); run.Err != nil {
			t.Fatal(run.Err)
		}
		commit := w.Git.Git("acme/shop", "cat-file", "commit", "main") + "\n"
		before, rest, _ := strings.Cut(commit, "gpgsig ")
		signature, after, _ := strings.Cut(rest, "-----END PGP SIGNATURE-----\n")
		signature = strings.ReplaceAll(signature, "\n ", "\n") + "-----END PGP SIGNATURE-----\n"
		after = strings.TrimPrefix(after, " \n")
		signer, err := openpgp.CheckArmoredDetachedSignature(ring, strings.NewReader(before+strings.TrimSuffix(after, "\n")), strings.NewReader(signature), nil)
		if err != nil || signer == nil {
			t.Errorf("the key %s: %v\n%s", what, err, commit)
		}
	}
}

// signingKey makes a private key, and the ring that checks its signatures.
func signingKey(t *testing.T) (armored string, ring openpgp.EntityList) {
	t.Helper()
	entity, err := openpgp.NewEntity("Bot", "", "bot@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	out, err := armor.Encode(&text, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.SerializePrivate(out, nil); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String(), openpgp.EntityList{entity}
}

// TestCrashesLeaveOneRepository cuts the connection at each request, before or
// after the server acted, and runs the step again.
func TestCrashesLeaveOneRepository(t *testing.T) {
	t.Parallel()
	clean := begin(t, "")
	clean.Wire.Mend()
	if run := clean.run(nil); run.Err != nil {
		t.Fatal(run.Err)
	}
	for n := 1; n <= clean.Wire.Requests(); n++ {
		for _, point := range []crashpoint.Point{crashpoint.Before, crashpoint.After} {
			for _, dies := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d %v dies=%v", n, point, dies), func(t *testing.T) {
					t.Parallel()
					w := begin(t, "")
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					onCut := cancel
					if !dies {
						onCut = nil
					}
					w.Wire.Cut(n, point, onCut)
					first := w.run(nil, actiontest.In(ctx))
					if !w.Wire.WasCut() || first.Err == nil {
						t.Fatalf("it was not cut off: %v", first.Err)
					}
					log := w.Wire.Log()
					w.Wire.Mend()
					second := w.run(nil, actiontest.After(first))
					if second.Err != nil {
						t.Fatalf("cut at %s, then: %v", log[n-1], second.Err)
					}
					if len(w.Repositories()) != 1 || w.Git.Commits("acme/shop", "main") != 1 || second.Outputs["commitHash"] != w.Git.Head("acme/shop", "main") {
						t.Errorf("cut at %s: %v, outputs %v", log[n-1], w.Repositories(), second.Outputs)
					}
					if text := fmt.Sprint(second.Checkpoints(), first.Err, first.Log, second.Log); strings.Contains(text, "5ecret") {
						t.Errorf("a secret is in %s", text)
					}
				})
			}
		}
	}
}

func TestModule(t *testing.T) {
	t.Parallel()
	taken := &taker{}
	gt := fakegitea.New(t)
	backendtest.Start(t, backendtest.Silent(), Module, backendtest.YAML(gt.Integration()), backend.NewPlugin("scaffolder", func(env *backend.PluginEnv) backend.InitFunc {
		scaffoldernode.Actions.Offer(env, taken)
		return func(context.Context) error { return nil }
	}))
	if len(taken.ids) != 1 || taken.ids[0] != "publish:gitea" {
		t.Errorf("the actions are %v", taken.ids)
	}
}

// taker takes actions.
type taker struct{ ids []string }

func (x *taker) AddActions(actions ...scaffoldernode.Action) error {
	for _, a := range actions {
		x.ids = append(x.ids, a.ID)
	}
	return nil
}
