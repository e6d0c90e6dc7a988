package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// counterURL is the environment variable with the address of a [counter].
const counterURL = "E2E_COUNTER"

// counter is a service in which actions make things. It makes another one each
// time it is asked to, so it is the actions that have to look first. Answers
// take a while, before and after the effect.
type counter struct {
	*httptest.Server
	pause time.Duration // at most, before and after each effect

	mu      sync.Mutex
	made    map[string]int // by their keys
	looked  map[string]int
	waiting map[string]bool // tasks with a step that waits for its end

	gate chan struct{} // steps that talk begin when it is closed
}

func newCounter(t *testing.T, pause time.Duration) *counter {
	c := &counter{pause: pause, made: map[string]int{}, looked: map[string]int{}, waiting: map[string]bool{}, gate: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		key := r.FormValue("key")
		c.looked[key]++
		if c.made[key] == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	mux.HandleFunc("POST /things", func(_ http.ResponseWriter, r *http.Request) {
		c.sleep()
		c.mu.Lock()
		c.made[r.FormValue("key")]++
		c.mu.Unlock()
		c.sleep()
	})
	mux.HandleFunc("POST /waiting", func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting[r.FormValue("task")] = true
	})
	mux.HandleFunc("GET /gate", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-c.gate:
		case <-r.Context().Done():
		}
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

func (c *counter) sleep() { time.Sleep(time.Duration(rand.Int64N(int64(c.pause) + 1))) }

// count makes a thing for each task, step and name, unless it is there. Then
// it does what the mode says: "fail", or "hold" until the task ends.
var count = scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "e2e:count"}, func(ctx context.Context, c *scaffoldernode.ActionContext, in struct {
	Thing string `json:"thing"`
	Mode  string `json:"mode,omitempty"`
}) (out struct {
	Thing string `json:"thing"`
}, err error) {
	ask := func(method, path, key string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, method, os.Getenv(counterURL)+path+url.QueryEscape(key), nil)
		if err != nil {
			return 0, err
		}
		resp, err := network.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	key := c.TaskID + " " + c.StepID + " " + in.Thing
	status, err := ask(http.MethodGet, "/things?key=", key)
	if err != nil {
		return out, err
	}
	if status == http.StatusNotFound {
		if _, err := ask(http.MethodPost, "/things?key=", key); err != nil {
			return out, err
		}
	}
	// What is kept is that of this use of the action, not of another one.
	if out.Thing, err = scaffoldernode.Checkpoint(ctx, c, "thing", func(context.Context) (string, error) { return in.Thing, nil }); err != nil {
		return out, err
	}
	switch in.Mode {
	case "fail":
		return out, errors.New("this step fails by design")
	case "hold":
		if _, err := ask(http.MethodPost, "/waiting?task=", c.TaskID); err != nil {
			return out, err
		}
		<-ctx.Done()
		return out, context.Cause(ctx)
	}
	return out, nil
})

// talk writes lines to its log, once the gate is open.
var talk = scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "e2e:talk"}, func(ctx context.Context, c *scaffoldernode.ActionContext, in struct {
	Lines int `json:"lines"`
}) (out struct{}, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv(counterURL)+"/gate", nil)
	if err != nil {
		return out, err
	}
	resp, err := network.Do(req)
	if err != nil {
		return out, err
	}
	_ = resp.Body.Close() // there is nothing in it
	for i := range in.Lines {
		c.Logger.InfoContext(ctx, fmt.Sprintf("line %d %s", i, strings.Repeat("-", i%200)))
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	return out, nil
})

// counting has the actions [count] and [talk].
var counting = backend.NewModule("scaffolder", "counting", func(env *backend.ModuleEnv) backend.InitFunc {
	actions := scaffoldernode.Actions.From(env)
	return func(context.Context) error { return actions().AddActions(count, talk) }
})

// countingTemplates are the templates succeed, fail and hold, with steps s1 to
// s<n>. The second step does three things; the middle one fails or holds; the
// last one of fail runs in any case.
func countingTemplates(steps int) string {
	var b bytes.Buffer
	for _, kind := range []string{"succeed", "fail", "hold"} {
		var list []any
		for i := 1; i <= steps; i++ {
			input := map[string]any{"thing": "one"}
			step := map[string]any{"id": fmt.Sprintf("s%d", i), "name": fmt.Sprintf("Step %d", i), "action": "e2e:count", "input": input}
			switch {
			case i == 2:
				step["each"] = []string{"a", "b", "c"}
				input["thing"] = "${{ each.value }}"
			case i == middle(steps) && kind != "succeed":
				input["mode"] = kind
			case i == steps && kind == "fail":
				step["if"] = "${{ always() }}"
			}
			list = append(list, step)
		}
		raw, err := json.Marshal(map[string]any{
			"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": map[string]any{"name": kind},
			"spec": map[string]any{
				"type": "service", "steps": list,
				"output": map[string]any{"things": fmt.Sprintf("${{ steps.s1.output.thing }} ${{ steps.s2.output.thing | dump }} ${{ steps.s%d.output.thing }}", steps)},
			},
		})
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "---\n%s\n", raw)
	}
	return b.String()
}

func middle(steps int) int { return max(3, steps/2) }

// effects are the things that a task of a template makes.
func effects(task, template string, steps int) []string {
	var keys []string
	for i := 1; i <= steps; i++ {
		if template != "succeed" && i > middle(steps) && !(template == "fail" && i == steps) {
			continue
		}
		things := []string{"one"}
		if i == 2 {
			things = []string{"a", "b", "c"}
		}
		for _, thing := range things {
			keys = append(keys, fmt.Sprintf("%s s%d %s", task, i, thing))
		}
	}
	return keys
}
