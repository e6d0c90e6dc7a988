package identity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/defaults/httpauth"
)

// matrix says as whom a caller arrives, or with which status it is refused:
// at a route of a plugin, at one that lets cookies in, at a public one, at a
// public one that asks who calls, at a route of another plugin, and there when
// the first plugin passes the call on.
const matrix = `
| caller                                  | default                            | cookie route                       | public  | public, asks                       | other plugin                       | passed on                          |
|-----------------------------------------|------------------------------------|------------------------------------|---------|------------------------------------|------------------------------------|------------------------------------|
| no credentials                          | 401                                | 401                                | anybody | nobody                             | 401                                | 401                                |
| another scheme than Bearer              | 401                                | 401                                | anybody | nobody                             | 401                                | 401                                |
| guest                                   | user:development/guest             | user:development/guest             | anybody | user:development/guest             | user:development/guest             | user:development/guest by plugin:probe |
| guest's cookie                          | 401                                | user:development/guest             | anybody | nobody                             | 401                                | 401                                |
| guest's limited token                   | 401                                | user:development/guest             | anybody | 401                                | 401                                | 401                                |
| guest's cookie, and a bad token         | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user                                    | user:default/jane                  | user:default/jane                  | anybody | user:default/jane                  | user:default/jane                  | user:default/jane by plugin:probe  |
| user, full token as cookie              | 401                                | user:default/jane                  | anybody | nobody                             | 401                                | 401                                |
| user without proof of identity          | user:default/jane                  | user:default/jane                  | anybody | user:default/jane                  | user:default/jane                  | 401                                |
| user without typ                        | user:default/jane                  | user:default/jane                  | anybody | user:default/jane                  | user:default/jane                  | user:default/jane by plugin:probe  |
| user without typ, wrong audience        | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, expired                           | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| cookie, expired                         | 401                                | 401                                | anybody | nobody                             | 401                                | 401                                |
| cookie, tampered                        | 401                                | 401                                | anybody | nobody                             | 401                                | 401                                |
| user, wrong key                         | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, wrong key with the right id       | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, signed by a plugin                | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, tampered payload                  | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, tampered header                   | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, alg none                          | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, HS256 with the public key         | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| user, HS256 with the legacy secret      | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| plugin                                  | plugin:remote                      | plugin:remote                      | anybody | plugin:remote                      | 401                                | plugin:probe                       |
| plugin, for a user                      | user:default/jane by plugin:remote | user:default/jane by plugin:remote | anybody | user:default/jane by plugin:remote | 401                                | user:default/jane by plugin:probe  |
| plugin, for another plugin              | 401                                | 401                                | anybody | 401                                | plugin:remote                      | 401                                |
| plugin, for nobody                      | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| plugin, expired                         | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| plugin that says it is another          | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| plugin, signed by users' key            | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| plugin, for an expired user             | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| plugin's token as cookie                | 401                                | plugin:remote                      | anybody | nobody                             | 401                                | 401                                |
| static                                  | ci                                 | ci                                 | anybody | ci                                 | ci                                 | plugin:probe                       |
| static, wrong                           | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| restricted static                       | reader (read)                      | reader (read)                      | anybody | reader (read)                      | 403                                | 403                                |
| legacy                                  | old                                | old                                | anybody | old                                | old                                | plugin:probe                       |
| legacy, expired                         | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| legacy, wrong secret                    | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| external key set                        | external:corp:build                | external:corp:build                | anybody | external:corp:build                | external:corp:build                | plugin:probe                       |
| external key set, wrong audience        | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| external key set, wrong issuer          | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| external key set, expired               | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
| external key set, says it is a user     | 401                                | 401                                | anybody | 401                                | 401                                | 401                                |
`

// columns are the paths that the columns are about.
var columns = []string{"/api/probe/default", "/api/probe/cookie", "/api/probe/public/page", "/api/probe/public/asks", "/api/other/default", "/api/probe/relay"}

const (
	staticToken = "static-token-1234567890"
	readerToken = "reader-token-1234567890"
	// legacySecret has 24 bytes, as such secrets had.
	legacySecret = "123456789012345678901234"
)

// caller has the headers that are sent.
type caller map[string]string

