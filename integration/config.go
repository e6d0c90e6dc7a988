package integration

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
)

// GitHub is github.com or a GitHub Enterprise server.
type GitHub struct {
	// Host is "github.com" by default.
	Host string
	// APIBaseURL has no trailing slash; https://api.github.com for github.com.
	// A self-hosted server has at least one of the two base URLs.
	APIBaseURL string
	// RawBaseURL is where files are read without credentials.
	RawBaseURL string
	// Token is a personal access token; zero for none.
	Token core.Token
	// Apps are the GitHub Apps that are asked for credentials before Token.
	Apps []GitHubApp
}

// GitHubApp is a GitHub App whose installations give access to repositories.
type GitHubApp struct {
	AppID         int64
	PrivateKey    core.Token // PEM
	ClientID      string
	ClientSecret  core.Token
	WebhookSecret core.Token
	// AllowedInstallationOwners are accounts, in lower case, whose
	// installations are used; nil is all.
	AllowedInstallationOwners []string
	// PublicAccess lets the app read public repositories of owners who have
	// not installed it.
	PublicAccess bool
}

// GitLab is gitlab.com or a GitLab server.
type GitLab struct {
	// Host is "gitlab.com" by default.
	Host string
	// APIBaseURL has no trailing slash; https://gitlab.com/api/v4 for
	// gitlab.com, required elsewhere.
	APIBaseURL string
	// BaseURL is https://<host> by default; it has a path where GitLab is
	// installed below one.
	BaseURL string
	Token   core.Token
	// CommitSigningKey is an armored OpenPGP private key for commits of the
	// scaffolder; zero for none.
	CommitSigningKey core.Token
	Retry            Retry
}

// Retry limits the requests to a host.
type Retry struct {
	// MaxRetries is how often a request is sent again; nil is the default of
	// the client.
	MaxRetries *int
	// StatusCodes are further statuses that are worth a retry.
	StatusCodes []int
	// MaxRequestsPerMinute is 0 for no limit.
	MaxRequestsPerMinute int
}

// BitbucketCloud is bitbucket.org.
type BitbucketCloud struct {
	Host, APIBaseURL   string
	Username, ClientID string
	Token, AppPassword core.Token
	ClientSecret       core.Token
}

// BitbucketServer is a Bitbucket Server or Data Center.
type BitbucketServer struct {
	Host, APIBaseURL string
	Token            core.Token
	Username         string
	Password         core.Token
}

// Azure is Azure DevOps.
type Azure struct {
	// Host is "dev.azure.com" by default.
	Host        string
	Credentials []AzureCredential
}

// AzureCredential is for the organizations that it names, or for all others.
type AzureCredential struct {
	Organizations           []string
	PersonalAccessToken     core.Token
	ClientID, TenantID      string
	ClientSecret            core.Token
	ManagedIdentityClientID string
}

// Gerrit is a Gerrit server with Gitiles.
type Gerrit struct {
	Host, BaseURL, GitilesBaseURL, CloneURL string
	Username                                string
	Password                                core.Token
}

// Gitea is a Gitea or Forgejo server.
type Gitea struct {
	Host, BaseURL string
	Username      string
	Password      core.Token
	// CommitSigningKey is an armored OpenPGP private key for commits of the
	// scaffolder; zero for none.
	CommitSigningKey core.Token
}

// Harness is a Harness Code host.
type Harness struct {
	Host          string
	Token, APIKey core.Token
}

// FromConfig reads the hosts below integrations. config is the whole
// configuration. A wrong value is a *core.ConfigError that names its file and
// line.
func FromConfig(config core.Config) (*Hosts, error) {
	h := &Hosts{byDefault: map[Kind]bool{}}
	c := config.Sub("integrations")
	for _, read := range []func(core.Config) error{
		h.readGitHub, h.readGitLab, h.readBitbucketCloud, h.readBitbucketServer,
		h.readAzure, h.readGerrit, h.readGitea, h.readHarness,
	} {
		if err := read(c); err != nil {
			return nil, fmt.Errorf("reading the integrations: %w", err)
		}
	}
	return h, nil
}

// entry reads the members of one integration and keeps the first error, so
// that the code below reads like the table in the documentation.
type entry struct {
	core.Config
	err error
}

func (e *entry) keep(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *entry) text(key string) string {
	if !e.Has(key) {
		return ""
	}
	s, err := e.StringOr(key, "")
	e.keep(err)
	return strings.TrimSpace(s)
}

func (e *entry) secret(key string) core.Token { return core.NewToken(e.text(key)) }

func (e *entry) must(key string) string {
	s, err := e.String(key)
	e.keep(err)
	return strings.TrimSpace(s)
}

func (e *entry) mustSecret(key string) core.Token { return core.NewToken(e.must(key)) }

func (e *entry) list(key string) []string {
	l, err := e.Strings(key)
	e.keep(err)
	return l
}

// problem reports that the value at key is wrong.
func (e *entry) problem(key, problem, remedy string) {
	e.keep(&core.ConfigError{Key: e.Path(key), Position: e.position(key), Problem: problem, Remedy: remedy})
}

