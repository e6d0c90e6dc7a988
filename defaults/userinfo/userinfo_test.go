package userinfo_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/userinfo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authPlugin answers for the auth plugin.
type authPlugin struct {
	core.PluginClientService
	calls  atomic.Int32
	answer func(r core.PluginRequest) (any, error)
}

func (a *authPlugin) Call(_ context.Context, r core.PluginRequest, out any) error {
	a.calls.Add(1)
	v, err := a.answer(r)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func user(claims map[string]any) core.Credentials {
	payload, _ := json.Marshal(claims)
	token := "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
	return core.UserCredentials("user:default/jane", "", core.NewToken(token), time.Time{}, false)
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	jane := map[string]any{"sub": "user:default/jane"}
	for name, c := range map[string]struct {
		who    core.Credentials
		answer any
		err    error
		want   []string
		kind   apierr.Kind
		calls  int32
	}{
		"in the token":            {who: user(map[string]any{"sub": "user:default/jane", "ent": []string{"group:default/a"}}), want: []string{"group:default/a"}},
		"empty in the token":      {who: user(map[string]any{"sub": "user:default/jane", "ent": []string{}}), want: []string{}},
		"from the auth plugin":    {who: user(jane), answer: map[string]any{"claims": map[string]any{"sub": "x", "ent": []string{"group:default/b"}}}, want: []string{"group:default/b"}, calls: 1},
		"answer without ent":      {who: user(jane), answer: map[string]any{"claims": map[string]any{"sub": "x"}}, kind: apierr.KindError, calls: 1},
		"answer with text as ent": {who: user(jane), answer: map[string]any{"claims": map[string]any{"ent": "group:default/b"}}, kind: apierr.KindError, calls: 1},
		"answer with odd ent":     {who: user(jane), answer: map[string]any{"claims": map[string]any{"ent": []any{1}}}, kind: apierr.KindError, calls: 1},
		"refused":                 {who: user(jane), err: apierr.NotFound("no such user"), kind: apierr.KindNotFound, calls: 1},
		"odd ent in the token":    {who: user(map[string]any{"sub": "x", "ent": 7}), kind: apierr.KindError},
		"no subject":              {who: user(map[string]any{}), kind: apierr.KindError},
		"no token":                {who: core.UserCredentials("user:default/jane", "", core.Token{}, time.Time{}, false), kind: apierr.KindError},
		"token of stone":          {who: core.UserCredentials("user:default/jane", "", core.NewToken("stone"), time.Time{}, false), kind: apierr.KindError},
		"service":                 {who: core.ServiceCredentials("x", core.NewToken("y"), nil, nil), kind: apierr.KindError},
		"nobody":                  {who: core.NoCredentials(), kind: apierr.KindError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugin := &authPlugin{answer: func(r core.PluginRequest) (any, error) {
				want := core.PluginRequest{Plugin: "auth", Method: "GET", Path: "/v1/userinfo", Header: http.Header{"Authorization": {"Bearer " + c.who.Token().Reveal()}}}
				if d := cmp.Diff(want, r, cmp.AllowUnexported(core.Credentials{}, core.Token{})); d != "" {
					t.Errorf("request:\n%s", d)
				}
				return c.answer, c.err
			}}
			got, err := userinfo.New(plugin, userinfo.NewCache()).UserInfo(t.Context(), c.who)
			if apierr.KindOf(err) != c.kind {
				t.Fatalf("error %v, want %q", err, c.kind)
			}
			if d := cmp.Diff(c.want, got.OwnershipEntityRefs); err == nil && (d != "" || got.UserEntityRef != "user:default/jane") {
				t.Errorf("got %+v:\n%s", got, d)
			}
			if n := plugin.calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
		})
	}
}

func TestAnswersAreSharedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plugin := &authPlugin{answer: func(core.PluginRequest) (any, error) {
			time.Sleep(time.Millisecond)
			return map[string]any{"claims": map[string]any{"ent": []string{"group:default/a"}}}, nil
		}}
		cache := userinfo.NewCache()
		one, two := userinfo.New(plugin, cache), userinfo.New(plugin, cache)
		jane, joe := user(map[string]any{"sub": "user:default/jane"}), user(map[string]any{"sub": "user:default/joe"})
		ask := func(s core.UserInfoService, who core.Credentials) {
			info, err := s.UserInfo(t.Context(), who)
			if err != nil || len(info.OwnershipEntityRefs) != 1 || info.OwnershipEntityRefs[0] != "group:default/a" {
				t.Errorf("got %+v, %v", info, err)
				return
			}
			info.OwnershipEntityRefs[0] = "group:default/changed-by-a-caller"
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { ask(one, jane) })
			all.Go(func() { ask(two, jane) })
		}
		all.Wait()
		ask(two, joe)
		if n := plugin.calls.Load(); n != 2 {
			t.Errorf("%d calls for two users", n)
		}
		time.Sleep(5 * time.Second)
		ask(one, jane)
		if n := plugin.calls.Load(); n != 3 {
			t.Errorf("%d calls after five seconds", n)
		}
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	plugin := &authPlugin{}
	plugin.answer = func(core.PluginRequest) (any, error) {
		if plugin.calls.Load() == 1 {
			return nil, fmt.Errorf("the auth plugin is away")
		}
		return map[string]any{"claims": map[string]any{"ent": []string{}}}, nil
	}
	s := userinfo.New(plugin, userinfo.NewCache())
	jane := user(map[string]any{"sub": "user:default/jane"})
	if _, err := s.UserInfo(t.Context(), jane); err == nil {
		t.Error("no error")
	}
	if _, err := s.UserInfo(t.Context(), jane); err != nil {
		t.Error(err)
	}
}
