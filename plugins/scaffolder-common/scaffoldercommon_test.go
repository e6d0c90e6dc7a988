package scaffoldercommon_test

import (
	"bytes"
	"encoding/json"
	"testing"

	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// TestWireForm: what the reference answers stays the same, text for text.
func TestWireForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		value any
	}{
		"task": {`{"id":"t","spec":{"apiVersion":"scaffolder.backstage.io/v1beta3","steps":[{"id":"log","name":"Log","action":"debug:log","input":{"z":1,"a":2},"if":"${{ x }}","each":["a"]}],` +
			`"EXPERIMENTAL_recovery":{"EXPERIMENTAL_strategy":"startOver"},"output":{},"parameters":{"name":"abc"},"user":{"entity":{"kind":"User"},"ref":"user:development/guest"},` +
			`"templateInfo":{"entityRef":"template:default/t1","baseUrl":"https://example.com/template.yaml","entity":{"metadata":{}}}},"status":"open","createdAt":"2026-01-02T03:04:05.678Z","createdBy":"user:development/guest"}`, &scaffoldercommon.Task{}},
		"task of a service": {`{"id":"t","spec":{"apiVersion":"scaffolder.backstage.io/v1beta3","steps":[],"output":{},"parameters":{},"user":{}},"status":"failed","createdAt":"2026-01-02T03:04:05.678Z"}`, &scaffoldercommon.Task{}},
		"log":               {`{"id":3,"isTaskRecoverable":false,"taskId":"t","body":{"message":"m","stepId":"s","status":"processing"},"type":"log","createdAt":"2026-01-02T03:04:05.678Z"}`, &scaffoldercommon.TaskEvent{}},
		"completion":        {`{"id":4,"isTaskRecoverable":true,"taskId":"t","body":{"message":"Run completed with status: failed","error":{"name":"Error","message":"m"}},"type":"completion","createdAt":"2026-01-02T03:04:05.678Z"}`, &scaffoldercommon.TaskEvent{}},
		"recovered":         {`{"id":5,"isTaskRecoverable":true,"taskId":"t","body":{"recoverStrategy":"startOver"},"type":"recovered","createdAt":"2026-01-02T03:04:05.678Z"}`, &scaffoldercommon.TaskEvent{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := json.Unmarshal([]byte(c.text), c.value); err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			enc := json.NewEncoder(&again)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(c.value); err != nil {
				t.Fatal(err)
			}
			if got := string(bytes.TrimSpace(again.Bytes())); got != c.text {
				t.Errorf("got  %s\nwant %s", got, c.text)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	for status, want := range map[scaffoldercommon.TaskStatus]bool{"open": false, "processing": false, "completed": true, "failed": true, "cancelled": true, "skipped": true} {
		if got := status.Ended(); got != want {
			t.Errorf("%s: %t", status, got)
		}
	}
	spec := scaffoldercommon.TaskSpec{Recovery: &scaffoldercommon.Recovery{Strategy: scaffoldercommon.RecoverStartOver}}
	if !spec.Recoverable() || (scaffoldercommon.TaskSpec{}).Recoverable() {
		t.Error("only tasks that start over are recoverable")
	}
}
