package scaffolderbackend_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// TestSecretsThatActionsCreate are the same after a retry, and neither in the
// log nor readable in the database.
func TestSecretsThatActionsCreate(t *testing.T) {
	t.Parallel()
	const secret = "glpat-created-7"
	type output struct {
		Token string `json:"token"`
	}
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		created, runs := 0, 0 // of the steps issue and second
		issue := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:issue"}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (output, error) {
			token, err := scaffoldernode.SecretCheckpoint(ctx, c, "token", func(context.Context) (core.Token, error) {
				created++
				return core.NewToken(secret), nil
			})
			if runs++; runs == 1 && err == nil {
				err = errors.New("the first run ends with " + token.Reveal())
			}
			return output{token.Reveal()}, err
		})
		fail := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:second"}, func(_ context.Context, _ *scaffoldernode.ActionContext, in output) (out struct{}, err error) {
			if runs++; runs < 5 {
				err = errors.New("not yet: " + in.Token)
			}
			return out, err
		})
		spec := `"steps":[
			{"id":"issue","name":"Issue","action":"test:issue"},
			{"id":"say","name":"Say","action":"debug:log","input":{"message":"it is ${{ steps.issue.output.token }}"}},
			{"id":"second","name":"Second","action":"test:second","input":{"token":"${{ steps.issue.output.token }}"}}],
			"output":{"same":"${{ steps.issue.output.token == 'glpat-created-7' }}"}`
		s := open(t, database, spec, withActions(issue, fail), backendtest.Config(map[string]any{"scaffolder": map[string]any{"taskRecovery": map[string]any{"enabled": true}}}))
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		follow(t, c, path)
		for range 3 {
			c.Post(path+"/retry", map[string]any{}).Expect(http.StatusCreated)
			all := follow(t, c, path)
			if log := transcript(all); strings.Contains(log, "glpat") || !strings.Contains(log, "***") {
				t.Errorf("the log is\n%s", log)
			}
			if end := all[len(all)-1].Body; runs == 5 && string(end.Output) != `{"same":true}` {
				t.Errorf("it ended with %s", end.Output)
			}
			for _, value := range stateValues(t, s) {
				if strings.Contains(value, "glpat") {
					t.Errorf("the database has %s", value)
				}
			}
		}
		if created != 1 || runs != 5 {
			t.Errorf("%d secrets were created in %d runs", created, runs)
		}
	})
}

func stateValues(t *testing.T, s *backendtest.Server) (values []string) {
	t.Helper()
	db, err := backendtest.Service(t, s, "scaffolder", core.Database).DB(t.Context())
	must(t, err)
	rows, err := db.QueryContext(t.Context(), "SELECT value FROM scaffolder_task_state")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var value sql.NullString
		must(t, rows.Scan(&value))
		values = append(values, value.String)
	}
	must(t, rows.Err())
	if len(values) == 0 {
		t.Error("no state was kept")
	}
	return values
}
