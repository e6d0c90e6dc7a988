package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
)

// table is what the configuration says; it never changes.
type table struct {
	internal, external map[string]*target
	elsewhere          []string

	baseURL    string // without trailing slashes
	basePlace  string // where that stands
	scheme     string // of the listener
	host       string // to reach it
	port       int    // 0 is chosen by the system
	parsedBase *url.URL
}

const everyPlugin = "*"

func (t *table) internalTarget(plugin string) *target { return lookUp(t.internal, plugin) }
func (t *table) externalTarget(plugin string) *target { return lookUp(t.external, plugin) }

func lookUp(targets map[string]*target, plugin string) *target {
	if to, ok := targets[plugin]; ok {
		return to
	}
	return targets[everyPlugin]
}

// ownInternal returns the address of this backend from inside.
func (t *table) ownInternal(listen func() net.Addr) string {
	port := t.port
	if port == 0 && listen != nil {
		if addr, ok := listen().(*net.TCPAddr); ok {
			port = addr.Port
		}
	}
	return t.scheme + "://" + hostPort(t.host, port)
}

func (s *Service) read(cfg core.Config) (*table, error) {
	t := &table{internal: map[string]*target{}, external: map[string]*target{}, scheme: "http"}
	base, err := cfg.String("backend.baseUrl")
	if err != nil {
		return nil, err
	}
	t.baseURL, t.basePlace = strings.TrimRight(base, "/"), cfg.Position("backend.baseUrl").String()
	if u, err := url.Parse(base); err == nil && u.Host != "" {
		t.parsedBase = u
	}
	if v, ok := cfg.Value("backend.https"); ok && v != false {
		t.scheme = "https"
	}
	if err := t.readListen(cfg); err != nil {
		return nil, err
	}
	for _, e := range s.defaults {
		if err := t.add(e.Internal, e.External, e.Plugins); err != nil {
			return nil, fmt.Errorf("default endpoint of %s: %w", strings.Join(e.Plugins, ", "), err)
		}
	}
	entries, err := cfg.List("discovery.endpoints")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if err := t.readEntry(entry); err != nil {
			return nil, err
		}
	}
	own := t.ownInternal(s.listen)
	for plugin, to := range t.internal {
		if at := to.expand(plugin); plugin != everyPlugin && at != own+"/api/"+escape(plugin) && at != t.baseURL+"/api/"+escape(plugin) {
			t.elsewhere = append(t.elsewhere, plugin)
		}
	}
	slices.Sort(t.elsewhere)
	return t, nil
}

const defaultPort = 7007

// readListen reads backend.listen: a port, "host:port", or an object.
func (t *table) readListen(cfg core.Config) error {
	const key = "backend.listen"
	t.port = defaultPort
	host := ""
	var err error
	switch v, _ := cfg.Value(key); v := v.(type) {
	case nil:
	case string:
		before, port, found := strings.Cut(v, ":")
		if !found {
			before, port = "", v
		}
		host = before
		if t.port, err = strconv.Atoi(port); err != nil || t.port < 0 || t.port > math.MaxUint16 {
			return configError(cfg, key, fmt.Sprintf("is %q, which is no address to listen on", v), "write <port>, <host>:<port>, or {host, port}")
		}
	case float64:
		if t.port = int(v); float64(t.port) != v || t.port < 0 || t.port > math.MaxUint16 {
			return configError(cfg, key, "is no port", "use a number from 0 to 65535")
		}
	default:
		if host, err = cfg.StringOr(key+".host", ""); err != nil {
			return err
		}
		if t.port, err = cfg.IntOr(key+".port", defaultPort); err != nil {
			return err
		}
	}
	switch host = strings.Trim(host, "[]"); host {
	case "", "::":
		host = "localhost"
	case "0.0.0.0":
		host = "127.0.0.1"
	}
	t.host = host
	return nil
}

func (t *table) readEntry(entry core.Config) error {
	plugins, err := entry.Strings("plugins")
	if err != nil {
		return err
	}
	if len(plugins) == 0 {
		return configError(entry, "plugins", "is missing or empty", "list the ids of plugins, or *")
	}
	var internal, external string
	if v, ok := entry.Value("target"); !ok {
		return configError(entry, "target", "is missing", "give a URL, or {internal, external}")
	} else if single, ok := v.(string); ok {
		if isSRV(single) {
			return configError(entry, "target", "must not be an SRV address, which outsiders cannot resolve", "use target.internal")
		}
		internal, external = single, single
	} else {
		target := entry.Sub("target")
		if internal, err = target.StringOr("internal", ""); err != nil {
			return err
		}
		if external, err = target.StringOr("external", ""); err != nil {
			return err
		}
		if isSRV(external) {
			return configError(target, "external", "must not be an SRV address, which outsiders cannot resolve", "use an http or https URL")
		}
		if internal == "" && external == "" {
			return configError(entry, "target", "has no address", "give a URL, or {internal, external}")
		}
	}
	if err := t.add(internal, external, plugins); err != nil {
		return &core.ConfigError{Key: entry.Path("target"), Position: entry.Position("target"), Problem: "is not usable: " + err.Error(), Err: err}
	}
	return nil
}

