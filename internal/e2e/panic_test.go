package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// detail is the part of the health detail that tests look at.
type detail struct {
	Status  string `json:"status"`
	Backend struct {
		Plugins []struct {
			ID, State, Error string
			AllowedToFail    bool
			Panics           int
		} `json:"plugins"`
	} `json:"backend"`
}

// A plugin that panics wherever it can, and one that panics at its start,
// leave the others serving. The process lives, the health detail and the
// metrics tell.
func TestPanicsStayInTheirPlugin(t *testing.T) {
	t.Parallel()
	p := launch(t, setup{
		added: "caller,faulty,stillborn",
		files: map[string]string{"components.yaml": components("a")},
		config: settings(inMemory + `  startup:
    plugins:
      stillborn: {onPluginBootFailure: continue}
catalog:
  locations: [{type: file, target: components.yaml}]
`),
	}).ready()

	dead := p.get("/api/stillborn/x", token)
	if dead.status != http.StatusServiceUnavailable || !strings.Contains(dead.body, "stillborn") {
		t.Errorf("the plugin that failed answers %s", dead)
	}
	if strings.Contains(dead.body, "goroutine") {
		t.Errorf("a stack trace reaches the client: %s", dead.body)
	}

	for _, place := range []struct {
		path   string
		status int
		in     string
	}{
		{"/api/faulty/handler", http.StatusInternalServerError, "handler is broken"},
		{"/api/faulty/event", http.StatusOK, "event handler is broken"},
		{"/api/faulty/goroutine", http.StatusOK, "goroutine is broken"},
		{"/api/faulty/task", http.StatusOK, "task is broken"},
	} {
		a := p.get(place.path, token)
		if a.status != place.status {
			t.Errorf("GET %s: %s", place.path, a)
		}
		if strings.Contains(a.body, "broken") {
			t.Errorf("GET %s tells the client about the panic: %s", place.path, a)
		}
		e := p.logged(`"panic"`, place.in)
		if e.text("plugin") != "faulty" || !strings.Contains(e.text("stack"), "e2e") {
			t.Errorf("the log of the panic lacks its plugin or its stack: %v", e)
		}
	}

	await(t, p, 1)
	if a := p.get("/api/faulty/fine", ""); a.status != http.StatusOK {
		t.Errorf("what is not broken of the plugin answers %s", a)
	}
	if a := p.get(readiness, ""); a.status != http.StatusOK {
		t.Errorf("readiness: %s", a)
	}

	var d detail
	p.decode("/.backstage/health/v1/detail", "", &d)
	panics := map[string]int{}
	for _, plugin := range d.Backend.Plugins {
		panics[plugin.ID] = plugin.Panics
		switch plugin.ID {
		case "stillborn":
			if plugin.State != "failed" || !plugin.AllowedToFail || !strings.Contains(plugin.Error, "nil map") {
				t.Errorf("the detail says %+v", plugin)
			}
		default:
			if plugin.State != "started" {
				t.Errorf("the detail says %+v", plugin)
			}
		}
	}
	if panics["faulty"] != 4 || panics["stillborn"] != 1 || panics["catalog"] != 0 {
		t.Errorf("the detail counts the panics %v", panics)
	}

	metrics := p.get("/metrics", "").body
	for plugin, want := range panics {
		got, err := sample(metrics, "flytower_plugin_panics_total", plugin)
		if err != nil || got != want {
			t.Errorf("metrics count %d panics of %s, want %d: %v", got, plugin, want, err)
		}
	}
	p.stop()
}

// sample returns the value of a counter of a plugin.
func sample(metrics, name, plugin string) (int, error) {
	line := regexp.MustCompile(`(?m)^` + name + `\{[^}]*backstage_plugin_id="` + plugin + `"[^}]*\} (\d+)$`).FindStringSubmatch(metrics)
	if line == nil {
		return 0, fmt.Errorf("there is no %s of %s", name, plugin)
	}
	return strconv.Atoi(line[1])
}

// Without a policy that lets it fail, a plugin that panics keeps the backend
// from starting.
func TestPanicAtStartEndsTheStart(t *testing.T) {
	t.Parallel()
	p := launch(t, setup{added: "stillborn", config: settings(inMemory)})
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if text := p.stderr.String(); !strings.Contains(text, "stillborn") || strings.Contains(text, "goroutine ") || strings.Count(text, "\n") > 3 {
		t.Errorf("stderr:\n%s", text)
	}
}
