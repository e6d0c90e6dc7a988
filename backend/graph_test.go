package backend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/google/go-cmp/cmp"
)

// portal is a backend that looks like a real one, with n plugins.
func portal(n int) *backend.Backend {
	plain := func(env *backend.FactoryEnv, ids ...string) backend.MakeFunc[int] {
		for _, id := range ids {
			if strings.HasPrefix(id, "core.root") {
				_ = backend.NewRootServiceRef[int](id).From(env)
			} else {
				_ = backend.NewServiceRef[int](id).From(env)
			}
		}
		return func(context.Context) (int, error) { return 0, nil }
	}
	b := backend.New()
	root := func(id string, needs ...string) {
		b.Add(backend.NewRootServiceFactory(backend.NewRootServiceRef[int](id), func(env *backend.RootEnv) backend.MakeFunc[int] {
			_ = backend.BackendLifecycle.From(env)
			for _, n := range needs {
				_ = backend.NewRootServiceRef[int](n).From(env)
			}
			return func(context.Context) (int, error) { return 0, nil }
		}))
	}
	service := func(id string, needs ...string) {
		b.Add(backend.NewServiceFactory(backend.NewServiceRef[int](id), func(env *backend.FactoryEnv) backend.MakeFunc[int] {
			_ = backend.PluginMetadata.From(env)
			return plain(env, needs...)
		}))
	}
	root("core.rootConfig")
	root("core.rootHttpRouter", "core.rootConfig")
	root("core.rootHealth")
	root("core.rootDatabase", "core.rootConfig")
	service("core.logger")
	service("core.httpRouter", "core.rootHttpRouter", "core.httpAuth")
	service("core.database", "core.rootDatabase", "core.logger")
	service("core.discovery", "core.rootConfig")
	service("core.auth", "core.discovery", "core.database")
	service("core.httpAuth", "core.auth")
	service("core.scheduler", "core.database", "core.logger")
	service("core.permissions", "core.auth", "core.discovery")
	service("core.urlReader", "core.rootConfig")
	service("core.cache", "core.rootConfig")
	service("core.events", "core.logger")
	all := []string{"core.logger", "core.httpRouter", "core.httpAuth", "core.database", "core.scheduler", "core.permissions", "core.urlReader", "core.events", "core.auth", "core.discovery"}
	names := []string{"catalog", "scaffolder", "search", "techdocs", "auth", "proxy", "events", "notifications", "kubernetes", "permission", "devtools", "signals", "app", "user-settings", "gateway"}
	for i := range n {
		id := names[i%len(names)]
		if i >= len(names) {
			id += fmt.Sprintf("-%d", i/len(names)+1)
		}
		points := []backend.ExtensionPoint[int]{backend.NewExtensionPoint[int](id, "processing"), backend.NewExtensionPoint[int](id, "locations")}
		b.Add(backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			_ = backend.PluginLifecycle.From(env)
			for k, s := range all {
				if k < 2 || (i*7+k*5)%3 == 0 {
					_ = backend.NewServiceRef[int](s).From(env)
				}
			}
			_, _ = backend.NewServiceRef[int]("core.cache").Optional(env), backend.NewRootServiceRef[int]("core.rootConfig").From(env)
			if i%4 == 0 {
				for _, p := range points {
					p.Offer(env, 1)
				}
			}
			return initNothing
		}, backend.WithDescription("Does what "+id+" does.")))
		if i%4 == 0 {
			for _, m := range []string{"github", "gitlab-org-discovery"} {
				b.Add(backend.NewModule(id, m, func(env *backend.ModuleEnv) backend.InitFunc {
					_, _ = points[0].From(env), backend.NewServiceRef[int]("core.logger").From(env)
					if m != "github" {
						_, _ = points[1].From(env), backend.NewServiceRef[int]("core.scheduler").From(env)
					}
					return initNothing
				}))
			}
		}
	}
	return b
}

func TestGraphWriters(t *testing.T) {
	t.Parallel()
	b := portal(5)
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	g := b.Graph()
	for _, c := range []struct {
		file  string
		write func(io.Writer) error
	}{
		{"graph.txt", g.Text}, {"graph.json", g.JSON}, {"graph.dot", g.DOT}, {"graph.svg", g.SVG},
	} {
		var buf bytes.Buffer
		if err := c.write(&buf); err != nil {
			t.Fatal(err)
		}
		golden(t, c.file, buf.String())
	}
	var buf bytes.Buffer
	if err := g.JSON(&buf); err != nil {
		t.Fatal(err)
	}
	var back backend.Graph
	if err := json.Unmarshal(buf.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, back); diff != "" {
		t.Errorf("JSON does not keep the graph (-want +got):\n%s", diff)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	t.Parallel()
	odd := backend.New().Add(
		backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
			backend.NewExtensionPoint[map[string]<-chan int]("p", `<&">`).Offer(env, nil)
			return initNothing
		}, backend.WithDescription(`less < more & "quotes" `+strings.Repeat("long ", 50))))
	for name, b := range map[string]*backend.Backend{"empty": backend.New(), "odd": odd, "large": portal(60)} {
		var buf bytes.Buffer
		if err := b.Graph().SVG(&buf); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(&buf)
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestGraphWritersReturnErrors(t *testing.T) {
	t.Parallel()
	g := portal(5).Graph()
	for name, write := range map[string]func(io.Writer) error{"Text": g.Text, "JSON": g.JSON, "DOT": g.DOT, "SVG": g.SVG} {
		if err := write(brokenWriter{}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s = %v, want the error of the writer", name, err)
		}
	}
}

func TestSVGCardsDoNotOverlap(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	if err := portal(40).Graph().SVG(&buf); err != nil {
		t.Fatal(err)
	}
	var picture struct {
		Height float64 `xml:"height,attr"`
		Rects  []struct {
			Class  string  `xml:"class,attr"`
			Y      float64 `xml:"y,attr"`
			Height string  `xml:"height,attr"`
		} `xml:"rect"`
	}
	if err := xml.Unmarshal(buf.Bytes(), &picture); err != nil {
		t.Fatal(err)
	}
	cards, end := 0, 0.0
	for _, r := range picture.Rects {
		if r.Class != "card" {
			continue
		}
		var height float64
		if _, err := fmt.Sscan(r.Height, &height); err != nil {
			t.Fatal(err)
		}
		if r.Y <= end {
			t.Errorf("a card begins at %.0f, but the one before ends at %.0f", r.Y, end)
		}
		end = r.Y + height
		cards++
	}
	if cards != 40 || end >= picture.Height {
		t.Errorf("%d cards that end at %.0f in a picture of height %.0f", cards, end, picture.Height)
	}
}