func bearer(token string) caller { return caller{"Authorization": "Bearer " + token} }
func cookie(token string) caller { return caller{"Cookie": httpauth.CookieName + "=" + token} }

func TestMatrix(t *testing.T) {
	t.Parallel()
	users := &peer{key: newKey(t), kid: "users-1"}
	remote, external := newPeer(t, "remote-1"), newPeer(t, "external-1")
	srv := backendtest.Start(t, services(), signIn(), probe("probe"), probe("other"), backendtest.Silent(), backendtest.YAML(`
		app: {baseUrl: 'http://localhost:3000'}
		discovery: {endpoints: [{target: '`+remote.url+`/api/{{pluginId}}', plugins: [remote]}]}
		auth:
		  providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}
		  keyStore: {provider: static, `+keyStore(t, users.kid, "ES256", users.key)+`}
		backend:
		  auth:
		    externalAccess:
		      - {type: static, options: {token: `+staticToken+`, subject: ci}}
		      - type: static
		        options: {token: `+readerToken+`, subject: reader}
		        accessRestrictions: [{plugin: probe, permissionAttribute: {action: read}}]
		      - {type: legacy, options: {secret: MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0, subject: old}}
		      - {type: jwks, options: {url: '`+external.url+`/keys', issuer: corp.example, audience: portal, subjectPrefix: corp}}
	`))
	client := srv.Client(t).As(backendtest.Nobody())
	callers := callersOf(t, client, users, remote, external)
	for _, row := range rows(t) {
		who, ok := callers[row.caller]
		if delete(callers, row.caller); !ok {
			t.Errorf("there is no caller %q", row.caller)
			continue
		}
		t.Run(row.caller, func(t *testing.T) {
			c := client
			for name, value := range who {
				c = c.Header(name, value)
			}
			for i, path := range columns {
				r := c.Get(path)
				got := r.Text()
				if r.Status != http.StatusOK {
					got = strconv.Itoa(r.Status)
				}
				if got != row.want[i] {
					t.Errorf("%s: got %q, want %q\n%s", path, got, row.want[i], r.Text())
				}
				for _, value := range who {
					if len(value) > 40 && strings.Contains(r.Text(), value[len(value)-20:]) {
						t.Errorf("%s: the answer has a part of the token", path)
					}
				}
			}
		})
	}
	for name := range callers {
		t.Errorf("the table does not have the caller %q", name)
	}
}

type row struct {
	caller string
	want   []string
}

// rows reads the table.
func rows(t *testing.T) (out []row) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(matrix), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != len(columns)+1 {
			t.Fatalf("the row has %d cells: %s", len(cells), line)
		}
		out = append(out, row{cells[0], cells[1:]})
	}
	return out[2:] // without the head
}

