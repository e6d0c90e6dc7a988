package authbackend

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	appnode "github.com/flytower/flytower/plugins/app-node"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/openid"
	"github.com/flytower/flytower/plugins/auth-backend/internal/pages"
	"github.com/flytower/flytower/plugins/auth-backend/internal/signin"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// openIDProvider is the OpenID provider with its pages.
type openIDProvider struct {
	settings  openIDSettings
	base      string
	server    *openid.Server
	documents *clients.Documents // nil if there are none
	pages     *pages.Pages       // nil where the frontend has them
	offered   []pages.Provider
}

// openIDParts are what the provider is made of.
type openIDParts struct {
	settings    openIDSettings
	base        string
	development bool
	fetch       http.RoundTripper // nil is the guarded network
	database    core.DatabaseService
	signIn      *signin.Context
	httpAuth    core.HTTPAuthService
	auditor     core.AuditorService
	instance    backend.Instance
	config      core.ConfigRoot
	log         *slog.Logger
	now         func() time.Time
}

func newOpenIDProvider(p openIDParts) *openIDProvider {
	o := &openIDProvider{settings: p.settings, base: p.base}
	store := &grants.Store{DB: p.database, Offline: p.settings.offline, Now: p.now}
	o.server = &openid.Server{
		Base: p.base, Grants: store, HTTPAuth: p.httpAuth, Auditor: p.auditor, Log: p.log,
		Users:      &tokenSource{signIn: p.signIn, skipPresence: p.settings.skipPresence},
		ConsentURL: func(id string) string { return p.settings.app + "/oauth2/authorize/" + id },
	}
	if p.settings.registration {
		o.server.Clients.Registry = &clients.Registry{DB: p.database, Allowed: p.settings.registered, Keep: p.settings.keep, Now: p.now}
	}
	if p.settings.documents {
		o.documents = clients.NewDocuments(clients.DocumentOptions{
			IDs: p.settings.documentIDs, Redirects: p.settings.documentAddrs, Own: openid.OwnClient(p.base),
			Development: p.development, Transport: p.fetch, Log: p.log, Now: p.now,
		})
		o.server.Clients.Documents = o.documents
	}
	if o.enabled() && o.withPages(p.config, p.instance) {
		o.pages = pages.New(pages.Options{
			Base: p.base, Root: p.settings.root, Title: p.settings.title, Environment: p.settings.environment,
			Providers: func() []pages.Provider { return o.offered }, Grants: store, Answer: o.server.Answer,
		})
		o.server.ConsentURL, o.server.Browser = o.pages.URL, o.pages.Browser
	}
	return o
}

func (o *openIDProvider) enabled() bool { return o.settings.registration || o.settings.documents }

// frontend is the plugin that serves the frontend.
const frontend = "app"

// withPages decides whether the frontend asks the user, or this backend does.
// A frontend is where this backend serves one, and at another address than
// that of the backend.
func (o *openIDProvider) withPages(config core.ConfigRoot, instance backend.Instance) bool {
	if o.settings.pages != pagesAuto {
		return o.settings.pages == pagesAlways
	}
	if o.settings.app != o.settings.root {
		return false
	}
	if !slices.ContainsFunc(instance.Status().Plugins, func(p backend.PluginStatus) bool { return p.ID == frontend }) {
		return true
	}
	_, err := appnode.FindBundle(config)
	var none *appnode.NoBundle
	return errors.As(err, &none)
}

// isOwn reports whether the origin is that of this backend, and its own pages
// take part in sign-ins.
func (o *openIDProvider) isOwn(origin string) bool {
	own, ok := authnode.OriginOf(o.base)
	given, _ := authnode.OriginOf(origin)
	return ok && o.pages != nil && given == own
}

// offer makes the pages offer a provider, if users can sign in with it.
func (o *openIDProvider) offer(router core.Router, id string, p authnode.Provider) {
	if o.pages == nil || p.Refresh == nil || !p.SignIn.Direct && !slices.Contains(p.SignIn.Environments, o.settings.environment) {
		return
	}
	offered := pages.Provider{ID: id, Direct: p.SignIn.Direct, SignIn: func(w http.ResponseWriter, r *http.Request) (string, error) {
		return signedInAs(w, r, id, o.settings.environment, p.Refresh)
	}}
	o.offered = append(o.offered, offered)
	router.HandleErr("GET /"+id+"/authorize/{session}", o.pages.Continue(offered))
}

