package permissionmoduledeclarativepolicy_test

import (
	"strings"
	"testing"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
)

// An edit of the policy is in effect at once. A broken one changes nothing,
// and whoever asks is told what is wrong with it.
func TestReload(t *testing.T) {
	t.Parallel()
	var log lines
	srv := portal(t, policy, logTo(&log))
	rule := func(text string) string {
		return "permission: {policy: {roles: [{name: everybody, members: ['*'], rules: [" + text + "]}]}}"
	}
	jane := srv.Client(t).As(backendtest.User("user:default/jane"))
	for _, step := range []struct{ name, config, sees, broken string }{
		{"as it began", "", "mine", ""},
		{"everything", rule("{allow: ['*']}"), "mine other", ""},
		{"broken", rule("\n{alow: ['*']},\n{deny: ['*'], when: always}"), "mine other", `app-config.yaml:2: config key "permission.policy.roles[0].rules[0].alow" is unknown here; did you mean allow?`},
		{"broken otherwise", rule("{allow: ['*'], actions: [eat]}"), "mine other", `"eat", which is no action`},
		{"nothing", rule("{deny: ['*']}"), "", ""},
		{"gone from the edit", "permission: {enabled: true}", "mine", ""},
	} {
		if step.config != "" {
			srv.SetConfig(t, step.config)
		}
		if got := components(t, jane); got != step.sees {
			t.Errorf("%s: jane sees %q, want %q", step.name, got, step.sees)
		}
		var e core.PolicyExplanation
		srv.Client(t).As(backendtest.Caller("")).Post("/api/permission/policy/explain", map[string]any{"user": "jane", "permission": "catalog.entity.read"}).Expect(200).JSON(&e)
		if !strings.Contains(e.Broken, step.broken) || (step.broken == "") != (e.Broken == "") {
			t.Errorf("%s: the explanation says %q is broken, want %q", step.name, e.Broken, step.broken)
		}
		if step.broken != "" && !strings.Contains(log.String(), "the last good one stays") {
			t.Errorf("%s: the log does not tell", step.name)
		}
	}
}