func callersOf(t *testing.T, client backendtest.Client, users, remote, external *peer) map[string]caller {
	guest := guestToken(t, client)
	limited := cookieOf(t, client, "probe", guest)
	sec := now.Unix()
	userAt := func(p *peer, kid string, iat, exp int64) (full, limited string) {
		head := fmt.Sprintf(`{"typ":%q,"alg":"ES256","kid":%q}`, typLimited, kid)
		limited = signText(t, p.key, head, fmt.Sprintf(`{"sub":"user:default/jane","iat":%d,"exp":%d}`, iat, exp))
		uip := limited[strings.LastIndexByte(limited, '.')+1:]
		return sign(t, p.key, kid, typUser, claims{"sub": "user:default/jane", "aud": "backstage", "iat": iat, "exp": exp, "uip": uip}), limited
	}
	jane, janeLimited := userAt(users, users.kid, sec, sec+3600)
	expired, expiredLimited := userAt(users, users.kid, sec-3600, sec)
	wrongKey, _ := userAt(remote, remote.kid, sec, sec+3600)
	wrongKeyRightID, _ := userAt(remote, users.kid, sec, sec+3600)
	jwk, err := json.Marshal(users.set().Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf(`{"sub":"user:default/root","iat":%d,"exp":%d}`, sec, sec+3600)
	user := claims{"sub": "user:default/jane", "aud": "backstage", "iat": sec, "exp": sec + 3600}
	hsHead := fmt.Sprintf(`{"typ":%q,"alg":"HS256","kid":%q}`, typUser, users.kid)
	plugin := claims{"sub": "remote", "aud": "probe", "iat": sec, "exp": sec + 3600}
	fromPlugin := func(c claims) string { return sign(t, remote.key, remote.kid, typPlugin, c) }
	build := claims{"sub": "build", "iss": "corp.example", "aud": "portal", "exp": sec + 3600}
	fromOutside := func(c claims) caller { return bearer(sign(t, external.key, external.kid, "", c)) }
	old := claims{"sub": "backstage-server", "exp": sec + 60}

	return map[string]caller{
		"no credentials":                      {},
		"another scheme than Bearer":          {"Authorization": "Basic " + b64("user:"+staticToken)},
		"guest":                               bearer(guest),
		"guest's cookie":                      cookie(limited),
		"guest's limited token":               bearer(limited),
		"guest's cookie, and a bad token":     {"Cookie": httpauth.CookieName + "=" + limited, "Authorization": "Bearer " + staticToken + "x"},
		"user":                                bearer(jane),
		"user, full token as cookie":          cookie(jane),
		"user without proof of identity":      bearer(sign(t, users.key, users.kid, typUser, user)),
		"user without typ":                    bearer(sign(t, users.key, users.kid, "", user)),
		"user without typ, wrong audience":    bearer(sign(t, users.key, users.kid, "", user.with("aud", "elsewhere"))),
		"user, expired":                       bearer(expired),
		"cookie, expired":                     cookie(expiredLimited),
		"cookie, tampered":                    cookie(resigned(janeLimited, "", root)),
		"user, wrong key":                     bearer(wrongKey),
		"user, wrong key with the right id":   bearer(wrongKeyRightID),
		"user, signed by a plugin":            bearer(sign(t, remote.key, remote.kid, typUser, user)),
		"user, tampered payload":              bearer(resigned(jane, "", root)),
		"user, tampered header":               bearer(resigned(janeLimited, fmt.Sprintf(`{"typ":%q,"alg":"ES256","kid":%q}`, typUser, users.kid), "")),
		"user, alg none":                      bearer(b64(fmt.Sprintf(`{"typ":%q,"alg":"none","kid":%q}`, typUser, users.kid)) + "." + b64(root) + "."),
		"user, HS256 with the public key":     bearer(hs256(string(jwk), hsHead, user)),
		"user, HS256 with the legacy secret":  bearer(hs256(legacySecret, hsHead, user)),
		"plugin":                              bearer(fromPlugin(plugin)),
		"plugin, for a user":                  bearer(fromPlugin(plugin.with("obo", janeLimited))),
		"plugin, for another plugin":          bearer(fromPlugin(plugin.with("aud", "other"))),
		"plugin, for nobody":                  bearer(fromPlugin(plugin.with("aud", nil))),
		"plugin, expired":                     bearer(fromPlugin(plugin.with("exp", sec))),
		"plugin that says it is another":      bearer(fromPlugin(plugin.with("sub", "other"))),
		"plugin, signed by users' key":        bearer(sign(t, users.key, users.kid, typPlugin, plugin)),
		"plugin, for an expired user":         bearer(fromPlugin(plugin.with("obo", expiredLimited))),
		"plugin's token as cookie":            cookie(fromPlugin(plugin)),
		"static":                              bearer(staticToken),
		"static, wrong":                       bearer(staticToken + "x"),
		"restricted static":                   bearer(readerToken),
		"legacy":                              bearer(hs256(legacySecret, `{"alg":"HS256"}`, old)),
		"legacy, expired":                     bearer(hs256(legacySecret, `{"alg":"HS256"}`, old.with("exp", sec))),
		"legacy, wrong secret":                bearer(hs256("not the secret", `{"alg":"HS256"}`, old)),
		"external key set":                    fromOutside(build),
		"external key set, wrong audience":    fromOutside(build.with("aud", "elsewhere")),
		"external key set, wrong issuer":      fromOutside(build.with("iss", "evil.example")),
		"external key set, expired":           fromOutside(build.with("exp", sec)),
		"external key set, says it is a user": bearer(sign(t, external.key, external.kid, typUser, user)),
	}
}