func (t *table) add(internal, external string, plugins []string) error {
	if isSRV(external) {
		return errors.New("an external target must not be an SRV address")
	}
	for _, side := range []struct {
		text string
		to   map[string]*target
	}{{internal, t.internal}, {external, t.external}} {
		if side.text == "" {
			continue
		}
		parsed, err := parseTarget(side.text)
		if err != nil {
			return err
		}
		for _, plugin := range plugins {
			side.to[plugin] = parsed
		}
	}
	return nil
}

// warn tells of settings that are most likely mistakes.
func (t *table) warn(log *slog.Logger, production bool) {
	switch {
	case t.parsedBase == nil:
		log.Warn("backend.baseUrl is not a URL; plugins and browsers will not reach this backend by it", "position", t.basePlace)
	case production && t.parsedBase.Hostname() == "localhost":
		log.Warn("backend.baseUrl is on localhost although this is production; browsers elsewhere will not reach it", "position", t.basePlace)
	}
}

// target is an address with a place for the id of the plugin.
type target struct {
	text string
	srv  bool
}

var placeholder = regexp.MustCompile(`\{\{\s*pluginId\s*\}\}`)

func isSRV(text string) bool {
	return strings.HasPrefix(text, "http+srv://") || strings.HasPrefix(text, "https+srv://")
}

func parseTarget(text string) (*target, error) {
	to := &target{text: strings.TrimRight(text, "/"), srv: isSRV(text)}
	u, err := url.Parse(to.expand("x"))
	switch {
	case err != nil:
		return nil, err
	case u.Host == "":
		return nil, fmt.Errorf("%q has no host", text)
	case !to.srv && u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is neither http nor https", text)
	case to.srv && (u.Port() != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != ""):
		return nil, fmt.Errorf("%q must have neither port, credentials, query nor fragment: the SRV record has the port", text)
	}
	return to, nil
}

func (to *target) expand(plugin string) string {
	return strings.TrimRight(placeholder.ReplaceAllLiteralString(to.text, escape(plugin)), "/")
}

func (to *target) resolve(ctx context.Context, plugin string, srv *srvCache) (string, error) {
	text := to.expand(plugin)
	if !to.srv {
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("address of plugin %q: %w", plugin, err)
	}
	host, err := srv.pick(ctx, u.Hostname())
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(u.Scheme, "+srv") + "://" + host + strings.TrimRight(u.EscapedPath(), "/"), nil
}

// configError says what is wrong at a key.
func configError(cfg core.Config, key, problem, remedy string) error {
	at := cfg.Position(key)
	if at == (core.Position{}) {
		at = cfg.Position("") // of the parent
	}
	return &core.ConfigError{Key: cfg.Path(key), Position: at, Problem: problem, Remedy: remedy}
}

// ConfigSchema describes what this service reads.
const ConfigSchema = `{
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "required": ["baseUrl"],
      "properties": {
        "baseUrl": {"type": "string", "visibility": "frontend", "description": "Address of this backend as browsers reach it, without /api. Required."}
      }
    },
    "discovery": {
      "type": "object",
      "description": "Where plugins are that are not in this backend. Changes apply without a restart.",
      "properties": {
        "endpoints": {
          "type": "array",
          "description": "Places of plugins; of two entries for a plugin the later counts.",
          "items": {
            "type": "object",
            "required": ["target", "plugins"],
            "properties": {
              "target": {
                "description": "Base URL of the plugins, in which {{pluginId}} stands for the id.",
                "anyOf": [
                  {"type": "string", "description": "The same URL from inside and outside."},
                  {
                    "type": "object",
                    "description": "Different URLs; what is left out stays at its default.",
                    "properties": {
                      "internal": {"type": "string", "description": "URL for other backends; http+srv:// and https+srv:// look host and port up in SRV records."},
                      "external": {"type": "string", "description": "URL for browsers."}
                    }
                  }
                ]
              },
              "plugins": {"type": "array", "minItems": 1, "items": {"type": "string"}, "description": "Ids of the plugins, or * for all without an entry of their own."}
            }
          }
        }
      }
    }
  }
}`
