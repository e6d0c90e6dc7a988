// Package rules decides which kinds of entities may come from which
// locations: catalog.rules, and the rules of each of catalog.locations.
package rules

import (
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Rules are the rules of an installation; any of them may allow.
type Rules struct{ rules []rule }

type rule struct {
	allow     []kind
	locations []location // none is everywhere
}

type kind struct{ kind, typ string }

type location struct{ typ, exact, pattern string }

// FromConfig reads the rules. Without catalog.rules, components, APIs and
// locations are allowed from everywhere.
func FromConfig(c core.Config) (*Rules, error) {
	r := &Rules{}
	if !c.Has("catalog.rules") {
		r.rules = append(r.rules, rule{allow: []kind{{kind: "component"}, {kind: "api"}, {kind: "location"}}})
	}
	list, err := c.List("catalog.rules")
	if err != nil {
		return nil, err
	}
	for _, sub := range list {
		parsed, err := parseRule(sub)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, parsed)
	}
	locations, err := c.List("catalog.locations")
	if err != nil {
		return nil, err
	}
	for _, l := range locations {
		if !l.Has("rules") {
			continue
		}
		at, err := boundTo(l)
		if err != nil {
			return nil, err
		}
		subs, err := l.List("rules")
		if err != nil {
			return nil, err
		}
		for _, sub := range subs {
			parsed, err := parseRule(sub)
			if err != nil {
				return nil, err
			}
			parsed.locations = []location{at}
			r.rules = append(r.rules, parsed)
		}
	}
	return r, nil
}

// boundTo returns the place that the rules of a configured location concern.
func boundTo(l core.Config) (location, error) {
	typ, err := l.String("type")
	if err != nil {
		return location{}, err
	}
	target, err := l.String("target")
	if err != nil {
		return location{}, err
	}
	if typ == "file" {
		if target, err = filepath.Abs(target); err != nil {
			return location{}, err
		}
	}
	return location{typ: typ, exact: target}, nil
}

func parseRule(c core.Config) (rule, error) {
	var out rule
	values, _ := c.Value("allow")
	list, ok := values.([]any)
	if !ok {
		return out, &core.ConfigError{Key: c.Path("allow"), Position: c.Position("allow"), Problem: "must be a list of kinds", Remedy: "for example [Component, API]"}
	}
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out.allow = append(out.allow, kind{kind: strings.ToLower(v)})
		case map[string]any:
			k, _ := v["kind"].(string)
			typ, _ := v["spec.type"].(string)
			if spec, ok := v["spec"].(map[string]any); ok && typ == "" {
				typ, _ = spec["type"].(string)
			}
			if k == "" {
				return out, &core.ConfigError{Key: c.Path("allow"), Position: c.Position("allow"), Problem: "has an entry without kind"}
			}
			out.allow = append(out.allow, kind{strings.ToLower(k), strings.ToLower(typ)})
		default:
			return out, &core.ConfigError{Key: c.Path("allow"), Position: c.Position("allow"), Problem: "has an entry that is neither a kind nor {kind, spec.type}"}
		}
	}
	subs, err := c.List("locations")
	if err != nil {
		return out, err
	}
	for _, sub := range subs {
		var l location
		if l.typ, err = sub.String("type"); err != nil {
			return out, err
		}
		if l.exact, err = sub.StringOr("exact", ""); err != nil {
			return out, err
		}
		if l.pattern, err = sub.StringOr("pattern", ""); err != nil {
			return out, err
		}
		if l.exact != "" && l.pattern != "" {
			return out, &core.ConfigError{Key: sub.Path(""), Position: sub.Position("pattern"), Problem: "has both exact and pattern", Remedy: "keep one of them"}
		}
		if l.pattern != "" && !doublestar.ValidatePattern(l.pattern) {
			return out, &core.ConfigError{Key: sub.Path("pattern"), Position: sub.Position("pattern"), Problem: "is not a valid pattern"}
		}
		out.locations = append(out.locations, l)
	}
	return out, nil
}

// Allowed reports whether the entity may come from where its ingestion began.
func (r *Rules) Allowed(entity catalogcommon.Entity, origin catalogcommon.LocationRef) bool {
	for _, rule := range r.rules {
		if rule.concerns(origin) && rule.allows(entity) {
			return true
		}
	}
	return false
}

func (r rule) allows(entity catalogcommon.Entity) bool {
	for _, k := range r.allow {
		if strings.EqualFold(k.kind, entity.Kind()) && (k.typ == "" || strings.EqualFold(k.typ, entity.Type())) {
			return true
		}
	}
	return false
}

func (r rule) concerns(origin catalogcommon.LocationRef) bool {
	if len(r.locations) == 0 {
		return true
	}
	for _, l := range r.locations {
		if l.typ != origin.Type {
			continue
		}
		switch {
		case l.exact != "":
			if l.exact == origin.Target {
				return true
			}
		case l.pattern != "":
			if doublestar.MatchUnvalidated(strings.ToLower(l.pattern), strings.ToLower(origin.Target)) {
				return true
			}
		default:
			return true
		}
	}
	return false
}