func (e *entry) position(key string) core.Position {
	if p := e.Position(key); p.String() != "" {
		return p
	}
	return e.Position("")
}

// host reads a host with an optional port; absent "" makes it required.
func (e *entry) host(absent string) string {
	h := e.text("host")
	if h == "" {
		if absent == "" {
			h = e.must("host")
		} else {
			h = absent
		}
	}
	u, err := url.Parse("https://" + h)
	if e.err == nil && (err != nil || u.Host != h || u.Hostname() == "" || u.User != nil || strings.HasSuffix(h, ":")) {
		e.problem("host", "is not a host name", `write it without scheme and path, such as "git.example.com" or "git.example.com:8443"`)
		return h
	}
	return strings.TrimSuffix(strings.ToLower(h), ":443")
}

// base reads a base URL and strips its trailing slashes.
func (e *entry) base(key, absent string) string {
	s := e.text(key)
	if s == "" {
		return absent
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		e.problem(key, "is not a base URL", `write it like "https://git.example.com/api/v3", without credentials, query and fragment`)
	}
	return strings.TrimRight(s, "/")
}

// each reads every element of an array of objects.
func each(c core.Config, key string, read func(*entry)) error {
	list, err := c.List(key)
	if err != nil {
		return err
	}
	for _, l := range list {
		e := &entry{Config: l}
		read(e)
		if e.err != nil {
			return e.err
		}
	}
	return nil
}

