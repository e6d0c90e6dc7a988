package auth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// restrictions are the only plugins that a token works at, and what it may
// do there.
type restrictions struct {
	plugins []string // in order of configuration
	byID    map[string]core.AccessRestrictions
	// delegable are the plugins to which a call may be passed on: those at
	// which nothing but the plugin is restricted, since what else is
	// restricted cannot be carried over.
	delegable []string
}

var actions = []string{"create", "read", "update", "delete"}

// readRestrictions reads accessRestrictions; nil where there are none.
func readRestrictions(entry core.Config) (*restrictions, error) {
	const key = "accessRestrictions"
	list, err := entry.List(key)
	if err != nil || !entry.Has(key) {
		return nil, err
	}
	if len(list) == 0 {
		return nil, configError(entry, key, "is empty", "remove it to allow access to all plugins")
	}
	r := &restrictions{byID: map[string]core.AccessRestrictions{}, delegable: []string{}}
	for _, cfg := range list {
		if err := onlyKeys(cfg, "plugin", "permission", "permissionAttribute"); err != nil {
			return nil, err
		}
		plugin, err := word(cfg, "plugin")
		if err != nil {
			return nil, err
		}
		if _, twice := r.byID[plugin]; twice {
			return nil, configError(cfg, "plugin", fmt.Sprintf("repeats the plugin %q", plugin), "list every plugin once")
		}
		var a core.AccessRestrictions
		if a.PermissionNames, err = someStrings(cfg, "permission"); err != nil {
			return nil, err
		}
		attributes := cfg.Sub("permissionAttribute")
		if v, ok := cfg.Value("permissionAttribute"); ok {
			if _, object := v.(map[string]any); !object {
				return nil, configError(cfg, "permissionAttribute", "must be an object", "write for example {action: read}")
			}
		}
		if err := onlyKeys(attributes, "action"); err != nil {
			return nil, err
		}
		if a.PermissionActions, err = someStrings(attributes, "action"); err != nil {
			return nil, err
		}
		for _, action := range a.PermissionActions {
			if !slices.Contains(actions, action) {
				return nil, configError(attributes, "action", fmt.Sprintf("has the unknown action %q", action), "use "+strings.Join(actions, ", "))
			}
		}
		r.plugins = append(r.plugins, plugin)
		r.byID[plugin] = a
		if len(a.PermissionNames) == 0 && len(a.PermissionActions) == 0 {
			r.delegable = append(r.delegable, plugin)
		}
	}
	return r, nil
}

// someStrings is stringList for a list that would restrict nothing if it were
// empty, which nobody means who writes one.
func someStrings(cfg core.Config, key string) ([]string, error) {
	items, err := stringList(cfg, key)
	if err == nil && len(items) == 0 && cfg.Has(key) {
		err = configError(cfg, key, "is empty", "remove it to restrict nothing")
	}
	return items, err
}

func onlyKeys(cfg core.Config, known ...string) error {
	for _, k := range cfg.Keys("") {
		if !slices.Contains(known, k) {
			return configError(cfg, k, "is not known here", "use "+strings.Join(known, ", "))
		}
	}
	return nil
}

// at returns what the token may do at the plugin. A nil receiver restricts
// nothing.
func (r *restrictions) at(plugin string) (own *core.AccessRestrictions, targets []string, err error) {
	if r == nil {
		return nil, nil, nil
	}
	a, ok := r.byID[plugin]
	if !ok {
		return nil, nil, apierr.NotAllowed("This token's access is restricted to plugin(s) '%s'", strings.Join(r.plugins, "', '"))
	}
	return &a, r.delegable, nil
}
