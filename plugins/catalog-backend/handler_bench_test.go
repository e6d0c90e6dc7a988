//go:build unix

package catalogbackend_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/bench/catalog/shape"
	"github.com/flytower/flytower/internal/testdb"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// BenchmarkHandlers asks the same questions of the catalog, through all of its
// services (authentication, audit, metrics, access log, entity tags), and of
// handlers on a bare net/http server that answer from such an index with as
// little as possible: what the framework costs is the difference. The time of
// the processor is compared, too, since it depends less on what else a machine
// does; it includes what the client takes.
func BenchmarkHandlers(b *testing.B) {
	c := shape.Catalog{Form: shape.Regular, Entities: 3000}
	db := testdb.NewSQLite(b)
	catalog := serveCatalog(b, db, c)
	plain := servePlainly(b, db, c)

	refs := make([]string, 50)
	for i := range refs {
		refs[i] = c.Component(i * 17).String()
	}
	body, err := json.Marshal(map[string]any{"entityRefs": refs})
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct{ name, method, path, body string }{
		{"by name", "GET", "/entities/by-name/component/default/" + c.Component(7).Name, ""},
		{"50 by refs", "POST", "/entities/by-refs", string(body)},
		{"20 of a kind, counted", "GET", "/entities/by-query?filter=kind%3Dcomponent&orderField=metadata.name%2Casc&limit=20", ""},
		{"20 with text", "GET", "/entities/by-query?filter=kind%3Dcomponent&orderField=metadata.name%2Casc&limit=20&fullTextFilterTerm=0042&fullTextFilterFields=metadata.name", ""},
		{"facets", "GET", "/entity-facets?facet=spec.type&filter=kind%3Dcomponent", ""},
		{"everything, three fields", "GET", "/entities?fields=kind%2Cmetadata.name%2Cmetadata.namespace", ""},
	} {
		b.Run(q.name, func(b *testing.B) {
			var took, cpu [2]float64
			for i, side := range []struct{ name, url string }{{"plain", plain}, {"catalog", catalog}} {
				b.Run(side.name, func(b *testing.B) {
					ask := newAsker(b, side.url, q.method, q.path, q.body)
					b.SetBytes(int64(ask()))
					began := processorTime()
					for b.Loop() {
						ask()
					}
					took[i] = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
					cpu[i] = float64(processorTime()-began) / float64(b.N)
					b.ReportMetric(cpu[i], "cpu-ns/op")
					if i == 1 && took[0] > 0 {
						b.ReportMetric(took[1]/took[0], "times-plain")
						b.ReportMetric(cpu[1]/cpu[0], "times-cpu")
					}
				})
			}
		})
	}
}

const benchToken = "bench-token"

// processorTime returns what this process took so far.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// newAsker returns what sends a request over a connection of its own, and
// returns the size of the answer.
func newAsker(b *testing.B, base, method, path, body string) func() int {
	b.Helper()
	u, err := url.Parse(base)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", u.Host)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	head := fmt.Sprintf("%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAuthorization: Bearer %s\r\n", method, u.Path, path, u.Host, benchToken)
	if body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	request, in := []byte(head+"\r\n"+body), bufio.NewReaderSize(conn, 64<<10)
	return func() int {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		return int(n)
	}
}

// synthetic hands a catalog in.
type synthetic struct{ catalog shape.Catalog }

func (synthetic) ProviderName() string { return "synthetic" }

func (s synthetic) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	_, err := c.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		for e := range s.catalog.All() {
			if !yield(catalognode.DeferredEntity{Entity: e, LocationKey: "synthetic"}, nil) {
				return
			}
		}
	})
	return err
}

