package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/fakes3"
	"github.com/flytower/flytower/internal/testdb"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// meetingURL is the environment variable with the address at which
// [meet] asks whether it may go on.
const meetingURL = "E2E_MEETING"

// meet appends to a file of the workspace, once for a checkpoint and once
// without, and waits in between until it is told to go on.
var meet = scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "e2e:meet"}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
	Text string `json:"text"`
}, err error) {
	add := func(text string) error {
		file, err := c.Workspace.OpenFile("moved/met.txt", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return err
		}
		if _, err := file.WriteString(text); err != nil {
			return err
		}
		return file.Close()
	}
	if _, err := scaffoldernode.Checkpoint(ctx, c, "first", func(context.Context) (bool, error) { return true, add("first ") }); err != nil {
		return out, err
	}
	if err := add(fmt.Sprint("by ", os.Getpid())); err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv(meetingURL)+"?pid="+url.QueryEscape(strconv.Itoa(os.Getpid())), nil)
	if err != nil {
		return out, err
	}
	resp, err := network.Do(req)
	if err != nil {
		return out, err
	}
	if err := resp.Body.Close(); err != nil {
		return out, err
	}
	text, err := c.Workspace.ReadFile("moved/met.txt")
	out.Text = string(text)
	return out, err
})

// meeting has the action [meet].
var meeting = backend.NewModule("scaffolder", "meeting", func(env *backend.ModuleEnv) backend.InitFunc {
	actions := scaffoldernode.Actions.From(env)
	return func(context.Context) error { return actions().AddActions(meet) }
})

const movingTemplate = `apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: moving}
spec:
  type: service
  steps:
    - {id: write, name: Write, action: 'catalog:write', input: {entity: {apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: moved}}, filePath: draft.yaml}}
    - {id: move, name: Move, action: 'fs:rename', input: {files: [{from: draft.yaml, to: moved/entity.yaml}]}}
    - {id: meet, name: Meet, action: 'e2e:meet'}
    - {id: list, name: List, action: 'fs:readdir', input: {paths: [.], recursive: true}}
  output:
    met: ${{ steps.meet.output.text }}
    files: ${{ steps.list.output.files | pick('[0].path') }} ${{ steps.list.output.files | pick('[1].path') }} ${{ steps.list.output.files | pick('[2].path') }}
`

// A replica is killed in the midst of a step. The other one, which has another
// folder for workspaces, goes on with the files that the first one had at the
// last checkpoint.
func TestAnotherReplicaGoesOnWithTheFiles(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"database", "directory", "s3"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			db := testdb.NewPostgres(t)
			shared := t.TempDir()
			store := fakes3.New(t, "workspaces")
			visits := make(chan int)
			goOn := make(chan struct{})
			host := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				pid, _ := strconv.Atoi(r.FormValue("pid")) //nolint:errcheck // 0 is no process
				select {
				case visits <- pid:
				case <-r.Context().Done():
					return
				}
				select {
				case <-goOn:
				case <-r.Context().Done():
				}
			}))
			t.Cleanup(host.Close)
			replicas := map[int]*process{}
			for range 2 {
				p := launch(t, setup{
					added: "meeting", env: []string{meetingURL + "=" + host.URL}, args: []string{"--plugins", "catalog,scaffolder"},
					files: map[string]string{"template.yaml": movingTemplate},
					config: settings(postgres(db.DSN) + fmt.Sprintf(`
  workingDirectory: %q
catalog:
  rules: [{allow: [Template]}]
  locations: [{type: file, target: ./template.yaml}]
scaffolder:
  taskRecovery:
    enabled: true
    staleTimeout: {seconds: 2}
    workspaceProvider: %s
    directory: {path: %q}
    s3: {endpoint: %q, region: %s, bucket: workspaces, prefix: tasks, credentials: {accessKeyId: %s, secretAccessKey: %s}}
`, t.TempDir(), provider, shared, store.URL, fakes3.Region, fakes3.AccessKey, fakes3.SecretKey)),
				})
				replicas[p.cmd.Process.Pid] = p
			}
			var any *process
			for _, p := range replicas {
				any = p.ready()
			}
			eventually(t, "the template", func() error {
				if a := any.get("/api/catalog/entities/by-name/template/default/moving", token); a.status != http.StatusOK {
					return fmt.Errorf("%s", a)
				}
				return nil
			})
			id := createTask(t, any, "template:default/moving")
			first := visitor(t, visits)
			if n := kept(t, provider, db, shared, store); n == 0 {
				t.Error("nothing is kept of the workspace, so this test shows nothing")
			}
			replicas[first].kill()
			delete(replicas, first)
			second := visitor(t, visits)
			if replicas[second] == nil {
				t.Fatalf("the task goes on in the process %d", second)
			}
			close(goOn)
			var task task
			eventually(t, "the end of the task", func() error {
				replicas[second].decode("/api/scaffolder/v2/tasks/"+id, token, &task)
				if !task.ended() {
					return fmt.Errorf("it is %s", task.Status)
				}
				return nil
			})
			var events []struct {
				Body struct {
					Message string
					Output  struct{ Met, Files string }
				}
			}
			replicas[second].decode("/api/scaffolder/v2/tasks/"+id+"/events", token, &events)
			end := events[len(events)-1].Body
			if want := fmt.Sprint("first by ", second); task.Status != "completed" || end.Output.Met != want || end.Output.Files != "moved/entity.yaml moved/met.txt " {
				t.Errorf("the task is %s: %+v\nwant %q", task.Status, end, want)
			}
			if n := kept(t, provider, db, shared, store); n != 0 {
				t.Errorf("%d parts of the workspace are kept after the end", n)
			}
		})
	}
}

// visitor waits for a process with the step that waits.
func visitor(t *testing.T, visits <-chan int) int {
	t.Helper()
	select {
	case pid := <-visits:
		return pid
	case <-time.After(patience):
		t.Fatalf("nobody comes to the step that waits within %s", patience)
		return 0
	}
}

func createTask(t *testing.T, p *process, ref string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/api/scaffolder/v2/tasks", strings.NewReader(fmt.Sprintf(`{"templateRef":%q,"values":{}}`, ref)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := network.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("create a task: %s, %v", resp.Status, err)
	}
	return made.ID
}

// kept counts what a provider keeps.
func kept(t *testing.T, provider string, db *testdb.Database, dir string, store *fakes3.Server) (n int) {
	t.Helper()
	switch provider {
	case "database":
		if err := db.DB.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM scaffolder.scaffolder_workspace_chunk) + (SELECT count(*) FROM scaffolder.scaffolder_workspace_snapshot)`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	case "directory":
		all, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		n = len(all)
	case "s3":
		n = len(store.Objects()) + store.Uploads()
	}
	return n
}
