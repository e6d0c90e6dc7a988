package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// owned is a file with a guest, a group that the guest is a member of, and
// components with their owners.
func owned(owners map[string]string) string {
	b := &strings.Builder{}
	b.WriteString("{apiVersion: backstage.io/v1alpha1, kind: User, metadata: {name: guest, namespace: development}, spec: {memberOf: [guests]}}\n---\n" +
		"{apiVersion: backstage.io/v1alpha1, kind: Group, metadata: {name: guests, namespace: development}, spec: {type: team, children: []}}\n")
	for name, owner := range owners {
		fmt.Fprintf(b, "---\n{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: %s}, spec: {type: service, lifecycle: production, owner: %q}}\n", name, owner)
	}
	return b.String()
}

// post sends JSON with a token.
func (p *process) post(path, token, body string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.url+path, bytes.NewBufferString(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := network.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(text)}
}

// seen are the names of the components that a list shows.
func seen(a answer) (string, error) {
	var list []struct{ Metadata struct{ Name string } }
	if a.status != http.StatusOK {
		return "", errors.New(a.String())
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		return "", err
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Metadata.Name
	}
	return strings.Join(out, " "), nil
}

const entitiesPath = "/api/catalog/entities?filter=kind=component&order=asc:metadata.name"

// rule is a policy with one rule for everybody.
func rule(text string) string {
	return "roles:\n  - name: everybody\n    members: ['*']\n    rules:\n      - " + text + "\n"
}

const ownedOnly = "{allow: [catalog.entity.read], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}"

// The permission plugin and the catalog may be in two processes: each asks the
// other over the network, as the user. An edit of the policy applies at once.
// While the permission plugin is down users may do nothing, and as soon as it
// is up again they may.
func TestPermissionsInTwoProcesses(t *testing.T) {
	t.Parallel()
	toHome, toPermission := newWay(t), newWay(t)
	config := func(rest string, entry string) string {
		return settings(inMemory) + "app: {baseUrl: 'http://localhost:3000'}\ndiscovery: {endpoints: [" + entry + "]}\n" + rest
	}
	home := launch(t, setup{
		args: []string{"--plugins", "catalog,auth"}, files: map[string]string{"components.yaml": owned(map[string]string{"mine": "group:development/guests", "other": "others"})},
		config: config("permission: {enabled: true}\nauth: {providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}}\n"+
			"catalog: {rules: [{allow: [User, Group, Component]}], locations: [{type: file, target: components.yaml}]}\n",
			fmt.Sprintf("{target: '%s/api/{{pluginId}}', plugins: [permission]}", toPermission.URL)),
	}).ready()
	toHome.lead(t, home)
	decider := setup{
		args: []string{"--plugins", "permission"}, files: map[string]string{"policy.yaml": rule(ownedOnly)},
		config: config("permission: {enabled: true, policy: {$include: policy.yaml}}\n", fmt.Sprintf("{target: '%s/api/{{pluginId}}', plugins: [catalog, auth]}", toHome.URL)),
	}
	permission := launch(t, decider).ready()
	toPermission.lead(t, permission)

	eventually(t, "components", func() error {
		names, err := seen(home.get(entitiesPath, token))
		if err == nil && names != "mine other" {
			err = errors.New(names)
		}
		return err
	})
	var session struct{ BackstageIdentity struct{ Token string } }
	home.decode("/api/auth/guest/refresh", "", &session)
	user := session.BackstageIdentity.Token
	shows := func(what, want string) {
		t.Helper()
		eventually(t, what, func() error {
			names, err := seen(home.get(entitiesPath, user))
			if err == nil && names != want {
				err = errors.New("the user sees " + names)
			}
			return err
		})
	}

	shows("what the user owns", "mine")
	asked := toPermission.passed("/api/permission/authorize")
	if len(asked) == 0 {
		t.Fatal("the catalog did not ask over the network")
	}
	claims, err := claimsOf(asked[0])
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "catalog" || claims["aud"] != "permission" || claims["obo"] == nil {
		t.Errorf("the token says %v", claims)
	}

	const question = `{"items":[{"id":"1","resourceRef":["component:default/mine","component:default/other"],"permission":` +
		`{"type":"resource","name":"catalog.entity.read","attributes":{"action":"read"},"resourceType":"catalog-entity"}}]}`
	// The catalog may have asked for the keys of the permission plugin before
	// the way led there; it asks again after a second.
	eventually(t, "decisions on two components", func() error {
		if a := permission.post("/api/permission/authorize", user, question); a.body != `{"items":[{"id":"1","result":["ALLOW","DENY"]}]}` {
			return errors.New(a.String())
		}
		return nil
	})
	if len(toHome.passed("/permissions/apply-conditions")) == 0 {
		t.Error("the catalog was not asked to apply conditions over the network")
	}
	if a := permission.post("/api/permission/authorize", token, question); a.status != http.StatusForbidden {
		t.Errorf("a service: %s", a)
	}

	permission.write("policy.yaml", rule("{allow: [catalog.entity.*], resourceType: catalog-entity, when: always}"))
	shows("everything, as the policy was edited", "mine other")
	permission.write("policy.yaml", rule("{allow: [catalog.entity.*], resourceType: catalog-entity, when: {rul: X}}"))
	permission.logged("is broken", "policy.yaml:5", "did you mean rule?")
	shows("everything, as the edit is broken", "mine other")
	permission.write("policy.yaml", rule(ownedOnly))
	shows("what the user owns, again", "mine")

	permission.kill()
	for _, path := range []string{entitiesPath, "/api/catalog/entities/by-name/component/default/mine", "/api/catalog/locations"} {
		if a := home.get(path, user); a.status < 500 || strings.Contains(a.body, "apiVersion") {
			t.Errorf("without the permission plugin, the user gets %s", a)
		}
	}
	if a := home.get(entitiesPath, token); a.status != http.StatusOK {
		t.Errorf("a service, which its token permits: %s", a)
	}
	again := launch(t, decider).ready()
	toPermission.lead(t, again)
	if names, err := seen(home.get(entitiesPath, user)); err != nil || names != "mine" {
		t.Errorf("after the permission plugin came back: %q, %v", names, err)
	}
	again.stop()
	home.stop()
}
