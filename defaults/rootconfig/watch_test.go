package rootconfig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/defaults/rootconfig"
)

// follow watches a configuration until the test ends. The channel receives
// the value of v after each change.
func follow(t *testing.T, root *rootconfig.Root) <-chan string {
	t.Helper()
	changes := make(chan string, 100)
	root.Subscribe(func() {
		v, _ := root.StringOr("v", "")
		changes <- v
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- root.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return changes
}

// await fails the test if the next change is another one.
func await(t *testing.T, changes <-chan string, want string) {
	t.Helper()
	select {
	case got := <-changes:
		if got != want {
			t.Fatalf("v = %q, want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the change to %q was not noticed", want)
	}
}

// logs collects messages.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
	got  chan string
}

func (l *logs) Write(line []byte) (int, error) {
	var record struct{ Msg string }
	if err := json.Unmarshal(line, &record); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.text.Write(line)
	l.mu.Unlock()
	l.got <- record.Msg
	return len(line), nil
}

func TestWatch(t *testing.T) {
	t.Parallel()
	replace := func(t *testing.T, path, text string) {
		t.Helper()
		temp := path + ".tmp"
		if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, path); err != nil {
			t.Fatal(err)
		}
	}
	for name, poll := range map[string]time.Duration{"events": time.Hour, "polling": 5 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			main, local := filepath.Join(dir, "app-config.yaml"), filepath.Join(dir, "app-config.local.yaml")
			secret := filepath.Join(dir, "secrets", "v.txt")
			write(t, dir, map[string]string{"app-config.yaml": "v: first", "secrets/v.txt": "from file"})
			root, err := load(t, dir, rootconfig.Options{PollInterval: poll})
			if err != nil {
				t.Fatal(err)
			}
			out := &logs{got: make(chan string, 1000)}
			root.SetLogger(slog.New(slog.NewJSONHandler(out, nil)))
			changes := follow(t, root)

			replace(t, main, "v: second")
			await(t, changes, "second")
			write(t, dir, map[string]string{"app-config.local.yaml": "v: local"})
			await(t, changes, "local")
			if err := os.Remove(local); err != nil {
				t.Fatal(err)
			}
			await(t, changes, "second")
			replace(t, main, "v: {$file: secrets/v.txt}")
			await(t, changes, "from file")
			replace(t, secret, "changed file")
			await(t, changes, "changed file")

			awaitLog := func(want string) {
				t.Helper()
				for {
					select {
					case got := <-out.got:
						if got == want {
							return
						}
					case <-time.After(30 * time.Second):
						t.Fatalf("%q was not logged", want)
					}
				}
			}
			replace(t, main, "v: [")
			awaitLog("The configuration cannot be reloaded, the last good one stays in use")
			if v, err := root.String("v"); v != "changed file" || err != nil {
				t.Errorf("after a broken edit v = %q, %v", v, err)
			}
			replace(t, main, "v: {$file: secrets/v.txt}")
			awaitLog("The configuration is readable again")
			if err := os.Remove(main); err != nil {
				t.Fatal(err)
			}
			awaitLog("The configuration cannot be reloaded, the last good one stays in use")
			replace(t, main, "v: returned")
			await(t, changes, "returned")
		})
	}
}

// TestWatchSymlinkSwap does what Kubernetes does when a ConfigMap changes.
func TestWatchSymlinkSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"..1/app-config.yaml": "v: one", "..2/app-config.yaml": "v: two", "..3/app-config.yaml": "v: three"})
	link := func(target, name string) {
		t.Helper()
		temp := filepath.Join(dir, name+".tmp")
		if err := os.Symlink(target, temp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/app-config.yaml", "app-config.yaml")
	root, err := load(t, dir, rootconfig.Options{PollInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	changes := follow(t, root)
	link("..2", "..data")
	await(t, changes, "two")
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	link("..3", "..data")
	await(t, changes, "three")
}

func TestSecretsAccumulate(t *testing.T) {
	t.Parallel()
	schema, err := rootconfig.MergeSchemas(configschema.Source{
		Owner: "plugin x", Value: json.RawMessage(`{"properties":{"x":{"properties":{"key":{"type":"string","visibility":"secret"}}}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	set := func(key string) rootconfig.Layer {
		return rootconfig.Map("static", map[string]any{
			"x": map[string]any{"key": key},
			"backend": map[string]any{"database": map[string]any{
				"connection": map[string]any{"host": "db", "password": "pw-1"},
				"plugin":     map[string]any{"catalog": map[string]any{"connection": "postgres://u:pw@h/d"}},
			}},
		})
	}
	root := rootconfig.New(set("k1"))
	told := 0
	root.OnSecrets(func() { told++ })
	root.SetSchema(schema)
	root.Set(set("k2"))
	root.Set(set("k1"))
	if diff := cmp.Diff([]string{"pw-1", "postgres://u:pw@h/d", "k1", "k2"}, root.Secrets()); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if told != 2 {
		t.Errorf("told %d times, want 2", told)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app-config.yaml": "v: one"})
	root, err := load(t, dir, rootconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"app-config.yaml": "v: two"})
	if err := root.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	write(t, dir, map[string]string{"app-config.yaml": "v: ["})
	if got := errorText(root.Reload(t.Context()), dir); got != "app-config.yaml:2: is not valid YAML: did not find expected node content while parsing a flow node" {
		t.Errorf("error = %s", got)
	}
	if v, err := root.String("v"); v != "two" || err != nil {
		t.Errorf("v = %q, %v", v, err)
	}
	if err := rootconfig.Static(nil).Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWatchWithoutFiles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := rootconfig.Static(nil).Watch(ctx); err != nil {
		t.Error(err)
	}
}
