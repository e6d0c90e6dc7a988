package permissionbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// applyPath is the route of every plugin with resources.
const applyPath = "/.well-known/backstage/permissions/apply-conditions"

// applier has the plugins apply conditions to their resources.
type applier struct {
	plugins core.PluginClientService
	guard   guard
}

// applyItem is an item of the request to a plugin.
type applyItem struct {
	ID           string                   `json:"id"`
	ResourceRef  refs                     `json:"resourceRef"`
	Result       core.AuthorizeResult     `json:"result"`
	PluginID     string                   `json:"pluginId"`
	ResourceType string                   `json:"resourceType"`
	Conditions   *core.PermissionCriteria `json:"conditions"`

	index int // of the item in the request to us
}

// results are one result, or a list of them, on the wire.
type results struct {
	list   []core.AuthorizeResult
	isList bool
}

// UnmarshalJSON reads either form.
func (r *results) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		r.isList = true
		return json.Unmarshal(text, &r.list)
	}
	r.list = make([]core.AuthorizeResult, 1)
	return json.Unmarshal(text, &r.list[0])
}

// apply writes the results of the items into the answer: one request per
// plugin, all at the same time.
func (a *applier) apply(ctx context.Context, who core.Credentials, byPlugin map[string][]applyItem, answer []answerItem) error {
	group, ctx := errgroup.WithContext(ctx)
	for plugin, items := range byPlugin {
		group.Go(func() error {
			return a.guard(ctx, "applying conditions", func(ctx context.Context) error {
				if err := a.applyIn(ctx, who, plugin, items, answer); err != nil {
					return apierr.Forward(err, "the plugin "+plugin+" did not apply the conditions of the permission policy")
				}
				return nil
			})
		})
	}
	return group.Wait()
}

func (a *applier) applyIn(ctx context.Context, who core.Credentials, plugin string, items []applyItem, answer []answerItem) error {
	var body struct {
		Items []struct {
			ID     string  `json:"id"`
			Result results `json:"result"`
		} `json:"items"`
	}
	err := a.plugins.Call(ctx, core.PluginRequest{
		Plugin: plugin, Method: http.MethodPost, Path: applyPath,
		JSON: map[string]any{"items": items}, As: who,
	}, &body)
	if n := len(items) / 2; n > 0 && apierr.Status(err) == http.StatusRequestEntityTooLarge {
		// Plugins in Node take 100 KiB. The conditions are the same for many
		// items, but each carries them.
		if err := a.applyIn(ctx, who, plugin, items[:n], answer); err != nil {
			return err
		}
		return a.applyIn(ctx, who, plugin, items[n:], answer)
	}
	if err != nil {
		return err
	}
	if len(body.Items) != len(items) {
		return fmt.Errorf("it answered with %d results for %d items", len(body.Items), len(items))
	}
	for n, asked := range items {
		got := body.Items[n]
		if got.ID != asked.ID {
			return fmt.Errorf("its result %d is for item %q, want %q", n, got.ID, asked.ID)
		}
		if got.Result.isList != asked.ResourceRef.isList || len(got.Result.list) != len(asked.ResourceRef.list) {
			return fmt.Errorf("it answered with %d results for %d resources", len(got.Result.list), len(asked.ResourceRef.list))
		}
		for _, r := range got.Result.list {
			if r != core.Allowed && r != core.Denied {
				return fmt.Errorf("it answered with %q, want ALLOW or DENY", r)
			}
		}
		out := &answer[asked.index]
		if out.Result = got.Result.list[0]; asked.ResourceRef.isList {
			out.Result = got.Result.list
		}
	}
	return nil
}
