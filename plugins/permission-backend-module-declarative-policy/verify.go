package permissionmoduledeclarativepolicy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/internal/spelling"
	"github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy/internal/rules"
)

// metadataPath is the route on which plugins publish permissions and rules.
const metadataPath = "/.well-known/backstage/permissions/metadata"

// verifier compares the conditions of the policy with the rules that plugins
// publish, and logs what does not fit. It refuses nothing: a plugin may be
// down, or newer than the policy.
type verifier struct {
	plugins core.PluginClientService
	log     *slog.Logger
	own     core.Credentials
}

// Plugins that do not answer are asked again, after longer and longer pauses.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// run checks the policy whenever it is new, until ctx ends. It begins after a
// while: plugins elsewhere verify who asks by asking here for keys, and the
// way to a backend that starts may not be open yet.
func (v *verifier) run(ctx context.Context, p *policy) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(firstPause):
	}
	for {
		left := p.set.Load().Leaves()
		for pause := firstPause; ; pause = min(2*pause, lastPause) {
			left = v.check(ctx, left, pause == lastPause)
			if len(left) == 0 || pause == lastPause {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-p.changed:
				left = p.set.Load().Leaves()
				pause = firstPause
			case <-time.After(pause):
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
	}
}

// check logs what is wrong with the conditions, and returns those whose
// plugins did not answer.
func (v *verifier) check(ctx context.Context, leaves []rules.Leaf, last bool) (left []rules.Leaf) {
	byPlugin := map[string][]rules.Leaf{}
	for _, l := range leaves {
		byPlugin[l.Plugin] = append(byPlugin[l.Plugin], l)
	}
	for plugin, leaves := range byPlugin {
		published, err := metadataOf(ctx, v.plugins, plugin, v.own)
		if err != nil {
			if last && ctx.Err() == nil {
				v.log.WarnContext(ctx, "conditions of the permission policy could not be compared with the rules of their plugin", "ofPlugin", plugin, "error", err)
			}
			left = append(left, leaves...)
			continue
		}
		for _, l := range leaves {
			if err := published.check(l); err != nil {
				v.log.WarnContext(ctx, "a condition of the permission policy does not fit the rules of its plugin: requests that depend on it will fail",
					"position", l.Position.String(), "ofPlugin", plugin, "resourceType", l.ResourceType, "rule", l.Rule, "error", err)
			}
		}
	}
	return left
}

// metadata is what a plugin publishes.
type metadata struct {
	Permissions []core.Permission `json:"permissions"`
	Rules       []struct {
		Name         string          `json:"name"`
		ResourceType string          `json:"resourceType"`
		ParamsSchema json.RawMessage `json:"paramsSchema"`
	} `json:"rules"`
}

func metadataOf(ctx context.Context, plugins core.PluginClientService, plugin string, as core.Credentials) (m metadata, err error) {
	err = plugins.Call(ctx, core.PluginRequest{Plugin: plugin, Method: http.MethodGet, Path: metadataPath, As: as}, &m)
	return m, err
}

// check says what is wrong with a condition.
func (m metadata) check(l rules.Leaf) error {
	var known []string
	for _, r := range m.Rules {
		if r.ResourceType != l.ResourceType {
			continue
		}
		if r.Name != l.Rule {
			known = append(known, r.Name)
			continue
		}
		schema, err := jsonschema.Compile(r.ParamsSchema)
		if err != nil {
			return fmt.Errorf("the plugin publishes no valid schema of the parameters: %w", err)
		}
		params := l.Params
		if params == nil {
			params = json.RawMessage(`{}`)
		}
		if _, err := schema.Check(params); err != nil {
			return fmt.Errorf("the parameters are wrong: %w", err)
		}
		return nil
	}
	switch near := spelling.Nearest(l.Rule, known); {
	case known == nil:
		return errors.New("the plugin has no such type of resource")
	case near != "":
		return fmt.Errorf("there is no such rule; did you mean %s?", near)
	default:
		return fmt.Errorf("there is no such rule; the plugin has %q", known)
	}
}
