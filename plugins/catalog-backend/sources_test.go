package catalogbackend_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/testdb"
	catalogmodulegithub "github.com/flytower/flytower/plugins/catalog-backend-module-github"
	unprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
)

// reasons returns what the catalog says is wrong with a location: the status
// of its entity, or, if it was never read, what is listed among the failed.
func (p *portal) reasons(ref string) []string {
	p.t.Helper()
	var failed struct {
		Entities []struct {
			Ref    string `json:"entity_ref"`
			Errors []struct{ Name, Message string }
		}
	}
	decode(p.t, p.do(getMethod, "/entities/unprocessed/failed", "").text, &failed)
	var out []string
	for _, e := range failed.Entities {
		if e.Ref == ref {
			for _, err := range e.Errors {
				out = append(out, err.Name+": "+err.Message)
			}
		}
	}
	kind, rest, _ := strings.Cut(ref, ":")
	a := p.do(getMethod, "/entities/by-name/"+kind+"/"+rest, "")
	if a.status != http.StatusOK {
		return out
	}
	var shown struct {
		Status struct{ Items []struct{ Message string } }
	}
	decode(p.t, a.text, &shown)
	for _, i := range shown.Status.Items {
		out = append(out, i.Message)
	}
	return out
}

// Whatever keeps a source from being read is told, with the file and the line
// where they are known: of sources that were never read, and of those that
// were.
func TestSourcesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "", unprocessed.Module)
		const twoDocs = guide + "---\nkind: Component\nmetadata:\n  name: [\n"
		for _, c := range []struct {
			name, target string
			want         []string
		}{
			{"not found", p.files.URL + "/none.yaml", []string{"NotFoundError", "/none.yaml"}},
			{"host not allowed", "http://elsewhere.example.com/a.yaml", []string{"elsewhere.example.com", "backend.reading.allow"}},
			{"trouble of the host", p.files.URL + "/status/500.yaml", []string{"500", "/status/500.yaml"}},
			{"broken off", p.files.URL + "/broken.yaml", []string{"/broken.yaml"}},
			{"the second document is no YAML", p.files.URL + "/docs.yaml", []string{"YAML error at url:" + p.files.URL + "/docs.yaml", "line 10"}},
			{"the second document is no entity", p.files.URL + "/scalar.yaml", []string{"object at root"}},
			{"an entity without a name", p.files.URL + "/envelope.yaml", []string{"/envelope.yaml", "metadata"}},
			{"a kind that is not allowed", p.files.URL + "/kind.yaml", []string{"user:default/jane", "/kind.yaml", "catalog.rules"}},
		} {
			p.source.Store("/docs.yaml", twoDocs)
			p.source.Store("/scalar.yaml", guide+"---\njust text\n")
			p.source.Store("/envelope.yaml", "apiVersion: v1\nkind: Component\nmetadata: {title: x}\n")
			p.source.Store("/kind.yaml", "apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: jane}\nspec: {memberOf: []}\n")
			a := p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, c.target))
			ref := fmt.Sprint(a.get("location.entityRef"))
			var got []string
			p.eventually("it is told: "+c.name, func() bool { got = p.reasons(ref); return len(got) > 0 })
			text := strings.Join(got, "\n")
			t.Logf("%s: %s", c.name, text)
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %q is not told in: %s", c.name, want, text)
				}
			}
		}
	})
}

