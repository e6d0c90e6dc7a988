package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// What somebody waits for is not held up by sources that do not answer, nor by
// the length of the queue.
func TestInteractiveWorkWaitsForNothing(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		m := &memory{gate: make(chan struct{}), entered: make(chan string, 10_000)}
		m.open.Store("quick", true)
		m.set("quick", component("registered", "team"))
		i := start(t, db.Service, m, time.Now)
		slow, user := &provider{name: "slow"}, &provider{name: "user"}
		if err := i.engine.Connect(t.Context(), []catalognode.EntityProvider{slow, user}, true); err != nil {
			t.Fatal(err)
		}
		var many []catalognode.DeferredEntity
		for n := range 1500 {
			many = append(many, memLocation(fmt.Sprint("slow-", n)))
		}
		if _, err := slow.ApplyFull(t.Context(), all(many...)); err != nil {
			t.Fatal(err)
		}
		for range 16 { // all workers are busy
			<-m.entered
		}
		if _, err := user.ApplyDelta(t.Context(), catalognode.Delta{Added: []catalognode.DeferredEntity{memLocation("quick")}}); err != nil {
			t.Fatal(err)
		}
		registered := catalogcommon.Ref{Kind: "component", Namespace: "default", Name: "registered"}.String()
		eventually(t, "the registered entity is there", func() bool { return finals(t, db)[registered] != nil })
		close(m.gate)
	})
}
