// Package workspacetest checks that a workspace provider does what the
// scaffolder relies on.
//
//	func TestProvider(t *testing.T) {
//		workspacetest.Run(t, newProvider(t))
//	}
package workspacetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// largeArchive is more than providers should have in memory, in bytes.
const largeArchive = 20 << 20

// Run checks a provider that keeps nothing yet.
func Run(t *testing.T, p scaffoldernode.WorkspaceProvider) {
	t.Helper()
	c := check{t, p}
	const task, other = "018f3a52-0000-4000-8000-000000000001", "018f3a52-0000-4000-8000-000000000002"
	first, second := scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a1"}, scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a2"}
	elsewhere := scaffoldernode.WorkspaceSnapshot{TaskID: other, ID: "a1"}
	begun := time.Now()

	c.gone(first)
	c.list()
	c.save(first, []byte("the first"))
	c.save(elsewhere, nil)
	large := random(largeArchive)
	c.save(second, large)
	c.has(first, []byte("the first"))
	c.has(second, large)
	c.has(elsewhere, nil)
	c.list(task, other)
	for kept, err := range p.List(t.Context()) {
		if err != nil || kept.Saved.Before(begun.Add(-time.Minute)) || kept.Saved.After(time.Now().Add(time.Minute)) {
			t.Errorf("the workspace of %s was saved at %v, %v", kept.TaskID, kept.Saved, err)
		}
		break // nothing has to be read to its end
	}

	// A save that comes to no end.
	broken := errors.New("the disk is on fire")
	third := scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a3"}
	for _, half := range []int{0, 10, largeArchive / 2} {
		archive := io.MultiReader(bytes.NewReader(large[:half]), iotest.ErrReader(broken))
		if err := p.Save(t.Context(), third, archive); !errors.Is(err, broken) {
			t.Errorf("an archive that ends after %d bytes: %v", half, err)
		}
		c.gone(third)
	}
	c.has(second, large)

	// Half an archive is read.
	r, err := p.Open(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	c.remove(first)
	c.gone(first)
	c.has(second, large)
	c.remove(first)
	c.remove(scaffoldernode.WorkspaceSnapshot{TaskID: task})
	c.gone(second)
	c.has(elsewhere, nil)
	c.list(other)
	c.remove(scaffoldernode.WorkspaceSnapshot{TaskID: other})
	c.remove(scaffoldernode.WorkspaceSnapshot{TaskID: other})
	c.list()
}

// random returns bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	if _, err := source.Read(b); err != nil {
		panic(err) // it has no errors
	}
	return b
}

type check struct {
	t *testing.T
	p scaffoldernode.WorkspaceProvider
}

func (c check) save(s scaffoldernode.WorkspaceSnapshot, archive []byte) {
	c.t.Helper()
	// A reader of an archive knows neither its length nor how to go back.
	if err := c.p.Save(c.t.Context(), s, iotest.HalfReader(bytes.NewReader(archive))); err != nil {
		c.t.Fatalf("save %v: %v", s, err)
	}
}

func (c check) has(s scaffoldernode.WorkspaceSnapshot, want []byte) {
	c.t.Helper()
	r, err := c.p.Open(c.t.Context(), s)
	if err != nil {
		c.t.Fatalf("open %v: %v", s, err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		c.t.Fatalf("read %v: %v", s, err)
	}
	if !bytes.Equal(got, want) {
		c.t.Errorf("%v has %d bytes that are not the %d which were saved", s, len(got), len(want))
	}
}

func (c check) gone(s scaffoldernode.WorkspaceSnapshot) {
	c.t.Helper()
	r, err := c.p.Open(c.t.Context(), s)
	if err == nil {
		_, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.t.Errorf("open %v, which is not there: %v", s, err)
	}
}

func (c check) remove(s scaffoldernode.WorkspaceSnapshot) {
	c.t.Helper()
	if err := c.p.Remove(c.t.Context(), s); err != nil {
		c.t.Errorf("remove %v: %v", s, err)
	}
}

// list compares the tasks of which something is kept.
func (c check) list(want ...string) {
	c.t.Helper()
	found := map[string]bool{}
	for kept, err := range c.p.List(c.t.Context()) {
		if err != nil {
			c.t.Fatalf("list: %v", err)
		}
		found[kept.TaskID] = true
	}
	for _, id := range want {
		if !found[id] {
			c.t.Errorf("the list has not %s", id)
		}
	}
	if len(found) != len(want) {
		c.t.Errorf("the list has %v, not %v", found, want)
	}
}
