package permissionbackend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
)

// stubShelf is a plugin that answers as it is told.
func stubShelf(status int, answer string, saw func(body string, who core.Credentials)) backend.Feature {
	return backend.NewPlugin("shelf", func(env *backend.PluginEnv) backend.InitFunc {
		router, auth := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
		return func(context.Context) error {
			router().HandleErr("POST /.well-known/backstage/permissions/apply-conditions", func(w http.ResponseWriter, r *http.Request) error {
				who, err := auth().Credentials(r, core.Allow{User: true, Service: true})
				if err != nil {
					return err
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return err
				}
				saw(string(body), who)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, err = io.WriteString(w, answer)
				return err
			})
			return nil
		}
	})
}

func TestApplyConditions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		answer string
		want   int
		says   string
	}{
		{"results", 200, `{"items":[{"id":"1","result":"ALLOW"},{"id":"2","result":["DENY","ALLOW"]}],"more":1}`, 200, `{"items":[{"id":"1","result":"ALLOW"},{"id":"2","result":["DENY","ALLOW"]}]}`},
		{"too few items", 200, `{"items":[{"id":"1","result":"ALLOW"}]}`, 500, ""},
		{"too many items", 200, `{"items":[{"id":"1","result":"ALLOW"},{"id":"2","result":["ALLOW","ALLOW"]},{"id":"3","result":"ALLOW"}]}`, 500, ""},
		{"another order", 200, `{"items":[{"id":"2","result":["ALLOW","ALLOW"]},{"id":"1","result":"ALLOW"}]}`, 500, ""},
		{"too few results", 200, `{"items":[{"id":"1","result":"ALLOW"},{"id":"2","result":["ALLOW"]}]}`, 500, ""},
		{"a result for a list", 200, `{"items":[{"id":"1","result":"ALLOW"},{"id":"2","result":"ALLOW"}]}`, 500, ""},
		{"a list for one", 200, `{"items":[{"id":"1","result":["ALLOW"]},{"id":"2","result":["ALLOW","ALLOW"]}]}`, 500, ""},
		{"a conditional result", 200, `{"items":[{"id":"1","result":"CONDITIONAL"},{"id":"2","result":["ALLOW","ALLOW"]}]}`, 500, ""},
		{"no result", 200, `{"items":[{"id":"1"},{"id":"2"}]}`, 500, ""},
		{"no items", 200, `{}`, 500, ""},
		{"no JSON", 200, `<html>`, 500, ""},
		{"an error", 400, `{"error":{"name":"InputError","message":"no such rule"},"response":{"statusCode":400}}`, 400, "no such rule"},
		{"an error of another kind", 418, `short and stout`, 418, "short and stout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var body string
			var who core.Credentials
			srv := backendtest.Start(t, permissionbackend.Plugin, policyModule(decide), backendtest.Silent(),
				stubShelf(tt.status, tt.answer, func(b string, w core.Credentials) { body, who = b, w }))
			answer := srv.Client(t).As(backendtest.User("user:default/jane")).
				Post("/api/permission/authorize", items(item("1", "by:austen", `"emma"`), item("2", "by:joyce", `["emma","ulysses"]`))).Expect(tt.want).Text()
			if !strings.Contains(answer, tt.says) || tt.want != http.StatusOK && strings.Contains(answer, `"result"`) {
				t.Errorf("got %s, want %s", answer, tt.says)
			}
			const conditions = `"result":"CONDITIONAL","pluginId":"shelf","resourceType":"book","conditions":{"rule":"IS_AUTHOR","resourceType":"book","params":`
			want := `{"items":[{"id":"1","resourceRef":"emma",` + conditions + `{"name":"austen"}}},{"id":"2","resourceRef":["emma","ulysses"],` + conditions + `{"name":"joyce"}}}]}`
			if strings.TrimSpace(body) != want {
				t.Errorf("the plugin got\n%s\nwant\n%s", body, want)
			}
			if who.Principal.UserEntityRef != "user:default/jane" || who.Principal.Actor != "plugin:permission" {
				t.Errorf("the plugin was asked by %s", who)
			}
		})
	}
}

// A plugin that takes small requests only, as those in Node do, gets several.
func TestLargeRequestsAreSplit(t *testing.T) {
	t.Parallel()
	var requests, refused calls
	small := backend.NewPlugin("shelf", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleErr("POST /.well-known/backstage/permissions/apply-conditions", func(w http.ResponseWriter, r *http.Request) error {
				type item struct {
					ID     string               `json:"id"`
					Ref    string               `json:"resourceRef,omitempty"`
					Result core.AuthorizeResult `json:"result"`
				}
				var body struct {
					Items []item `json:"items"`
				}
				if err := jsonbody.Require(r, &body, 1000); err != nil {
					refused.add("too large")
					return err
				}
				for i := range body.Items {
					requests.add(body.Items[i].Ref)
					if body.Items[i].Result = core.Denied; strings.HasSuffix(body.Items[i].Ref, "7") {
						body.Items[i].Result = core.Allowed
					}
					body.Items[i].Ref = ""
				}
				apierr.WriteJSON(w, http.StatusOK, body)
				return nil
			})
			return nil
		}
	})
	srv := backendtest.Start(t, permissionbackend.Plugin, policyModule(decide), small, backendtest.Silent())
	var all []string
	for i := range 50 {
		all = append(all, item(strconv.Itoa(i), "by:austen", fmt.Sprintf(`"book%d"`, i)))
	}
	var answer struct {
		Items []struct {
			ID     string
			Result core.AuthorizeResult
		}
	}
	text := srv.Client(t).As(backendtest.User("")).Post("/api/permission/authorize", items(all...)).Expect(200).Body
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	for i, one := range answer.Items {
		if want := map[bool]core.AuthorizeResult{true: core.Allowed, false: core.Denied}[i%10 == 7]; one.ID != strconv.Itoa(i) || one.Result != want {
			t.Errorf("item %d: %+v", i, one)
		}
	}
	if n := len(requests.take()); n != 50 || len(answer.Items) != 50 || len(refused.take()) == 0 {
		t.Errorf("the plugin was asked about %d books", n)
	}
	// One item that is too large by itself is an error.
	srv.Client(t).As(backendtest.User("")).Post("/api/permission/authorize", items(item("1", "by:austen", `"`+strings.Repeat("x", 1000)+`"`), item("2", "by:austen", `"x"`))).Expect(413)
}
