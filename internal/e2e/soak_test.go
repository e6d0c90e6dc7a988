package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

var (
	soak = flag.Duration("soak", 4*time.Second, "how long TestSoak kills replicas of the catalog while everything changes")
	seed = flag.Uint64("seed", 0, "what TestSoak draws its choices from; 0 draws it, too")
)

// drawSeed makes a seed for all tests that were given none.
var drawSeed = sync.OnceFunc(func() {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
})

// Three replicas share a catalog. Its sources change, fail and announce changes
// all the time, two sources want the same entities, users register locations,
// and replicas are killed. Every few seconds all of that pauses: then each
// replica has to come to have what the sources have, with nothing but what it
// was told before the pause. Entities are not processed by the clock, and
// there are many groups, so that what was lost is not made up for by chance.
// It was seen to fail when marks of neighbours, refreshes of what is processed,
// promotions of refused hand-ins, changes for the index, acknowledged
// registrations, or the claims of killed replicas were lost, and when
// transactions were not tried again.
func TestSoak(t *testing.T) {
	t.Parallel()
	drawSeed()
	t.Logf("-seed %d -soak %s", *seed, *soak)
	src := newSource(t)
	db := testdb.NewPostgres(t)
	s := setup{
		added: "feed", env: []string{feedSource + "=" + src.URL}, args: []string{"--plugins", "catalog"},
		config: settings(postgres(db.DSN) + fmt.Sprintf(`
  reading: {allow: [{host: '%s'}]}
catalog:
  processingInterval: {hours: 1}
  rules: [{allow: [Component, Group, Location]}]
`, src.Listener.Addr())),
	}
	f := &fleet{replicas: make([]*process, 3)}
	for i := range f.replicas {
		f.replicas[i] = launch(t, s)
	}
	for _, p := range f.replicas {
		p.ready()
	}
	u := &user{fleet: f, src: src, known: map[int]bool{}, ids: map[int]string{}}
	killed, r, end := 0, rand.New(rand.NewPCG(*seed, 12)), time.Now().Add(*soak)
	for round := uint64(0); round == 0 || time.Now().Before(end); round++ {
		ctx, stop := context.WithDeadline(t.Context(), earlier(end, time.Now().Add(roundLength)))
		src.setHealthy(false)
		var users sync.WaitGroup
		for i := range uint64(3) {
			users.Go(func() { f.change(ctx, src, rand.New(rand.NewPCG(*seed, 100*round+i))) })
		}
		users.Go(func() { u.register(ctx, rand.New(rand.NewPCG(*seed, 100*round+10))) })
		users.Go(func() { f.look(ctx, rand.New(rand.NewPCG(*seed, 100*round+11))) })
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				continue
			case <-time.After(time.Duration(r.IntN(1500)) * time.Millisecond):
			}
			i := r.IntN(len(f.replicas))
			p := f.replica(i)
			p.kill()
			f.surfaced(p)
			killed++
			s.dir = p.dir
			again := launch(t, s)
			again.ready()
			f.replace(i, again)
		}
		stop()
		users.Wait()
		src.setHealthy(true)
		f.announce(t.Context(), src, r)
		u.settle(t)
		for i := range f.replicas {
			p := f.replica(i)
			eventually(t, fmt.Sprintf("round %d: the catalog of replica %d is what the sources have", round, i), func() error {
				have, err := catalogOf(p)
				if err != nil {
					return err
				}
				if diff := cmp.Diff(src.catalog(u.known, have), have); diff != "" {
					return fmt.Errorf("after %d kills, (-sources +catalog):\n%.4000s", killed, diff)
				}
				return nil
			})
			f.surfaced(p)
		}
		f.remember(t)
		if t.Failed() {
			break
		}
	}
	for _, problem := range f.problems {
		t.Error(problem)
	}
	t.Logf("%d replicas killed, %d requests answered", killed, f.answered)
}

// roundLength is how long it goes on without a pause.
const roundLength = 4 * time.Second

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// fleet are the replicas, and what users saw of them.
type fleet struct {
	mu       sync.Mutex
	replicas []*process
	problems []string
	answered int
	uids     map[string]string // of the groups, which are always there
}

