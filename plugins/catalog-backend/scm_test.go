package catalogbackend_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/testdb"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// tell publishes what happened at a source host.
func (p *portal) tell(events ...catalognode.SCMEvent) {
	p.t.Helper()
	scm, err := backend.Get(p.backend, catalognode.SCMEvents)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := scm.Publish(p.t.Context(), events...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *portal) register(path string) {
	p.t.Helper()
	if a := p.do(postMethod, "/locations", fmt.Sprintf(`{"type":"url","target":%q}`, p.files.URL+path)); a.status != http.StatusCreated {
		p.t.Fatalf("registering %s: %d %s", path, a.status, a.text)
	}
}

func (p *portal) lifecycleOf(name string) any {
	return p.do(getMethod, "/entities/by-name/component/default/"+name, "").get("spec.lifecycle")
}

// What a source host says changed is read at once, however the URL is written
// there; what it says is gone goes.
func TestSCMEvents(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "  scmEvents: true\n  processingInterval: {hours: 1}\n")
		version := 0
		publish := func(path, name string) string {
			version++
			lifecycle := fmt.Sprint("v", version)
			p.source.Store(path, strings.NewReplacer("audio-guide", name, "experimental", lifecycle).Replace(guide))
			return lifecycle
		}
		files := map[string]string{"/Acme/Guides/blob/main/a.yaml": "a", "/acme/guides/tree/main/b.yaml": "b"}
		for path, name := range files {
			was := publish(path, name)
			p.register(path)
			p.eventually(path+" is read", func() bool { return p.lifecycleOf(name) == was })
		}
		for _, c := range []struct {
			path, name string
			event      catalognode.SCMEvent
		}{
			{"/Acme/Guides/blob/main/a.yaml", "a", catalognode.SCMEvent{Type: catalognode.SCMLocationUpdated, URL: p.files.URL + "/Acme/Guides/blob/main/a.yaml"}},
			{"/Acme/Guides/blob/main/a.yaml", "a", catalognode.SCMEvent{Type: catalognode.SCMLocationUpdated, URL: p.files.URL + "/acme/guides/blob/main/a.yaml"}},
			{"/acme/guides/tree/main/b.yaml", "b", catalognode.SCMEvent{Type: catalognode.SCMLocationUpdated, URL: p.files.URL + "/acme/guides/blob/main/b.yaml"}},
			{"/acme/guides/tree/main/b.yaml", "b", catalognode.SCMEvent{Type: catalognode.SCMRepositoryUpdated, URL: p.files.URL + "/acme/guides"}},
			{"/Acme/Guides/blob/main/a.yaml", "a", catalognode.SCMEvent{Type: catalognode.SCMRepositoryUpdated, URL: p.files.URL + "/acme/guides/"}},
		} {
			now := publish(c.path, c.name)
			p.tell(c.event)
			p.eventually(fmt.Sprintf("%s %s is followed", c.event.Type, c.event.URL), func() bool { return p.lifecycleOf(c.name) == now })
		}
		now := publish("/acme/moved/a.yaml", "moved")
		p.tell(
			catalognode.SCMEvent{Type: catalognode.SCMLocationMoved, FromURL: p.files.URL + "/Acme/Guides/blob/main/a.yaml", ToURL: p.files.URL + "/acme/moved/a.yaml"},
			catalognode.SCMEvent{Type: catalognode.SCMLocationDeleted, URL: p.files.URL + "/acme/guides/tree/main/b.yaml"},
		)
		p.eventually("the entity of the moved location is there", func() bool { return p.lifecycleOf("moved") == now })
		for _, name := range []string{"a", "b"} {
			if a := p.do(getMethod, "/entities/by-name/component/default/"+name, ""); a.status != http.StatusNotFound {
				t.Errorf("%s, whose location is gone: %d %s", name, a.status, a.text)
			}
		}
		if all := p.do(getMethod, "/locations", ""); all.get("0.data.target") != p.files.URL+"/acme/moved/a.yaml" || all.get("1") != nil {
			t.Errorf("locations: %s", all.text)
		}
	})
}

// Without the configuration, and for what it turns off, nothing happens.
func TestSCMEventsThatAreOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config      string
		unregisters bool
	}{
		"absent":         {"", false},
		"false":          {"  scmEvents: false\n", false},
		"not to delete":  {"  scmEvents: {unregister: false}\n", false},
		"only to delete": {"  scmEvents: {refresh: false, move: false}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t, testdb.NewSQLite(t), c.config)
			p.source.Store("/a.yaml", guide)
			p.register("/a.yaml")
			p.tell(catalognode.SCMEvent{Type: catalognode.SCMLocationDeleted, URL: p.files.URL + "/a.yaml"})
			if gone := p.do(getMethod, "/locations", "").text == "[]"; gone != c.unregisters {
				t.Errorf("unregistered: %v", gone)
			}
		})
	}
}