// serveCatalog starts a backend, and waits until it has processed a catalog.
func serveCatalog(b *testing.B, db *testdb.Database, c shape.Catalog) string {
	b.Helper()
	const config = `
app: {baseUrl: "http://localhost:3000"}
backend:
  baseUrl: http://localhost:7007
  listen: 127.0.0.1:0
  database: {client: better-sqlite3, connection: ":memory:"}
  auth: {externalAccess: [{type: static, options: {token: ` + benchToken + `, subject: bench}}]}
catalog: {rules: [{allow: [Component, API, System, Group]}]}
`
	back := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(config)}}}))
	back.Add(catalogbackend.Plugin,
		backend.NewModule("catalog", "synthetic", func(env *backend.ModuleEnv) backend.InitFunc {
			processing := catalognode.Processing.From(env)
			return func(context.Context) error { return processing().AddProvider(synthetic{c}) }
		}),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			// It writes what it would write, to nobody.
			return func(context.Context) (*slog.Logger, error) {
				return slog.New(slog.NewJSONHandler(io.Discard, nil)), nil
			}
		}),
		backend.NewServiceFactory(core.Database, func(*backend.FactoryEnv) backend.MakeFunc[core.DatabaseService] {
			return func(context.Context) (core.DatabaseService, error) { return db.Service, nil }
		}),
	)
	if err := back.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := back.Stop(ctx); err != nil {
			b.Errorf("stopping: %v", err)
		}
	})
	server, err := backend.Get(back, core.RootHTTPRouter)
	if err != nil {
		b.Fatal(err)
	}
	tables := read.New(db.Service)
	related, err := c.Related()
	if err != nil {
		b.Fatal(err)
	}
	for {
		done := true
		for typ, want := range related {
			n, err := tables.Count(b.Context(), read.Request{Filter: query.Exists{Key: "relations." + strings.ToLower(typ)}})
			if err != nil {
				b.Fatal(err)
			}
			done = done && n == want
		}
		if done {
			return "http://" + server.Addr().String() + "/api/catalog"
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// servePlainly serves some routes without any framework.
func servePlainly(b *testing.B, db *testdb.Database, c shape.Catalog) string {
	b.Helper()
	terms := index.New(db.Service, index.Options{MaxLag: time.Hour})
	ctx, cancel := context.WithCancel(b.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = terms.Run(ctx) // it returns no error
	}()
	b.Cleanup(func() { cancel(); <-followed })
	for terms.Status().Memory.Entities != c.Entities {
		time.Sleep(10 * time.Millisecond)
	}
	reader := index.NewReader(terms, read.New(db.Service), 64<<20)
	server := httptest.NewServer(plainRoutes(reader))
	b.Cleanup(server.Close)
	return server.URL
}

func plainRoutes(reader *index.Reader) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(r *http.Request) ([]byte, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := answer(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		})
	}
	join := func(begin string, entities [][]byte) []byte {
		size := 64
		for _, e := range entities {
			size += len(e) + 1
		}
		out := append(make([]byte, 0, size), begin...)
		for i, e := range entities {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, e...)
		}
		return out
	}
	texts := func(items []read.Item) [][]byte {
		out := make([][]byte, len(items))
		for i, it := range items {
			out[i] = it.Entity
		}
		return out
	}
	handle("GET /entities/by-name/{kind}/{namespace}/{name}", func(r *http.Request) ([]byte, error) {
		found, err := reader.ByRefs(r.Context(), []string{strings.ToLower(r.PathValue("kind") + ":" + r.PathValue("namespace") + "/" + r.PathValue("name"))}, nil)
		if err != nil {
			return nil, err
		}
		return found[0], nil
	})
	handle("POST /entities/by-refs", func(r *http.Request) ([]byte, error) {
		var body struct {
			EntityRefs []string `json:"entityRefs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, err
		}
		found, err := reader.ByRefs(r.Context(), body.EntityRefs, nil)
		return append(join(`{"items":[`, found), "]}"...), err
	})
	handle("GET /entities/by-query", func(r *http.Request) ([]byte, error) {
		v := r.URL.Query()
		field, _, _ := strings.Cut(v.Get("orderField"), ",")
		filter, err := query.ParseFilters(v["filter"])
		if err != nil {
			return nil, err
		}
		items, total, err := reader.Page(r.Context(), read.Request{
			Filter: filter, Order: []query.Order{{Field: field}}, Limit: 21, Bare: true,
			FullText: query.NewFullText(v.Get("fullTextFilterTerm"), v["fullTextFilterFields"]),
		})
		if err != nil {
			return nil, err
		}
		items = items[:min(len(items), 20)]
		return fmt.Appendf(join(`{"items":[`, texts(items)), `],"totalItems":%d,"pageInfo":{}}`, total), nil
	})
	handle("GET /entity-facets", func(r *http.Request) ([]byte, error) {
		v := r.URL.Query()
		filter, err := query.ParseFilters(v["filter"])
		if err != nil {
			return nil, err
		}
		facets, err := reader.Facets(r.Context(), v["facet"], filter)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"facets": facets})
	})
	handle("GET /entities", func(r *http.Request) ([]byte, error) {
		fields, err := query.ParseFields(r.URL.Query()["fields"])
		if err != nil {
			return nil, err
		}
		items, err := reader.List(r.Context(), read.Request{Limit: 1 << 20, Fields: fields, Bare: true})
		return append(join("[", texts(items)), ']'), err
	})
	return mux
}
