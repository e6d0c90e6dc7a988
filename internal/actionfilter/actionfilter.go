// Package actionfilter decides, by configuration, which actions exist for the
// tools and agents that use this backend.
//
// The registry of each plugin and the client apply the same filter, so that
// a hidden action is neither listed nor invoked, whoever asks.
package actionfilter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/core"
)

// ConfigSchema describes the configuration of the filter.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "actions": {
          "type": "object",
          "description": "Which actions of which plugins tools and agents may use.",
          "properties": {
            "pluginSources": {
              "type": "array",
              "items": { "type": "string" },
              "description": "Ids of the plugins whose actions are offered. A plugin that is not listed hides its actions. Default: absent, every plugin answers for its own actions, and none is asked for the list of all."
            },
            "filter": {
              "type": "object",
              "description": "Rules by id and attributes.",
              "properties": {
                "include": {
                  "type": "array",
                  "description": "If there are any, an action must match one of these rules. Default: none.",
                  "items": { "$ref": "#/definitions/actionFilterRule" }
                },
                "exclude": {
                  "type": "array",
                  "description": "An action that matches one of these rules is hidden. Default: none.",
                  "items": { "$ref": "#/definitions/actionFilterRule" }
                }
              }
            }
          }
        }
      }
    }
  },
  "definitions": {
    "actionFilterRule": {
      "type": "object",
      "description": "Matches the actions for which everything said here holds.",
      "properties": {
        "id": { "type": "string", "description": "Glob for the id, such as catalog:* ; * does not cross a slash. Default: every id." },
        "attributes": {
          "type": "object",
          "description": "Attributes that the action must have. Default: any.",
          "properties": {
            "destructive": { "type": "boolean", "description": "Whether it may destroy something. Default: either." },
            "readOnly": { "type": "boolean", "description": "Whether it only reads. Default: either." },
            "idempotent": { "type": "boolean", "description": "Whether repeating it changes nothing. Default: either." }
          }
        }
      }
    }
  }
}`

// Rule matches actions. Everything that it says must hold.
type Rule struct {
	// ID is a glob; "" is every id.
	ID string
	// Attributes are the values that the action must have.
	Attributes map[string]bool
}

// Filter decides which actions are shown. The zero value shows all.
type Filter struct {
	// Sources are the only plugins whose actions are shown; nil is all.
	Sources          []string
	Include, Exclude []Rule
}

// Read reads backend.actions.
func Read(config core.Config) (Filter, error) {
	var f Filter
	var err error
	actions := config.Sub("backend.actions")
	if actions.Has("pluginSources") {
		if f.Sources, err = actions.Strings("pluginSources"); err != nil {
			return Filter{}, err
		}
		if f.Sources == nil {
			f.Sources = []string{}
		}
	}
	if f.Include, err = ReadRules(actions, "filter.include"); err != nil {
		return Filter{}, err
	}
	f.Exclude, err = ReadRules(actions, "filter.exclude")
	return f, err
}

// ReadRules reads a list of rules at key.
func ReadRules(config core.Config, key string) ([]Rule, error) {
	list, err := config.List(key)
	if err != nil {
		return nil, err
	}
	rules := make([]Rule, 0, len(list))
	for _, entry := range list {
		rule := Rule{}
		if rule.ID, err = entry.StringOr("id", ""); err != nil {
			return nil, err
		}
		if !doublestar.ValidatePattern(strings.TrimPrefix(rule.ID, "!")) {
			return nil, &core.ConfigError{Key: entry.Path("id"), Position: entry.Position("id"), Problem: fmt.Sprintf("is no glob: %q", rule.ID), Remedy: "close every [ and {"}
		}
		for _, name := range entry.Keys("attributes") {
			attribute := "attributes." + name
			if !slices.Contains([]string{"destructive", "readOnly", "idempotent"}, name) {
				return nil, &core.ConfigError{Key: entry.Path(attribute), Position: entry.Position(attribute), Problem: "is no attribute of actions", Remedy: "use destructive, readOnly or idempotent"}
			}
			if !entry.Has(attribute) {
				continue
			}
			value, err := entry.BoolOr(attribute, false)
			if err != nil {
				return nil, err
			}
			if rule.Attributes == nil {
				rule.Attributes = map[string]bool{}
			}
			rule.Attributes[name] = value
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// Shows reports whether an action of the plugin is shown.
func (f Filter) Shows(plugin, id string, attributes map[string]bool) bool {
	matches := func(r Rule) bool { return r.Matches(id, attributes) }
	switch {
	case f.Sources != nil && !slices.Contains(f.Sources, plugin):
		return false
	case slices.ContainsFunc(f.Exclude, matches):
		return false
	default:
		return len(f.Include) == 0 || slices.ContainsFunc(f.Include, matches)
	}
}

// Matches reports whether everything that the rule says holds for an action.
// A glob that is malformed matches nothing; one that begins with ! matches
// what the rest does not.
func (r Rule) Matches(id string, attributes map[string]bool) bool {
	if r.ID != "" {
		glob, negated := strings.CutPrefix(r.ID, "!")
		matched, err := doublestar.Match(glob, id)
		if err != nil || matched == negated {
			return false
		}
	}
	for name, want := range r.Attributes {
		if attributes[name] != want {
			return false
		}
	}
	return true
}
