package oauth_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// curious remembers the secrets.
type curious struct {
	identityProvider
	begun, ended oauth.Secrets
}

func (c *curious) AuthorizeURL(ctx context.Context, r oauth.AuthorizeRequest) (string, error) {
	c.begun = r.Secrets
	return c.identityProvider.AuthorizeURL(ctx, r)
}

func (c *curious) Authenticate(ctx context.Context, cb oauth.Callback) (oauth.Result[string], error) {
	c.ended = cb.Secrets
	return c.identityProvider.Authenticate(ctx, cb)
}

func TestSecretsOfASignIn(t *testing.T) {
	t.Parallel()
	idp := &curious{}
	p := newPortal(t, nil, "", func(p *oauth.Provider[string]) {
		p.Initialize = func(context.Context, oauth.Options) (oauth.Authenticator[string], error) { return idp, nil }
	})
	seen := map[oauth.Secrets]bool{{}: true}
	for _, env := range []string{"dev", "dev", "other"} {
		encoded, state, _ := p.start(t, "env="+env)
		begun := idp.begun
		if len(begun.Verifier) != 43 || len(begun.Nonce) != 24 || seen[begun] {
			t.Errorf("secrets %+v", begun)
		}
		seen[begun] = true
		for _, value := range state {
			if strings.Contains(value[0], begun.Verifier) || strings.Contains(value[0], begun.Nonce) {
				t.Errorf("the state has a secret: %v", state)
			}
		}
		p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
		if idp.ended != begun {
			t.Errorf("secrets %+v at the end, %+v at the beginning", idp.ended, begun)
		}
	}

	// A cookie of another backend of the family has the nonce alone.
	encoded, state, _ := p.start(t, "env=dev")
	p.browser.Jar = nil
	for _, cookie := range []string{"", ".", ".!", ".c2hvcnQ"} {
		idp.ended = idp.begun
		resp, body := p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded, "Cookie", "corp-nonce="+url.QueryEscape(state.Get("nonce"))+cookie)
		if _, result := page(t, resp, body); idp.ended != (oauth.Secrets{}) || strings.Contains(result, `"error"`) {
			t.Errorf("cookie %q: secrets %+v, result %s", cookie, idp.ended, result)
		}
	}
	// An answer counts in the environment that asked.
	resp, body := p.send(t, http.MethodGet, "/handler/frame?env=other&code=jane&state="+encoded, "Cookie", "corp-nonce="+url.QueryEscape(state.Get("nonce")))
	if _, result := page(t, resp, body); !strings.Contains(result, "another environment") {
		t.Errorf("another environment: %s", result)
	}
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	var schema any
	if err := json.Unmarshal([]byte(oauth.ConfigSchema("corp", "Users sign in at Corp.", `{"tenant": {"type": "string", "description": "The tenant."}}`, "byBadge")), &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"properties", "auth", "properties", "providers", "properties", "corp", "additionalProperties", "properties"} {
		level, _ := schema.(map[string]any)
		if schema = level[name]; schema == nil {
			t.Fatalf("there is no %s in %v", name, level)
		}
	}
	properties := schema.(map[string]any)
	for name, p := range properties {
		if text, _ := p.(map[string]any)["description"].(string); text == "" {
			t.Errorf("%s has no description", name)
		}
	}
	if secret := properties["clientSecret"].(map[string]any)["visibility"]; secret != "secret" || properties["tenant"] == nil {
		t.Errorf("properties %v", properties)
	}
	defer func() {
		if recover() == nil {
			t.Error("broken settings are taken")
		}
	}()
	oauth.ConfigSchema("corp", "", "[]")
}
