package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	h := hosts(t, "app: {title: x}")
	if len(h.GitHub) != 1 || h.GitHub[0].APIBaseURL != "https://api.github.com" || h.GitHub[0].RawBaseURL != "https://raw.githubusercontent.com" {
		t.Errorf("github %+v", h.GitHub)
	}
	if len(h.GitLab) != 1 || h.GitLab[0].APIBaseURL != "https://gitlab.com/api/v4" || h.GitLab[0].BaseURL != "https://gitlab.com" {
		t.Errorf("gitlab %+v", h.GitLab)
	}
	for _, u := range []string{"https://bitbucket.org/a/b", "https://dev.azure.com/a/_git/b"} {
		if _, err := h.Parse(u); err != nil {
			t.Error(err)
		}
	}
}

func TestConfigIsReadWhole(t *testing.T) {
	t.Parallel()
	h := hosts(t, `
integrations:
  github:
    - token: "  ghp_x\n"
      apps:
        - appId: "12"
          privateKey: 'a\nb'
          clientId: c
          clientSecret: d
          allowedInstallationOwners: [Acme]
          publicAccess: true
  gitlab:
    - host: GIT.example.com
      apiBaseUrl: https://git.example.com/api/v4/
      token: t
      retry: {maxRetries: 3, retryStatusCodes: [429, "502"], maxApiRequestsPerMinute: 60}
`)
	gh := h.GitHub[0]
	if gh.Token.Reveal() != "ghp_x" || len(h.GitHub) != 1 {
		t.Errorf("token %q, %d hosts", gh.Token.Reveal(), len(h.GitHub))
	}
	app := gh.Apps[0]
	if app.AppID != 12 || app.PrivateKey.Reveal() != "a\nb" || !app.PublicAccess || app.AllowedInstallationOwners[0] != "acme" {
		t.Errorf("app %+v", app)
	}
	three := 3
	want := integration.Retry{MaxRetries: &three, StatusCodes: []int{429, 502}, MaxRequestsPerMinute: 60}
	if diff := cmp.Diff(want, h.GitLab[0].Retry); diff != "" {
		t.Error(diff)
	}
	if h.GitLab[0].Host != "git.example.com" || h.GitLab[0].APIBaseURL != "https://git.example.com/api/v4" {
		t.Errorf("gitlab %+v", h.GitLab[0])
	}
	printed, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%+v %s", h, printed); strings.Contains(all, "ghp_x") {
		t.Error("a secret is printed")
	}
}

func TestConfigErrorsNameTheLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, yaml, key string }{
		{"host with scheme", "integrations:\n  github:\n    - host: https://ghe.example.com\n", "integrations.github[0].host"},
		{"self-hosted without URL", "integrations:\n  github:\n    - host: ghe.example.com\n", "integrations.github[0].apiBaseUrl"},
		{"base URL", "integrations:\n  github:\n    - host: ghe.example.com\n      apiBaseUrl: ghe.example.com/api\n", "integrations.github[0].apiBaseUrl"},
		{"app without key", "integrations:\n  github:\n    - apps: [{appId: 1, clientId: a, clientSecret: b}]\n", "integrations.github[0].apps[0].privateKey"},
		{"app id", "integrations:\n  github:\n    - apps: [{appId: 1.5, privateKey: k, clientId: a, clientSecret: b}]\n", "integrations.github[0].apps[0].appId"},
		{"gitlab without API", "integrations:\n  gitlab:\n    - host: git.example.com\n", "integrations.gitlab[0].apiBaseUrl"},
		{"retry", "integrations:\n  gitlab:\n    - retry: {maxRetries: 99}\n", "integrations.gitlab[0].retry.maxRetries"},
		{"status", "integrations:\n  gitlab:\n    - retry: {retryStatusCodes: [many]}\n", "integrations.gitlab[0].retry.retryStatusCodes"},
		{"gerrit", "integrations:\n  gerrit:\n    - host: g.example.com\n", "integrations.gerrit[0].gitilesBaseUrl"},
		{"bitbucket", "integrations:\n  bitbucketCloud:\n    - username: u\n", "integrations.bitbucketCloud[0].token"},
		{"no list", "integrations:\n  github: x\n", "integrations.github"},
	} {
		_, err := integration.FromConfig(configtest.FromYAML(t, c.yaml))
		var ce *core.ConfigError
		if !errors.As(err, &ce) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if ce.Key != c.key || ce.Position.Line == 0 {
			t.Errorf("%s: key %q at %s, want %q", c.name, ce.Key, ce.Position, c.key)
		}
	}
}
