package scaffolderbackend_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

func TestKeysOfSecretsRotate(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		var told []string
		action := withActions(act("test:tell", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			told = append(told, c.Secrets["word"].Reveal())
			return nil
		}))
		const spec = `"steps":[{"id":"t","name":"T","action":"test:tell"}]`
		keys := func(limit int, keys ...string) backend.Feature {
			return conf(map[string]any{"concurrentTasksLimit": limit, "taskSecrets": map[string]any{"keys": keys}})
		}
		first := open(t, database, spec, action, keys(0, "the old key"))
		path := create(first.Client(t), map[string]any{}, map[string]any{"word": "open sesame"})
		old := column(t, first, "secrets")
		second := open(t, database, spec, action, keys(1, "the new key", "the old key"))
		if e := end(t, second.Client(t), path); e.Body.Error.Message != "" || !cmp.Equal(told, []string{"open sesame"}) {
			t.Errorf("with both keys it was told %q, and ends with %+v", told, e)
		}
		must(t, second.Stop())
		idle := open(t, database, spec, action, keys(0, "the new key", "the old key"))
		c := idle.Client(t)
		c.Post(path+"/retry", map[string]any{"secrets": map[string]any{"word": "once more"}}).Expect(http.StatusCreated)
		if now := column(t, idle, "secrets"); strings.Split(now, ".")[1] == strings.Split(old, ".")[1] {
			t.Errorf("the old key seals: %s, %s", old, now)
		}
		third := open(t, database, spec, action, keys(1, "a third key"))
		if e := end(t, third.Client(t), path); !strings.Contains(e.Body.Error.Message, "not configured any more") || len(told) != 1 {
			t.Errorf("without the keys it was told %q, and ends with %+v", told, e)
		}
	})
}

// TestStateWithSecretsIsSealed keeps a secret in an output and in a checkpoint.
func TestStateWithSecretsIsSealed(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		runs := 0
		action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:derive"}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
			URL string `json:"url"`
		}, err error) {
			out.URL, err = scaffoldernode.Checkpoint(ctx, c, "url", func(context.Context) (string, error) {
				runs++
				return "https://x:" + c.Secrets["word"].Reveal() + "@host", nil
			})
			return out, err
		})
		s := open(t, database, `"steps":[{"id":"a","action":"test:derive"},{"id":"b","action":"fs:delete","input":{"files":["../${{ steps.a.output.url }}"]}}]`, withActions(action))
		c := s.Client(t)
		path := create(c, map[string]any{}, map[string]any{"word": "open-sesame"})
		end(t, c, path)
		db, err := backendtest.Service(t, s, "scaffolder", core.Database).DB(t.Context())
		must(t, err)
		rows, err := db.QueryContext(t.Context(), `SELECT kind, value FROM scaffolder_task_state ORDER BY kind, key`)
		must(t, err)
		defer rows.Close()
		var kinds []string
		for rows.Next() {
			var kind, value string
			must(t, rows.Scan(&kind, &value))
			kinds = append(kinds, kind)
			if strings.Contains(value, "sesame") || !strings.Contains(value, "$sealed") {
				t.Errorf("the %s is kept as %s", kind, value)
			}
		}
		must(t, rows.Err())
		if !cmp.Equal(kinds, []string{"checkpoint", "step"}) {
			t.Errorf("kept are %v", kinds)
		}
		c.Post(path+"/retry", map[string]any{"secrets": map[string]any{"word": "open-sesame"}}).Expect(http.StatusCreated)
		if end(t, c, path); runs != 1 {
			t.Errorf("the checkpoint was made %d times", runs)
		}
	})
}

func TestSecretsAreHiddenInEveryForm(t *testing.T) {
	t.Parallel()
	const secret = "pa\"ss/wörd+&1"
	const key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END KEY-----\n"
	quoted, err := json.Marshal(secret)
	must(t, err)
	forms := []string{
		secret, string(quoted), url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(key)),
	}
	action := act("test:leak", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
		for _, form := range forms {
			c.Logger.InfoContext(ctx, "in the message "+form, "attribute", form)
		}
		c.Logger.ErrorContext(ctx, "as a whole: "+key)
		for line := range strings.Lines(key) { // as tools print it
			c.Logger.WarnContext(ctx, line)
		}
		out := c.LogWriter(ctx) // in parts, as they come out of a pipe
		for i := 0; i < len(secret); i += 3 {
			fmt.Fprint(out, secret[i:min(i+3, len(secret))])
		}
		if err := out.Close(); err != nil {
			return err
		}
		return errors.New("no way in with " + secret)
	})
	s := open(t, backendtest.SQLite(t), `"steps":[{"id":"l","name":"L","action":"test:leak"}]`, withActions(action))
	c := s.Client(t)
	path := create(c, map[string]any{}, map[string]any{"word": secret, "key": key})
	all := follow(t, c, path)
	raw := text(all)
	for _, part := range []string{"wörd", url.QueryEscape("wörd"), "MIIEvQ", "AASCBK", base64.StdEncoding.EncodeToString([]byte(secret))[4:12], base64.StdEncoding.EncodeToString([]byte(key[30:45]))} {
		if strings.Contains(raw, part) {
			t.Errorf("%q is in %s", part, transcript(all))
		}
	}
	if n := strings.Count(raw, "***"); n < 2*len(forms)+5 {
		t.Errorf("only %d places are hidden:\n%s", n, transcript(all))
	}
}