// signedInAs asks a provider, as the frontend does, who the browser that sent
// the request is signed in as.
func signedInAs(w http.ResponseWriter, r *http.Request, id, environment string, refresh authnode.Handler) (string, error) {
	ask := r.Clone(r.Context())
	ask.Method, ask.Body = http.MethodGet, http.NoBody
	ask.URL = &url.URL{Path: "/" + id + "/refresh", RawQuery: url.Values{"env": {environment}, "optional": {""}}.Encode()}
	ask.RequestURI = ask.URL.RequestURI()
	ask.Header.Set("X-Requested-With", "XMLHttpRequest")
	ask.Header.Del("Authorization")
	answer := &captured{header: http.Header{}}
	err := refresh(answer, ask)
	for _, cookie := range answer.header.Values("Set-Cookie") {
		w.Header().Add("Set-Cookie", cookie)
	}
	if err != nil {
		return "", err
	}
	var said struct {
		Identity *struct {
			Identity struct {
				UserEntityRef string `json:"userEntityRef"`
			} `json:"identity"`
		} `json:"backstageIdentity"`
	}
	if err := json.Unmarshal(answer.body.Bytes(), &said); err != nil {
		return "", fmt.Errorf("reading the answer of the auth provider %s: %w", id, err)
	}
	if said.Identity == nil || said.Identity.Identity.UserEntityRef == "" {
		return "", apierr.Authentication("The auth provider %s has signed nobody in", id)
	}
	return said.Identity.Identity.UserEntityRef, nil
}

// captured is an answer that is not sent.
type captured struct {
	header http.Header
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (c *captured) Header() http.Header { return c.header }

// Write implements [http.ResponseWriter].
func (c *captured) Write(p []byte) (int, error) { return c.body.Write(p) }

// WriteHeader implements [http.ResponseWriter].
func (c *captured) WriteHeader(int) {}

// mount adds what lies outside of the plugin: the page of requests, and the
// documents with which clients find the provider (RFC 8414, RFC 9728).
func (o *openIDProvider) mount(root core.HTTPRoot, limit func(http.Handler) http.Handler, resources map[string]string) error {
	if !o.enabled() {
		return nil
	}
	if o.pages != nil {
		if err := root.Use(pages.Path, limit(o.pages)); err != nil {
			return fmt.Errorf("the page on which users answer clients: %w", err)
		}
	}
	if err := root.Use("/.well-known/oauth-authorization-server", read(func(*http.Request) any { return o.server.Metadata() })); err != nil {
		return fmt.Errorf("the metadata of the OpenID provider: %w", err)
	}
	err := root.Use("/.well-known/oauth-protected-resource", read(func(r *http.Request) any {
		resource, ok := resources[strings.ToLower(strings.Trim(r.URL.Path, "/"))]
		if !ok {
			return nil
		}
		return struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
		}{resource, []string{o.base}, o.server.Scopes()}
	}))
	if err != nil {
		return fmt.Errorf("the metadata of resources that the OpenID provider protects: %w", err)
	}
	return nil
}

// read answers GET requests with a document, and others, or where there is
// none, with 404.
func read(document func(*http.Request) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			if d := document(r); d != nil {
				apierr.WriteJSON(w, http.StatusOK, d)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
	})
}

// agents is the plugin whose servers clients find by their metadata.
const agents = "mcp-actions"

// protected are the resources by where their metadata are, below
// /.well-known/oauth-protected-resource: the MCP server, or those that
// mcpActions.servers names.
func protected(c core.Config, external string) map[string]string {
	all := map[string]string{}
	path := "api/" + agents + "/v1"
	all[path] = external + "/v1"
	for _, key := range c.Keys("mcpActions.servers") {
		all[path+"/"+strings.ToLower(key)] = external + "/v1/" + key
	}
	return all
}

// sortOffered puts the providers in an order that does not change.
func (o *openIDProvider) sortOffered() {
	slices.SortFunc(o.offered, func(a, b pages.Provider) int {
		if a.Direct != b.Direct {
			return map[bool]int{false: -1, true: 1}[a.Direct]
		}
		return cmp.Compare(pages.Name(a.ID), pages.Name(b.ID))
	})
}

func (o *openIDProvider) close() {
	if o.documents != nil {
		o.documents.Close()
	}
}
