package permissionmoduledeclarativepolicy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

const head = "permission:\n  policy:\n"

func TestReload(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	config, update := configtest.Live(t, head+"    roles: [{name: a, members: ['*'], rules: [{allow: [x]}]}]\n")
	p := &policy{config: config, log: slog.New(slog.NewTextHandler(&log, nil)), changed: make(chan struct{}, 1)}
	set, err := p.read()
	if err != nil {
		t.Fatal(err)
	}
	p.set.Store(set)
	defer config.Subscribe(p.reload)()

	expect := func(want core.AuthorizeResult, logged string, changed bool) {
		t.Helper()
		d, err := p.Decide(t.Context(), permissionnode.Query{Permission: core.NewPermission("x", "")}, &permissionnode.User{})
		if err != nil || d.Result != want {
			t.Errorf("decided %v (%v), want %s", d, err, want)
		}
		if text := log.String(); logged == "" && text != "" || !strings.Contains(text, logged) {
			t.Errorf("logged %q, want %q", text, logged)
		}
		log.Reset()
		select {
		case <-p.changed:
			if !changed {
				t.Error("it is said to be new")
			}
		default:
			if changed {
				t.Error("it is not said to be new")
			}
		}
	}
	expect(core.Allowed, "", false)
	update("other: {key: 1}\n" + head + "    roles: [{name: a, members: ['*'], rules: [{allow: [x]}]}]\n")
	expect(core.Allowed, "", false)
	update(head + "    roles: [{name: a, members: ['*'], rules: [{deny: [x]}]}]\n")
	expect(core.Denied, "in effect", true)
	update(head + "    roles:\n      - {name: a, membres: ['*'], rules: [{allow: [x]}]}\n")
	expect(core.Denied, "app-config.yaml:4: config key \\\"permission.policy.roles[0].membres\\\" is unknown here; did you mean members?", false)
	update(head + "    shadow: true\n    roles: [{name: a, members: ['*'], rules: [{allow: [x]}]}]\n")
	expect(core.Allowed, "started again", true)
	update("other: {key: 1}\n")
	expect(core.Allowed, "the last policy stays", false)
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns what was written since it was last called.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// slowPlugins are down for a while.
type slowPlugins struct {
	core.PluginClientService

	mu    sync.Mutex
	up    time.Time
	asked int
}

func (s *slowPlugins) downFor(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = time.Now().Add(d)
}

func (s *slowPlugins) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *slowPlugins) Call(_ context.Context, r core.PluginRequest, out any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if r.Method != http.MethodGet || r.Path != metadataPath {
		return errors.New("what is that?")
	}
	if time.Now().Before(s.up) {
		return errors.New("it is down")
	}
	return json.Unmarshal([]byte(`{"permissions":[],"rules":[{"name":"R","resourceType":"`+r.Plugin+`-thing","paramsSchema":{"type":"object","required":["b"]}}]}`), out)
}

// Plugins that are down are asked again, and a new policy is compared, too.
func TestVerifierWaitsForPlugins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		config, update := configtest.Live(t, head+"    roles: [{name: a, members: ['*'], rules: [{allow: [x], resourceType: shop-thing, when: {rule: Q}}]}]\n")
		p := &policy{config: config, log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1)}
		set, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		p.set.Store(set)
		defer config.Subscribe(p.reload)()
		plugins := &slowPlugins{}
		plugins.downFor(10 * time.Second)
		v := &verifier{plugins: plugins, log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.run(ctx, p)
		}()

		time.Sleep(firstPause)
		synctest.Wait()
		if text := log.take(); text != "" || plugins.requests() != 1 {
			t.Errorf("asked %d times; %s", plugins.requests(), text)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if text := log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "did you mean R?") || !strings.Contains(text, "app-config.yaml:3") {
			t.Errorf("logged %s", text)
		}

		update(head + "    roles: [{name: a, members: ['*'], rules: [{allow: [x], resourceType: shop-thing, when: {rule: R, params: {a: 1}}}]}]\n")
		synctest.Wait()
		if text := log.take(); !strings.Contains(text, "the parameters are wrong") {
			t.Errorf("logged %s", text)
		}

		plugins.downFor(time.Hour)
		update(head + "    roles: [{name: a, members: ['*'], rules: [{allow: [x], resourceType: shop-thing, when: {rule: R, params: {b: 1}}}]}]\n")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if text := log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "could not be compared") {
			t.Errorf("logged %s", text)
		}
		cancel()
		<-done
	})
}
