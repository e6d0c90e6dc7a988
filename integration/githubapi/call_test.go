package githubapi_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
)

func TestCallsThatAreSentAgain(t *testing.T) {
	t.Parallel()
	const topics, issues = "/repos/acme/shop/topics", "/repos/acme/shop/issues"
	for name, test := range map[string]struct {
		call     githubapi.Call
		requests int
		lost     bool
	}{
		"PUT":                {githubapi.Call{Method: http.MethodPut, Path: topics, Body: map[string]any{"names": []string{}}}, 2, false},
		"POST":               {githubapi.Call{Method: http.MethodPost, Path: issues, Body: map[string]any{"title": "x"}}, 1, true},
		"POST that may be":   {githubapi.Call{Method: http.MethodPost, Path: issues, Body: map[string]any{"title": "x"}, Repeatable: true}, 2, false},
		"with another token": {githubapi.Call{Method: http.MethodPut, Path: topics, Body: map[string]any{"names": []string{}}, Token: core.NewToken(fakegithub.Token)}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			gh.AddGitRepository("acme", "shop", nil)
			api := host(t, gh)
			gh.FailOnly(1, fakegithub.BrokenOff)
			_, _, err := api.Call(t.Context(), test.call, nil)
			if lost := apierr.KindOf(err) == apierr.KindServiceUnavailable; lost != test.lost || !lost && err != nil {
				t.Errorf("the error is %v", err)
			}
			if n := gh.Requests(); n != test.requests {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestWhatTheHostSays(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]githubapi.ResponseError{
		`{"message":"Validation Failed","errors":[{"code":"missing"},"else"]}`: {Status: 422, Message: "Validation Failed", Errors: []string{`{"code":"missing"}`, `"else"`}},
		`{"message":"Validation Failed","errors":"why"}`:                       {Status: 422, Message: "Validation Failed", Errors: []string{"why"}},
		`<html>`: {Status: 422, Message: "the host answered with status 422"},
	} {
		gh := fakegithub.New(t)
		api := host(t, gh)
		gh.FailFrom(1, fakegithub.Failure{Status: http.StatusUnprocessableEntity, Body: body})
		_, _, err := api.Call(t.Context(), githubapi.Call{Path: "/user"}, nil)
		var got *githubapi.ResponseError
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
}