// remember notes the uids of the groups.
func (f *fleet) remember(t *testing.T) {
	t.Helper()
	uids := map[string]string{}
	for i := range teams {
		ref := fmt.Sprintf("group/default/team-%d", i)
		var e struct{ Metadata struct{ UID string } }
		f.replica(0).decode("/api/catalog/entities/by-name/"+ref, token, &e)
		if had := f.uids[ref]; had != "" && had != e.Metadata.UID {
			t.Errorf("%s had the uid %s, and has %s", ref, had, e.Metadata.UID)
		}
		uids[ref] = e.Metadata.UID
	}
	f.uids = uids
}

func (f *fleet) replica(i int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replicas[i]
}

func (f *fleet) replace(i int, p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas[i] = p
}

// surfaced looks for conflicts of transactions that were not tried again, and
// for panics, in what a replica wrote.
func (f *fleet) surfaced(p *process) {
	for _, e := range p.log() {
		line, _ := json.Marshal(e) //nolint:errchkjson // it was JSON
		for _, sign := range []string{"deadlock", "40P01", "40001", "panic"} {
			if strings.Contains(string(line), sign) {
				f.problem("a replica wrote: %s", line)
			}
		}
	}
}

func (f *fleet) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.problems) < 20 {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

// call sends a request to any replica. A status of 0 means that nobody knows
// what became of it.
func (f *fleet) call(ctx context.Context, r *rand.Rand, method, path string, body any) (int, []byte) {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, f.replica(r.IntN(len(f.replicas))).url+path, payload)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := network.Do(req)
	if err != nil {
		return 0, nil // killed
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	f.mu.Lock()
	f.answered++
	f.mu.Unlock()
	if resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
		f.problem("%s %s: %d %.500s", method, path, resp.StatusCode, text)
	}
	return resp.StatusCode, text
}

// change changes the source, and announces most of the changes.
func (f *fleet) change(ctx context.Context, src *source, r *rand.Rand) {
	for ctx.Err() == nil {
		switch names := src.mutate(r); r.IntN(4) {
		case 0: // the next refresh finds it
		default:
			f.call(ctx, r, http.MethodPost, "/api/catalog/feed/webhook", names)
		}
		if r.IntN(60) == 0 { // seldom, since it also mends what the files have
			src.edit(r.IntN(files))
			f.announce(ctx, src, r)
		}
	}
}

// announce has the files read again that changed, until that was acknowledged.
func (f *fleet) announce(ctx context.Context, src *source, r *rand.Rand) {
	for ctx.Err() == nil {
		file, version, ok := src.unannounced()
		if !ok {
			return
		}
		status, _ := f.call(ctx, r, http.MethodPost, "/api/catalog/refresh", map[string]any{"entityRef": src.location(file)})
		if status == http.StatusOK || status == http.StatusNotFound { // who registers it later reads it later
			src.announced(file, version)
		}
	}
}

// look reads like pages do.
func (f *fleet) look(ctx context.Context, r *rand.Rand) {
	paths := []string{
		"/api/catalog/entities/by-query?filter=kind=component&orderField=metadata.name,asc&limit=20",
		"/api/catalog/entity-facets?facet=kind&facet=relations.ownedBy", "/api/catalog/entities?filter=kind=group",
		"/api/catalog/entities/by-name/group/default/team-0", "/api/catalog/locations",
	}
	for ctx.Err() == nil {
		f.call(ctx, r, http.MethodGet, paths[r.IntN(len(paths))], nil)
		ref := fmt.Sprintf("group/default/team-%d", r.IntN(teams))
		status, text := f.call(ctx, r, http.MethodGet, "/api/catalog/entities/by-name/"+ref, nil)
		if uid := f.uids[ref]; uid != "" && status != 0 && (status != http.StatusOK || !bytes.Contains(text, []byte(uid))) {
			f.problem("%s, which every source has all the time: %d %.500s, want the uid %s", ref, status, text, uid)
		}
	}
}

// user registers files and takes them back, one after the other.
type user struct {
	fleet *fleet
	src   *source
	known map[int]bool // files of which the state is known
	ids   map[int]string
}

