package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
)

// listen runs Listen of another store until the test ends, and returns what
// receives when it heard something, and when it lost its connection.
func listen(t *testing.T, w *world) (heard chan struct{}, lost chan error) {
	t.Helper()
	heard, lost = make(chan struct{}, 100), make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	other := w.another()
	running.Go(func() {
		if err := other.Listen(ctx, func() { heard <- struct{}{} }, func(err error, _ time.Duration) { lost <- err }); err != nil {
			t.Errorf("Listen: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return heard, lost
}

func TestInstancesHearOfEachOther(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	w, ctx := leafWorld(t, db), t.Context()
	heard, lost := listen(t, w)
	<-heard // it is connected
	w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p"}})
	<-heard
	w.step(t, ctx, 10)
	<-heard

	if _, err := db.DB.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"); err != nil {
		t.Fatal(err)
	}
	if err := <-lost; err == nil {
		t.Error("the connection was lost without a reason")
	}
	<-heard // it is connected again
	w.full(t, ctx, "p", nil)
	<-heard
}

func TestNobodyListensOnSQLite(t *testing.T) {
	t.Parallel()
	w := leafWorld(t, testdb.NewSQLite(t))
	if err := w.store.Listen(t.Context(), func() { t.Error("it heard something") }, func(error, time.Duration) {}); err != nil {
		t.Error(err)
	}
}
