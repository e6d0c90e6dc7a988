package scaffolderbackend_test

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// catalog is a catalog plugin with some entities, by their refs.
func catalog(entities map[string]string) backend.Feature {
	return backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /entities/by-name/{kind}/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) error {
				text, ok := entities[strings.ToLower(r.PathValue("kind")+":"+r.PathValue("namespace")+"/"+r.PathValue("name"))]
				if !ok {
					return apierr.NotFound("there is no such entity")
				}
				apierr.WriteJSON(w, http.StatusOK, json.RawMessage(text))
				return nil
			})
			router().HandleErr("POST /entities/by-refs", func(w http.ResponseWriter, r *http.Request) error {
				var in struct{ EntityRefs []string }
				if err := jsonbody.Require(r, &in, 1<<20); err != nil {
					return err
				}
				items := make([]json.RawMessage, len(in.EntityRefs))
				for i, ref := range in.EntityRefs {
					items[i] = json.RawMessage(cmp.Or(entities[ref], "null"))
				}
				apierr.WriteJSON(w, http.StatusOK, map[string]any{"items": items})
				return nil
			})
			return nil
		}
	})
}

// tmpl is a template with a spec.
func tmpl(spec string) string {
	return `{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"t","annotations":{"backstage.io/managed-by-location":"url:https://github.com/acme/t/blob/main/template.yaml"}},"spec":{"type":"service",` + spec + `}}`
}

// open starts a backend with a template template:default/t and actions.
func open(t *testing.T, database backend.Feature, spec string, more ...backend.Feature) *backendtest.Server {
	t.Helper()
	features := []backend.Feature{database, backendtest.Silent(), plugin(), catalog(map[string]string{
		"template:default/t": tmpl(spec),
		"user:default/mock":  `{"apiVersion":"backstage.io/v1alpha1","kind":"User","metadata":{"name":"mock"},"spec":{"memberOf":[]}}`,
	}), backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}})}
	return backendtest.Start(t, append(features, more...)...)
}

// withActions adds actions.
func withActions(all ...scaffoldernode.Action) backend.Feature {
	return backend.NewModule("scaffolder", "test", func(env *backend.ModuleEnv) backend.InitFunc {
		actions := scaffoldernode.Actions.From(env)
		return func(context.Context) error { return actions().AddActions(all...) }
	})
}

type event struct {
	ID          int64  `json:"id"`
	Type        string `json:"type"`
	Recoverable bool   `json:"isTaskRecoverable"`
	Body        struct {
		Message, StepID, Status string
		Output                  json.RawMessage
		Error                   struct{ Name, Message string }
	} `json:"body"`
}

const tasksPath = "/api/scaffolder/v2/tasks"

// create creates a task of the template and returns its path.
func create(c backendtest.Client, values, secrets map[string]any) string {
	var made struct{ ID string }
	in := map[string]any{"templateRef": "template:default/t", "values": values}
	if secrets != nil {
		in["secrets"] = secrets
	}
	c.Post(tasksPath, in).Expect(http.StatusCreated).JSON(&made)
	return tasksPath + "/" + made.ID
}

// follow reads the events of a task until it ended.
func follow(t *testing.T, c backendtest.Client, path string) (all []event) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		after := "?after=-1"
		if len(all) > 0 {
			after = "?after=" + text(all[len(all)-1].ID)
		}
		var page []event
		c.Get(path + "/events" + after).Expect(http.StatusOK).JSON(&page)
		all = append(all, page...)
		if len(all) > 0 && all[len(all)-1].Type == "completion" {
			return all
		}
	}
	t.Fatalf("the task %s did not end: %v", path, all)
	return nil
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// transcript is what events say, without colours.
func transcript(all []event) string {
	var b strings.Builder
	for _, e := range all {
		line := e.Body.Message
		if e.Body.Status != "" {
			line += " (" + e.Body.Status + ")"
		}
		if e.Body.Error.Name != "" {
			line += ": " + e.Body.Error.Name + ": " + e.Body.Error.Message
		}
		if e.Body.Output != nil {
			line += ": " + string(e.Body.Output)
		}
		for _, colour := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[39m"} {
			line = strings.ReplaceAll(line, colour, "")
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func plugin() backend.Feature { return scaffolderbackend.Plugin }
