package scaffoldermoduleworkspaces3_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/internal/fakes3"
	scaffoldermoduleworkspaces3 "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-s3"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/workspacetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// added are the providers that the module adds.
type added map[string]scaffoldernode.WorkspaceProvider

func (a added) AddWorkspaceProvider(name string, p scaffoldernode.WorkspaceProvider) error {
	a[name] = p
	return nil
}

// provider starts a backend with the module.
func provider(t *testing.T, s3 *fakes3.Server, more map[string]any) scaffoldernode.WorkspaceProvider {
	t.Helper()
	settings := map[string]any{
		"endpoint": s3.URL, "bucket": "workspaces", "region": fakes3.Region, "prefix": "/flytower/tasks/", "forcePathStyle": true,
		"credentials": map[string]any{"accessKeyId": fakes3.AccessKey, "secretAccessKey": fakes3.SecretKey},
	}
	for key, value := range more {
		settings[key] = value
	}
	all := added{}
	backendtest.Start(t, scaffoldermoduleworkspaces3.Module, backendtest.Silent(), backendtest.Offer[scaffoldernode.WorkspacesExtensionPoint](scaffoldernode.Workspaces, all),
		backendtest.Config(map[string]any{"scaffolder": map[string]any{"taskRecovery": map[string]any{"s3": settings}}}))
	if all["s3"] == nil || all["s3"] != all["awsS3"] {
		t.Fatalf("the module adds %v", all)
	}
	return all["s3"]
}

var snapshot = scaffoldernode.WorkspaceSnapshot{TaskID: "018f3a52-0000-4000-8000-000000000001", ID: "c1"}

func TestProvider(t *testing.T) {
	t.Parallel()
	s3 := fakes3.New(t, "workspaces")
	workspacetest.Run(t, provider(t, s3, nil))
	if left := s3.Objects(); len(left) != 0 || s3.Uploads() != 0 {
		t.Errorf("%v and %d uploads are left", left, s3.Uploads())
	}
	// Archives are sent in parts, of which no more than one is in memory.
	if s3.Largest() > 9<<20 {
		t.Errorf("a request had %d bytes", s3.Largest())
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	s3 := fakes3.New(t, "workspaces")
	p := provider(t, s3, map[string]any{"serverSideEncryption": map[string]any{"type": "aws:kms", "kmsKeyId": "key-1"}})
	for _, size := range []int{10, 20 << 20} {
		if err := p.Save(t.Context(), snapshot, bytes.NewReader(make([]byte, size))); err != nil {
			t.Fatal(err)
		}
		const key = "flytower/tasks/018f3a52-0000-4000-8000-000000000001/c1.tar"
		if all := s3.Objects(); len(all) != 1 || all[0] != key {
			t.Errorf("the objects are %v", all)
		}
		if h := s3.Header(key); h.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "key-1" {
			t.Errorf("it is to be encrypted with %v", h)
		}
	}
}

// TestASaveThatFails leaves no upload that has to be paid for, and the older
// snapshot.
func TestASaveThatFails(t *testing.T) {
	t.Parallel()
	s3 := fakes3.New(t, "workspaces")
	p := provider(t, s3, nil)
	older := scaffoldernode.WorkspaceSnapshot{TaskID: snapshot.TaskID, ID: "c0"}
	if err := p.Save(t.Context(), older, strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} {
		s3.Refuse(func(asked string) *fakes3.Error {
			if asked != operation {
				return nil
			}
			return &fakes3.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Not today"}
		})
		size := 20 << 20
		if operation == "PutObject" {
			size = 10
		}
		err := p.Save(t.Context(), snapshot, bytes.NewReader(make([]byte, size)))
		if err == nil || !strings.Contains(err.Error(), "Not today") || !strings.Contains(err.Error(), "workspaces") || strings.Contains(err.Error(), fakes3.SecretKey) {
			t.Errorf("%s is refused: %v", operation, err)
		}
		s3.Refuse(nil)
		if s3.Uploads() != 0 {
			t.Errorf("%s is refused, and an upload is left", operation)
		}
	}
	r, err := p.Open(t.Context(), older)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "whole" || r.Close() != nil {
		t.Errorf("the older snapshot has %q, %v", text, err)
	}
}

// TestASaveWhoseProcessEnds leaves an upload, which goes with the task.
func TestASaveWhoseProcessEnds(t *testing.T) {
	t.Parallel()
	s3 := fakes3.New(t, "workspaces")
	p := provider(t, s3, nil)
	// The client aborts what it can: a killed one aborts nothing.
	dead := errors.New("the process has ended")
	s3.Refuse(func(operation string) *fakes3.Error {
		if operation == "AbortMultipartUpload" {
			return &fakes3.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Nobody asked for this"}
		}
		return nil
	})
	if err := p.Save(t.Context(), snapshot, io.MultiReader(bytes.NewReader(make([]byte, 17<<20)), iotest.ErrReader(dead))); !errors.Is(err, dead) {
		t.Fatalf("it ended with %v", err)
	}
	s3.Refuse(nil)
	if s3.Uploads() != 1 {
		t.Fatal("no upload is left, so this test shows nothing")
	}
	if _, err := p.Open(t.Context(), snapshot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a snapshot is opened: %v", err)
	}
	found := 0
	for kept, err := range p.List(t.Context()) {
		if err != nil || kept.TaskID != snapshot.TaskID {
			t.Errorf("the list has %v, %v", kept, err)
		}
		found++
	}
	if found != 1 {
		t.Error("nobody would remove the upload")
	}
	if err := p.Remove(t.Context(), scaffoldernode.WorkspaceSnapshot{TaskID: snapshot.TaskID}); err != nil || s3.Uploads() != 0 {
		t.Errorf("%d uploads are left: %v", s3.Uploads(), err)
	}
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	s3 := fakes3.New(t, "workspaces")
	p := provider(t, s3, map[string]any{"credentials": map[string]any{"accessKeyId": fakes3.AccessKey, "secretAccessKey": "wrong"}})
	for _, size := range []int{10, 9 << 20} {
		if err := p.Save(t.Context(), snapshot, bytes.NewReader(make([]byte, size))); err == nil || !strings.Contains(err.Error(), "signature") {
			t.Errorf("a wrong secret: %v", err)
		}
	}
	if len(s3.Objects()) != 0 {
		t.Error("it was saved")
	}
}