func (u *user) register(ctx context.Context, r *rand.Rand) {
	ids := u.ids
	for ctx.Err() == nil {
		select { // seldom, for the same reason
		case <-ctx.Done():
			continue
		case <-time.After(time.Duration(r.IntN(300)) * time.Millisecond):
		}
		file := r.IntN(files)
		if id := ids[file]; id != "" {
			switch status, _ := u.fleet.call(ctx, r, http.MethodDelete, "/api/catalog/locations/"+id, nil); status {
			case http.StatusNoContent, http.StatusNotFound:
				u.known[file] = false
				delete(ids, file)
			default:
				delete(u.known, file)
			}
			continue
		}
		status, text := u.fleet.call(ctx, r, http.MethodPost, "/api/catalog/locations", map[string]any{"type": "url", "target": u.src.file(file)})
		var answer struct{ Location struct{ ID string } }
		switch {
		case status == http.StatusCreated && json.Unmarshal(text, &answer) == nil:
			u.known[file], ids[file] = true, answer.Location.ID
		case status == http.StatusConflict: // an attempt of which nobody knew went well
			u.known[file] = true
		default:
			delete(u.known, file)
		}
	}
}

// settle finds that what was acknowledged is there, and learns the rest.
func (u *user) settle(t *testing.T) {
	t.Helper()
	var list []struct{ Data struct{ ID, Target string } }
	u.fleet.replica(0).decode("/api/catalog/locations", token, &list)
	there := map[int]bool{}
	clear(u.ids)
	for _, l := range list {
		for file := range files {
			if l.Data.Target == u.src.file(file) {
				there[file], u.ids[file] = true, l.Data.ID
			}
		}
	}
	for file := range files {
		if known, ok := u.known[file]; ok && known != there[file] {
			t.Errorf("file %d: it was acknowledged that being registered is %t, and it is %t", file, known, there[file])
		}
		u.known[file] = there[file]
	}
}

// source is a server with entities and files that change.
type source struct {
	*httptest.Server
	mu         sync.Mutex
	components map[string]component
	versions   [files]int
	told       [files]int  // the versions that were announced
	failed     [files]bool // the last time
	healthy    bool
	requests   int
}

const (
	files     = 6 // each with two entities of its own, and one that the feed may have, too
	teams     = 40
	mostNames = 120
)

// component is what may change about an entity.
type component struct{ version, team int }

func newSource(t *testing.T) *source {
	src := &source{components: map[string]component{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /entities", func(w http.ResponseWriter, _ *http.Request) {
		src.mu.Lock()
		defer src.mu.Unlock()
		list := []any{}
		for i := range teams {
			list = append(list, map[string]any{
				"apiVersion": "backstage.io/v1alpha1", "kind": "Group", "metadata": described(fmt.Sprintf("team-%d", i), "team"),
				"spec": map[string]any{"type": "team", "children": []any{}},
			})
		}
		for name, c := range src.components {
			list = append(list, c.entity(name))
		}
		raw, err := json.Marshal(list)
		if err != nil {
			panic(err)
		}
		if src.requests++; !src.healthy && src.requests%4 == 0 {
			raw = raw[:len(raw)/2] // and the connection breaks
			w.Header().Set("Content-Length", strconv.Itoa(2*len(raw)))
		}
		_, _ = w.Write(raw) // the reader sees if it is cut
	})
	mux.HandleFunc("GET /entities/{name}", func(w http.ResponseWriter, r *http.Request) {
		src.mu.Lock()
		defer src.mu.Unlock()
		c, ok := src.components[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(c.entity(r.PathValue("name"))) // the reader sees if it is cut
	})
	mux.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		src.mu.Lock()
		defer src.mu.Unlock()
		var file int
		if _, err := fmt.Sscanf(r.PathValue("name"), "%d.yaml", &file); err != nil {
			http.NotFound(w, r)
			return
		}
		// What fails twice is not read again before somebody asks for it.
		src.requests++
		if src.failed[file] = !src.healthy && src.requests%5 == 0 && !src.failed[file]; src.failed[file] {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		for name, c := range src.inFile(file) {
			_ = json.NewEncoder(w).Encode(c.entity(name)) // as above
			fmt.Fprintln(w, "---")
		}
	})
	src.Server = httptest.NewServer(mux)
	t.Cleanup(src.Close)
	return src
}

func described(name, description string) map[string]any {
	return map[string]any{
		"name": name, "description": description,
		"annotations": map[string]any{"backstage.io/managed-by-location": "url:https://feed.example/", "backstage.io/managed-by-origin-location": "url:https://feed.example/"},
	}
}

func (c component) entity(name string) map[string]any {
	return map[string]any{
		"apiVersion": "backstage.io/v1alpha1", "kind": "Component", "metadata": described(name, fmt.Sprintf("v%d", c.version)),
		"spec": map[string]any{"type": "service", "lifecycle": "production", "owner": fmt.Sprintf("team-%d", c.team)},
	}
}