// A location that was read before keeps what it had while its source is down,
// and says why, with the file, the document and the line.
func TestSourcesThatGoDown(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "", unprocessed.Module)
	p.read("/a.yaml", guide, "audio-guide")
	ref := fmt.Sprint(p.do(getMethod, "/locations", "").get("0.data.entityRef"))
	kind, rest, _ := strings.Cut(ref, ":")
	fail := func(text string) answer {
		p.source.Store("/a.yaml", text)
		if text == "" {
			p.source.Delete("/a.yaml")
		}
		if a := p.do(postMethod, "/refresh", fmt.Sprintf(`{"entityRef":%q}`, ref)); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
		var shown answer
		p.eventually("the location says why", func() bool {
			shown = p.do(getMethod, "/entities/by-name/"+kind+"/"+rest, "")
			return shown.get("status.items.0.error") != nil
		})
		if a := p.do(getMethod, "/entities/by-name/component/default/audio-guide", ""); a.status != http.StatusOK || a.get("metadata.annotations") == nil {
			t.Errorf("what was read before: %d %s", a.status, a.text)
		}
		p.source.Store("/a.yaml", guide)
		if a := p.do(postMethod, "/refresh", fmt.Sprintf(`{"entityRef":%q}`, ref)); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
		p.eventually("the location is well again", func() bool {
			return p.do(getMethod, "/entities/by-name/"+kind+"/"+rest, "").get("status") == nil
		})
		return shown
	}
	file := "url:" + p.files.URL + "/a.yaml"
	gone := fail("")
	if gone.get("status.items.0.level") != "error" || gone.get("status.items.0.type") != "backstage.io/catalog-processing" || gone.get("status.items.0.error.name") != "NotFoundError" {
		t.Errorf("gone: %s", gone.text)
	}
	syntax := fail(guide + "---\nkind: [\n")
	if syntax.get("status.items.0.error.location") != file || syntax.get("status.items.0.error.document") != 2.0 || syntax.get("status.items.0.error.line") != 8.0 {
		t.Errorf("syntax: %s", syntax.text)
	}
	root := fail(guide + "---\n- a list\n")
	if root.get("status.items.0.error.location") != file || root.get("status.items.0.error.document") != 2.0 || root.get("status.items.0.error.message") != "Expected object at root, got object" {
		t.Errorf("root: %s", root.text)
	}
	envelope := fail("apiVersion: v1\nkind: Component\nmetadata: {title: x}\n")
	if envelope.get("status.items.0.error.location") != file || envelope.get("status.items.0.error.pointer") != "/metadata" {
		t.Errorf("envelope: %s", envelope.text)
	}
}

// Files and patterns of the configuration that name nothing are told.
func TestFilesThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := opened(t, testdb.NewSQLite(t), fmt.Sprintf("  locations: [{type: file, target: %q}, {type: file, target: %q}, {type: file, target: %q}]\n",
		dir+"/none.yaml", dir+"/*.nothing", dir), unprocessed.Module)
	var text string
	p.eventually("all three are told", func() bool {
		text = p.do(getMethod, "/entities/unprocessed/failed", "").text
		return strings.Count(text, `"errors":[`) == 3
	})
	for _, want := range []string{"file " + dir + "/none.yaml does not exist", "file " + dir + "/*.nothing does not exist", dir + " is a directory"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told in %s", want, text)
		}
	}
}

// A provider whose source is down keeps what it has, and its task says why.
func TestProvidersWhoseSourceIsDown(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.FailFrom(1, fakegithub.Unauthorized)
	config := fmt.Sprintf("  providers: {github: {acme: {host: %q, organization: acme}}}\n%s", gh.Host, gh.Integration())
	p := open(t, testdb.NewSQLite(t), config, catalogmodulegithub.Module, githubapi.NewFactory(gh.Options()))
	var tasks struct {
		Tasks []struct {
			TaskID    string `json:"taskId"`
			TaskState struct{ LastRunError string }
		}
	}
	reason := ""
	p.eventually("the task tells why it failed", func() bool {
		decode(t, p.do(getMethod, "/.backstage/scheduler/v1/tasks", "").text, &tasks)
		for _, task := range tasks.Tasks {
			if task.TaskID == "github-provider:acme:refresh" {
				reason = task.TaskState.LastRunError
			}
		}
		return reason != ""
	})
	for _, want := range []string{"acme", gh.Host, "401", "the token or app is not valid"} {
		if !strings.Contains(reason, want) {
			t.Errorf("%q is not told in: %s", want, reason)
		}
	}
}
