package scheduler_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/defaults/scheduler"
	"github.com/flytower/flytower/internal/testdb"
)

// The tests run this binary once more as instances that they kill. An instance
// runs a task of an hour, or a short one again and again, and tells about
// every run.
const (
	replicaDialect = "FLYTOWER_SCHEDULER_DIALECT"
	replicaDSN     = "FLYTOWER_SCHEDULER_DSN"
	replicaRun     = "FLYTOWER_SCHEDULER_RUN"
	replicaLease   = "FLYTOWER_SCHEDULER_LEASE"
)

func TestReplicaProcess(t *testing.T) {
	dsn := os.Getenv(replicaDSN)
	if dsn == "" {
		return // it is a test only in the process of another
	}
	driver, dialect := "pgx", core.PostgreSQL
	if os.Getenv(replicaDialect) == string(core.SQLite) {
		driver, dialect = "sqlite", core.SQLite
		dsn = "file:" + dsn + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	work, err := time.ParseDuration(os.Getenv(replicaRun))
	if err != nil {
		t.Fatal(err)
	}
	lease, err := time.ParseDuration(os.Getenv(replicaLease))
	if err != nil {
		t.Fatal(err)
	}
	in := start(t, database.Wrap(db, dialect), scheduler.WithLease(lease, lease/5))
	in.schedule(t, "a", core.Schedule{Frequency: core.Frequency{Every: 30 * time.Millisecond}, Timeout: 6 * time.Hour}, func(ctx context.Context, run core.TaskRun) error {
		fmt.Printf("\nbegin %d\n", run.Fence)
		select {
		case <-time.After(work):
			fmt.Printf("\nend %d\n", run.Fence)
		case <-ctx.Done():
			fmt.Printf("\ninterrupted %d\n", run.Fence)
		}
		return ctx.Err()
	})
	select {} // until it is killed
}

// event is what an instance tells.
type event struct {
	replica int
	what    string
	fence   int64
}

// replica starts an instance as a process.
func replica(t *testing.T, n int, db *testdb.Database, work, lease time.Duration, events chan event) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestReplicaProcess$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), replicaDialect+"="+string(db.Dialect), replicaDSN+"="+db.DSN, replicaRun+"="+work.String(), replicaLease+"="+lease.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			e := event{replica: n}
			if _, err := fmt.Sscanf(lines.Text(), "%s %d", &e.what, &e.fence); err == nil && slices.Contains([]string{"begin", "end", "interrupted"}, e.what) {
				events <- e
			}
		}
	}()
	t.Cleanup(func() {
		kill(t, cmd)
		for {
			select {
			case <-events:
			case <-read:
				return
			}
		}
	})
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill() // perhaps it is dead already
		_ = cmd.Wait()
	}
}

// The task may take six hours; when its runner is killed, the other instance
// runs it as soon as the lease has run out.
func TestKilledRunnerIsReplaced(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		const lease = time.Second
		events := make(chan event, 100)
		replicas := []*exec.Cmd{replica(t, 0, db, time.Hour, lease, events), replica(t, 1, db, time.Hour, lease, events)}
		for fence := int64(1); fence <= 2; fence++ {
			e := <-events
			if e.what != "begin" || e.fence != fence {
				t.Fatalf("run %d: %+v", fence, e)
			}
			kill(t, replicas[e.replica])
			replicas[e.replica] = replica(t, e.replica, db, time.Hour, lease, events)
		}
	})
}

// Instances die at random. There is always a next run, the fence grows with
// each, and no run begins while another goes on in an instance that lives.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	kills := 6
	if testing.Short() {
		kills = 2
	}
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		const lease = 500 * time.Millisecond
		events := make(chan event, 1000)
		replicas := make([]*exec.Cmd, 3)
		for n := range replicas {
			replicas[n] = replica(t, n, db, 40*time.Millisecond, lease, events)
		}
		var last int64
		runner := -1 // who runs the task as far as is known
		ends := 0
		for range kills {
			for stop := ends + 1 + rand.IntN(4); ends < stop; {
				e := <-events
				switch e.what {
				case "begin":
					if e.fence <= last {
						t.Fatalf("fence %d after %d", e.fence, last)
					}
					last, runner = e.fence, e.replica
				case "end":
					ends++
				}
			}
			victim := rand.IntN(len(replicas))
			if runner >= 0 && rand.IntN(2) == 0 {
				victim = runner
			}
			kill(t, replicas[victim])
			replicas[victim] = replica(t, victim, db, 40*time.Millisecond, lease, events)
		}
	})
}