func (src *source) file(i int) string { return fmt.Sprintf("%s/files/%d.yaml", src.URL, i) }

// mutate changes some entities and returns their names.
func (src *source) mutate(r *rand.Rand) []string {
	src.mu.Lock()
	defer src.mu.Unlock()
	var names []string
	for range 1 + r.IntN(8) {
		name := fmt.Sprintf("component-%d", r.IntN([]int{files, mostNames}[r.IntN(2)]))
		if c, ok := src.components[name]; ok && r.IntN(4) == 0 {
			delete(src.components, name)
		} else {
			src.components[name] = component{c.version + 1, r.IntN(teams)}
		}
		names = append(names, name)
	}
	return names
}

// inFile returns what a file has.
func (src *source) inFile(file int) map[string]component {
	c := component{version: src.versions[file], team: file}
	return map[string]component{
		fmt.Sprintf("file-%d-0", file): c, fmt.Sprintf("file-%d-1", file): c,
		fmt.Sprintf("component-%d", file): {version: -c.version, team: c.team},
	}
}

func (src *source) location(file int) string {
	return "location:default/" + catalogcommon.LocationRef{Type: "url", Target: src.file(file)}.EntityName()
}

func (src *source) edit(file int) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.versions[file]++
}

// unannounced returns a file that changed since that was announced.
func (src *source) unannounced() (file, version int, ok bool) {
	src.mu.Lock()
	defer src.mu.Unlock()
	for file, version := range src.versions {
		if version != src.told[file] {
			return file, version, true
		}
	}
	return 0, 0, false
}

func (src *source) announced(file, version int) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.told[file] = max(src.told[file], version)
}

// setHealthy makes every request succeed from now on, or some fail.
func (src *source) setHealthy(healthy bool) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.healthy = healthy
}

// catalog returns the entities that follow from the source, as one line each.
// Of what both the feed and a file have, either may hold the entity.
func (src *source) catalog(registered map[int]bool, have map[string]string) map[string]string {
	src.mu.Lock()
	defer src.mu.Unlock()
	out := map[string]string{}
	owned := map[string][]string{}
	line := func(c component) string { return fmt.Sprintf("v%d ownedBy group:default/team-%d", c.version, c.team) }
	all := maps.Clone(src.components)
	for file, there := range registered {
		if !there {
			continue
		}
		for name, c := range src.inFile(file) {
			if _, both := all[name]; !both || have["component:default/"+name] == line(c) {
				all[name] = c
			}
		}
	}
	for name, c := range all {
		ref, team := "component:default/"+name, fmt.Sprintf("group:default/team-%d", c.team)
		out[ref] = line(c)
		owned[team] = append(owned[team], "ownerOf "+ref)
	}
	for i := range teams {
		ref := fmt.Sprintf("group:default/team-%d", i)
		slices.Sort(owned[ref])
		out[ref] = strings.TrimSpace("team " + strings.Join(owned[ref], ", "))
	}
	return out
}

// catalogOf reads the catalog of a replica in the form of [source.catalog].
func catalogOf(p *process) (map[string]string, error) {
	a, err := request(p.url+"/api/catalog/entities?filter=kind=component&filter=kind=group", token)
	if err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("%s, %w", a, err)
	}
	var list []struct {
		Kind      string
		Metadata  struct{ Name, Description string }
		Relations []struct{ Type, TargetRef string }
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		return nil, err
	}
	// What is counted comes from the index alone.
	var page struct{ TotalItems int }
	if a, err = request(p.url+"/api/catalog/entities/by-query?limit=0&filter=kind=component&filter=kind=group", token); err != nil || json.Unmarshal([]byte(a.body), &page) != nil {
		return nil, fmt.Errorf("%s, %w", a, err)
	}
	if page.TotalItems != len(list) {
		return nil, fmt.Errorf("%d entities are listed, and %d counted", len(list), page.TotalItems)
	}
	out := map[string]string{}
	for _, e := range list {
		relations := map[string]bool{}
		for _, r := range e.Relations {
			relations[r.Type+" "+r.TargetRef] = true
		}
		out[strings.ToLower(e.Kind)+":default/"+e.Metadata.Name] = strings.TrimSpace(e.Metadata.Description + " " + strings.Join(slices.Sorted(maps.Keys(relations)), ", "))
	}
	return out, nil
}
