package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
)

// postgres is the configuration of a database that replicas share, with a
// schema per plugin.
func postgres(dsn string) string {
	return fmt.Sprintf("  database: {client: pg, pluginDivisionMode: schema, connection: '%s'}\n", dsn)
}

// run is a run of the task of the plugin ticker.
type run struct {
	fence    int64
	instance string
	begun    time.Time
	ended    sql.NullTime
}

// runs returns the runs so far, in order.
func runs(t *testing.T, db *sql.DB) []run {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT fence, instance, begun, ended FROM ticker.runs ORDER BY fence`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []run
	for rows.Next() {
		var r run
		if err := rows.Scan(&r.fence, &r.instance, &r.begun, &r.ended); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func tick(instance, every, work string) []string {
	return []string{tickerInstance + "=" + instance, tickerEvery + "=" + every, tickerWork + "=" + work}
}

// Two replicas run a global task once per tick between them, never both.
func TestOneRunPerTick(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	const every, ticks = 2 * time.Second, 6
	s := setup{added: "ticker", config: settings(postgres(db.DSN)), args: []string{"--plugins", "ticker"}}
	replicas := map[string]*process{}
	for _, name := range []string{"a", "b"} {
		s.env = tick(name, every.String(), "300ms")
		replicas[name] = launch(t, s)
	}
	for _, p := range replicas {
		p.ready()
	}
	var all []run
	eventually(t, "ticks", func() error {
		all = runs(t, db.DB)
		if n := len(all); n <= ticks || !all[ticks].ended.Valid {
			return fmt.Errorf("%d runs", n)
		}
		return nil
	})
	for i, r := range all[1:] {
		if before := all[i]; !before.ended.Valid || r.begun.Before(before.ended.Time) {
			t.Errorf("run %d of %s begins before run %d of %s has ended", r.fence, r.instance, before.fence, before.instance)
		}
		if r.fence != all[i].fence+1 {
			t.Errorf("run %d follows run %d", r.fence, all[i].fence)
		}
	}
	// As many runs as ticks: the first and the last may each be late.
	span := all[len(all)-1].begun.Sub(all[0].begun)
	if passed := span.Seconds() / every.Seconds(); math.Abs(passed-float64(len(all)-1)) > 0.9 {
		t.Errorf("%d runs in %.1f ticks after the first one", len(all)-1, passed)
	}
	for _, p := range replicas {
		p.stop()
	}
}

// The task of a replica that is killed while it runs is run by the other one
// within half a minute.
func TestKilledRunnerIsReplaced(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	s := setup{added: "ticker", config: settings(postgres(db.DSN)), args: []string{"--plugins", "ticker"}}
	replicas := map[string]*process{}
	for _, name := range []string{"a", "b"} {
		s.env = tick(name, "1s", "1h")
		replicas[name] = launch(t, s)
	}
	for _, p := range replicas {
		p.ready()
	}
	var first run
	eventually(t, "the first run", func() error {
		all := runs(t, db.DB)
		if len(all) == 0 {
			return errors.New("no run yet")
		}
		first = all[0]
		return nil
	})
	replicas[first.instance].kill()
	killed := time.Now()
	eventually(t, "the next run", func() error {
		all := runs(t, db.DB)
		if len(all) < 2 {
			return errors.New("no other run yet")
		}
		if all[1].instance == first.instance || all[1].fence <= first.fence {
			t.Fatalf("run %+v after %+v", all[1], first)
		}
		return nil
	})
	if late := time.Since(killed); late > 30*time.Second {
		t.Errorf("the task was taken over after %s", late)
	}
}

// Replicas are replaced one after the other: clients that honour readiness
// see no failed request, every run of a task that began is finished or begun
// anew, and the ticks go on.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	config := settings(postgres(db.DSN) + `  lifecycle: {serverShutdownDelay: {seconds: 1}}
catalog:
  locations: [{type: file, target: components.yaml}]
`)
	s := setup{added: "ticker,caller", config: config, files: map[string]string{"components.yaml": components("a", "b")}}
	start := func(name string) *process {
		s.env = tick(name, "1s", "400ms")
		return launch(t, s).ready()
	}
	old := []*process{start("a1"), start("b1")}
	await(t, old[0], 2)
	await(t, old[1], 2)

	var lb balancer
	lb.set(old[0].url, old[1].url)
	var served atomic.Int64
	var workers sync.WaitGroup
	for n := range 4 {
		workers.Go(func() {
			for i := n; ; i++ {
				base, ok := lb.pick(i)
				if !ok {
					return
				}
				a, err := request(base+"/api/caller/components", "")
				if err != nil || a.status != http.StatusOK {
					t.Errorf("a request failed: %v %s", err, a)
					return
				}
				served.Add(1)
			}
		})
	}
	replace := func(gone, stays *process, name string) *process {
		gone.signal(syscall.SIGTERM)
		eventually(t, "readiness ends", func() error {
			if a := gone.get(readiness, ""); a.status != http.StatusServiceUnavailable {
				return errors.New(a.String())
			}
			return nil
		})
		lb.set(stays.url)
		if code := gone.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		p := start(name)
		lb.set(stays.url, p.url)
		return p
	}
	a := replace(old[0], old[1], "a2")
	b := replace(old[1], a, "b2")
	before := len(runs(t, db.DB))
	eventually(t, "more ticks", func() error {
		if n := len(runs(t, db.DB)); n < before+2 {
			return fmt.Errorf("%d runs, %d before", n, before)
		}
		return nil
	})
	lb.set()
	workers.Wait()
	a.stop()
	b.stop()
	if n := served.Load(); n == 0 {
		t.Error("no request was served")
	}
	all := runs(t, db.DB)
	for i, r := range all {
		if i+1 < len(all) && all[i+1].begun.Sub(r.begun) > 15*time.Second {
			t.Errorf("no tick between %s and %s", r.begun, all[i+1].begun)
		}
		// A run that the stop interrupted is begun anew at once.
		if !r.ended.Valid && i+1 < len(all) && all[i+1].begun.Sub(r.begun) > 5*time.Second {
			t.Errorf("run %d of %s was lost", r.fence, r.instance)
		}
	}
}

// names asks a catalog for the names of its components.
func names(p *process) (map[string]int, error) {
	a, err := request(p.url+"/api/catalog/entities?filter=kind=component&fields=metadata.name", token)
	if err != nil {
		return nil, err
	}
	var list []struct{ Metadata struct{ Name string } }
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		return nil, fmt.Errorf("%s: %w", a, err)
	}
	out := map[string]int{}
	for _, e := range list {
		out[e.Metadata.Name]++
	}
	return out, nil
}

// catalogFiles are many files with some components each, and the
// configuration that names them.
func catalogFiles(count, each int) (files map[string]string, config string, want map[string]int) {
	files, want = map[string]string{}, map[string]int{}
	config = "catalog:\n  locations:\n"
	for i := range count {
		var list []string
		for j := range each {
			name := fmt.Sprintf("c-%d-%d", i, j)
			list = append(list, name)
			want[name] = 1
		}
		name := fmt.Sprintf("f%d.yaml", i)
		files[name] = components(list...)
		config += "    - {type: file, target: " + name + "}\n"
	}
	return files, config, want
}

// finalEntities counts the entities that the catalog has finished.
func finalEntities(t *testing.T, db *sql.DB) (n int, err error) {
	err = db.QueryRowContext(t.Context(), `SELECT count(*) FROM catalog.entity WHERE final IS NOT NULL`).Scan(&n)
	return n, err
}

// Two catalogs on one database take the same locations in: every entity is
// there once, and when one is killed meanwhile, the other completes the work.
func TestTwoCatalogs(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill=%t", kill), func(t *testing.T) {
			t.Parallel()
			db := testdb.NewPostgres(t)
			files, locations, want := catalogFiles(200, 20)
			s := setup{config: settings(postgres(db.DSN) + locations), files: files, dir: t.TempDir()}
			victim, other := launch(t, s), launch(t, setup{config: s.config, dir: s.dir})
			victim.listening()
			other.listening()
			if kill {
				eventually(t, "the begin of the ingestion", func() error {
					n, err := finalEntities(t, db.DB)
					if err == nil && n == 0 {
						err = errors.New("no entity yet")
					}
					return err
				})
				victim.kill()
				if n, err := finalEntities(t, db.DB); err != nil || n >= len(want) {
					t.Fatalf("the catalog was killed after the ingestion of %d entities; this test needs more of them: %v", n, err)
				}
			} else {
				victim.ready()
			}
			other.ready()
			left := []*process{other}
			if !kill {
				left = append(left, victim)
			}
			for _, p := range left {
				eventually(t, "all entities", func() error {
					got, err := names(p)
					if err == nil && !maps.Equal(got, want) {
						err = fmt.Errorf("%d of %d components, e.g. %v", len(got), len(want), slices.Collect(maps.Keys(got))[:min(3, len(got))])
					}
					return err
				})
			}
			for _, p := range left {
				p.stop()
			}
		})
	}
}