func (h *Hosts) readGitHub(c core.Config) error {
	err := each(c, "github", func(e *entry) {
		g := GitHub{
			Host:       e.host("github.com"),
			APIBaseURL: e.base("apiBaseUrl", ""),
			RawBaseURL: e.base("rawBaseUrl", ""),
			Token:      e.secret("token"),
		}
		if g.Host == "github.com" {
			g = withPublicGitHub(g)
		} else if g.APIBaseURL == "" && g.RawBaseURL == "" {
			e.problem("apiBaseUrl", "is missing", "set apiBaseUrl (https://"+g.Host+"/api/v3 on GitHub Enterprise) or rawBaseUrl")
		}
		e.keep(each(e, "apps", func(a *entry) { g.Apps = append(g.Apps, readGitHubApp(a)) }))
		h.GitHub = append(h.GitHub, g)
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(h.GitHub, func(g GitHub) bool { return g.Host == "github.com" }) {
		h.byDefault[KindGitHub] = true
		h.GitHub = append(h.GitHub, withPublicGitHub(GitHub{Host: "github.com"}))
	}
	return nil
}

func withPublicGitHub(g GitHub) GitHub {
	if g.APIBaseURL == "" {
		g.APIBaseURL = "https://api.github.com"
	}
	if g.RawBaseURL == "" {
		g.RawBaseURL = "https://raw.githubusercontent.com"
	}
	return g
}

func readGitHubApp(e *entry) GitHubApp {
	id, err := e.NumberOr("appId", 0)
	e.keep(err)
	if err == nil && (id < 1 || id != float64(int64(id))) {
		e.problem("appId", "is not the number of a GitHub App", "copy the App ID from the settings of the app")
	}
	a := GitHubApp{
		AppID: int64(id),
		// A key from an environment variable often has its line ends escaped.
		PrivateKey:    core.NewToken(strings.ReplaceAll(e.must("privateKey"), `\n`, "\n")),
		ClientID:      e.must("clientId"),
		ClientSecret:  e.mustSecret("clientSecret"),
		WebhookSecret: e.secret("webhookSecret"),
	}
	for _, o := range e.list("allowedInstallationOwners") {
		a.AllowedInstallationOwners = append(a.AllowedInstallationOwners, strings.ToLower(o))
	}
	a.PublicAccess, err = e.BoolOr("publicAccess", false)
	e.keep(err)
	return a
}

func (h *Hosts) readGitLab(c core.Config) error {
	err := each(c, "gitlab", func(e *entry) {
		g := GitLab{Host: e.host("gitlab.com"), Token: e.secret("token"), CommitSigningKey: e.secret("commitSigningKey")}
		api := ""
		if g.Host == "gitlab.com" {
			api = "https://gitlab.com/api/v4"
		}
		g.BaseURL = e.base("baseUrl", "https://"+g.Host)
		g.APIBaseURL = e.base("apiBaseUrl", api)
		if g.APIBaseURL == "" {
			e.problem("apiBaseUrl", "is missing", "set it to "+g.BaseURL+"/api/v4")
		}
		g.Retry = readRetry(e)
		h.GitLab = append(h.GitLab, g)
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(h.GitLab, func(g GitLab) bool { return g.Host == "gitlab.com" }) {
		h.byDefault[KindGitLab] = true
		h.GitLab = append(h.GitLab, GitLab{Host: "gitlab.com", APIBaseURL: "https://gitlab.com/api/v4", BaseURL: "https://gitlab.com"})
	}
	return nil
}

func readRetry(e *entry) Retry {
	var r Retry
	if e.Has("retry.maxRetries") {
		n, err := e.IntOr("retry.maxRetries", 0)
		e.keep(err)
		if err == nil && (n < 0 || n > 20) {
			e.problem("retry.maxRetries", "is out of range", "use 0 to 20")
		}
		r.MaxRetries = &n
	}
	v, _ := e.Value("retry.retryStatusCodes")
	if list, isList := v.([]any); isList {
		for _, item := range list {
			code, err := strconv.Atoi(fmt.Sprint(item))
			if err != nil || code < 100 || code > 599 {
				e.problem("retry.retryStatusCodes", fmt.Sprintf("has the element %v, which is no HTTP status", item), "use numbers such as 429")
				break
			}
			r.StatusCodes = append(r.StatusCodes, code)
		}
	} else if v != nil {
		e.problem("retry.retryStatusCodes", "must be an array of numbers", "write [429, 503]")
	}
	n, err := e.IntOr("retry.maxApiRequestsPerMinute", 0)
	e.keep(err)
	r.MaxRequestsPerMinute = max(n, 0)
	return r
}

func (h *Hosts) readBitbucketCloud(c core.Config) error {
	const host = "bitbucket.org"
	err := each(c, "bitbucketCloud", func(e *entry) {
		b := BitbucketCloud{
			Host: host, APIBaseURL: "https://api.bitbucket.org/2.0",
			Username: e.text("username"), Token: e.secret("token"), AppPassword: e.secret("appPassword"),
			ClientID: e.text("clientId"), ClientSecret: e.secret("clientSecret"),
		}
		switch {
		case (b.ClientID == "") != b.ClientSecret.IsZero():
			e.problem("clientId", "and clientSecret belong together", "set both or none")
		case b.ClientID == "" && b.Username == "":
			e.problem("username", "is missing", "set username with token or appPassword, or clientId with clientSecret")
		case b.ClientID == "" && b.Token.IsZero() && b.AppPassword.IsZero():
			e.problem("token", "is missing", "set token or appPassword beside username")
		}
		h.BitbucketCloud = append(h.BitbucketCloud, b)
	})
	if len(h.BitbucketCloud) == 0 {
		h.byDefault[KindBitbucketCloud] = true
		h.BitbucketCloud = []BitbucketCloud{{Host: host, APIBaseURL: "https://api.bitbucket.org/2.0"}}
	}
	return err
}

func (h *Hosts) readBitbucketServer(c core.Config) error {
	return each(c, "bitbucketServer", func(e *entry) {
		b := BitbucketServer{Host: e.host(""), Token: e.secret("token"), Username: e.text("username"), Password: e.secret("password")}
		b.APIBaseURL = e.base("apiBaseUrl", "https://"+b.Host+"/rest/api/1.0")
		h.BitbucketServer = append(h.BitbucketServer, b)
	})
}

func (h *Hosts) readAzure(c core.Config) error {
	const public = "dev.azure.com"
	err := each(c, "azure", func(e *entry) {
		a := Azure{Host: e.host(public)}
		e.keep(each(e, "credentials", func(k *entry) {
			a.Credentials = append(a.Credentials, AzureCredential{
				Organizations: k.list("organizations"), PersonalAccessToken: k.secret("personalAccessToken"),
				ClientID: k.text("clientId"), TenantID: k.text("tenantId"), ClientSecret: k.secret("clientSecret"),
				ManagedIdentityClientID: k.text("managedIdentityClientId"),
			})
		}))
		h.Azure = append(h.Azure, a)
	})
	if !slices.ContainsFunc(h.Azure, func(a Azure) bool { return a.Host == public }) {
		h.byDefault[KindAzure] = true
		h.Azure = append(h.Azure, Azure{Host: public})
	}
	return err
}

func (h *Hosts) readGerrit(c core.Config) error {
	return each(c, "gerrit", func(e *entry) {
		g := Gerrit{Host: e.host(""), Username: e.text("username"), Password: e.secret("password")}
		g.BaseURL = e.base("baseUrl", "https://"+g.Host)
		e.must("gitilesBaseUrl")
		g.GitilesBaseURL = e.base("gitilesBaseUrl", "")
		g.CloneURL = e.base("cloneUrl", g.BaseURL)
		h.Gerrit = append(h.Gerrit, g)
	})
}

func (h *Hosts) readGitea(c core.Config) error {
	return each(c, "gitea", func(e *entry) {
		g := Gitea{Host: e.host(""), Username: e.text("username"), Password: e.secret("password"), CommitSigningKey: e.secret("commitSigningKey")}
		g.BaseURL = e.base("baseUrl", "https://"+g.Host)
		h.Gitea = append(h.Gitea, g)
	})
}

func (h *Hosts) readHarness(c core.Config) error {
	return each(c, "harness", func(e *entry) {
		h.Harness = append(h.Harness, Harness{Host: e.host(""), Token: e.secret("token"), APIKey: e.secret("apiKey")})
	})
}
