package catalogmoduleincrementalingestion_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/plugins/catalog-node/incremental"
)

func TestPageByPage(t *testing.T) {
	t.Parallel()
	b := begin(t, onePage(), &source{pages: []string{"a b", "c d", "e"}})
	b.wantCatalog("a b")
	b.wantStatus("interstitial", "")
	b.tick()
	b.wantCatalog("a b c d")
	b.tick()
	b.wantCatalog("a b c d e")
	b.wantStatus("resting", "")

	b.source.set("a b=2", "d f", "")
	b.tick()
	b.wantCatalog("a b=2 c d e")
	b.tick()
	b.wantCatalog("a b=2 c d e f")
	b.tick() // only the last page tells what is gone
	b.wantCatalog("a b=2 d f")
	if d := cmp.Diff([]string{"0", "1", "2", "0", "1", "2"}, b.source.asked); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
}

func TestWholeSourceInOneBurst(t *testing.T) {
	t.Parallel()
	b := begin(t, incremental.Options{BurstLength: time.Hour, RestLength: time.Hour}, &source{pages: []string{"a b", "c", "", "d"}})
	b.wantCatalog("a b c d")
	s := b.status()
	if until := time.Until(*s.Status.At); s.Status.Action != "resting" || until > time.Hour || until < 50*time.Minute {
		t.Errorf("it is %s until %v", s.Status.Action, s.Status.At)
	}
	b.tick()
	if n := len(b.source.asked); n != 4 {
		t.Errorf("%d pages were asked for during the rest", n)
	}
}

// A failure of any change, before or after the catalog made it, is what the
// end of the process there is: no page is skipped, nothing that the source has
// goes away, and what it has no longer goes away in the end.
func TestFailureAtEveryStep(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		const steps = 4 // three pages, and the removal
		s := &source{pages: []string{"a b", "c d", "e"}}
		b := begin(t, onePage(), s, database)
		for range 2 {
			b.tick()
		}
		b.wantCatalog("a b c d e")
		for step := 1; step <= steps; step++ {
			for _, after := range []bool{false, true} {
				name := fmt.Sprintf("step %d, after it %t", step, after)
				s.set("a b=2", "d", "f")
				s.asked = nil
				failed := false
				b.catalog.calls = 0
				b.catalog.fail = func(call int, isAfter bool) error {
					if call == step && isAfter == after && !failed {
						failed = true
						return errors.New("the power is off")
					}
					return nil
				}
				for range 4 { // pages, and one burst again
					b.tick()
					for _, name := range []string{"a", "b", "d"} {
						if !strings.Contains(b.catalog.has(), name) {
							t.Errorf("%s: %s is gone from %s", name, name, b.catalog.has())
						}
					}
					if n := len(b.source.asked); n < 3 && (!strings.Contains(b.catalog.has(), "c") || !strings.Contains(b.catalog.has(), "e")) {
						t.Errorf("%s: something is removed after %d pages: %s", name, n, b.catalog.has())
					}
				}
				b.catalog.fail = nil
				if !failed {
					t.Fatalf("%s: nothing failed", name)
				}
				if have := b.catalog.has(); have != "a b=2 d f" {
					t.Errorf("%s: the catalog has %q", name, have)
				}
				want := slices.Insert([]string{"0", "1", "2"}, min(step, 3), []string{"0", "1", "2"}[step-1:min(step, 3)]...)
				if step == steps {
					want = []string{"0", "1", "2"} // the pages are not read again for the removal
				}
				if d := cmp.Diff(want, b.source.asked); d != "" {
					t.Errorf("%s: pages (-want +got):\n%s", name, d)
				}
				if action := b.status().Status.Action; action != "resting" {
					t.Errorf("%s: the provider is %s", name, action)
				}
				s.set("a b", "c d", "e")
				for range 3 {
					b.tick()
				}
				b.wantCatalog("a b c d e")
			}
		}
	})
}

// What was handed in by a page that then did not count, since the source
// failed and had changed when it was asked again, is removed like the rest.
func TestPageThatChangedBeforeItCounted(t *testing.T) {
	t.Parallel()
	crash := true
	b := begin(t, onePage(), &source{pages: []string{"a"}})
	b.source.set("a ghost", "b")
	b.catalog.fail = func(_ int, after bool) error {
		if after && crash {
			crash = false
			return errors.New("the power is off")
		}
		return nil
	}
	b.tick()
	b.wantCatalog("a ghost")
	b.source.set("a", "b")
	b.tick()
	b.tick()
	b.wantCatalog("a b")
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	s := &source{pages: []string{"a", "b"}}
	broken := true
	s.before = func(_ context.Context, page int) error {
		if broken && page == 1 {
			return errors.New("503 from the source")
		}
		return nil
	}
	b := begin(t, incremental.Options{BurstLength: time.Hour, RestLength: time.Hour, Backoff: []time.Duration{time.Minute, time.Hour}}, s)
	b.wantStatus("backing off", "503 from the source")
	first := b.status().Status.At
	b.tick()
	if len(s.asked) != 2 {
		t.Errorf("pages %v were asked for during the wait", s.asked)
	}
	if message := b.post("trigger"); message != "staff: Next action triggered." {
		t.Error(message)
	}
	b.tick()
	if wait := b.status().Status.At.Sub(*first); wait < 50*time.Minute {
		t.Errorf("the second wait ends %v after the first", wait)
	}
	b.post("trigger")
	broken = false
	b.tick()
	b.wantStatus("resting", "503 from the source")
	if d := cmp.Diff([]string{"0", "1", "1", "1"}, s.asked); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
	b.wantCatalog("a b")
}

func TestRemovalsAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		options incremental.Options
		refused []string
		error   string
		allowed []string
		want    string
	}{
		{
			"too many", incremental.Options{RejectRemovalsAbovePercentage: 40}, []string{"a b", "x"},
			"REMOVAL_THRESHOLD exceeded: the source lacks 2 entities, which is 66.7% of the 3 that it has, and more than 40%",
			[]string{"a b c", "x y z"}, "a b c x y z", // and d goes
		},
		{
			"nothing at all", incremental.Options{RejectEmptySourceCollections: true}, []string{"", ""},
			"REMOVAL_THRESHOLD exceeded: the source has nothing at all, which would remove all 4 entities",
			[]string{"", "a"}, "a",
		},
		{
			"nothing, by percentage", incremental.Options{RejectRemovalsAbovePercentage: 99}, []string{"", ""},
			"REMOVAL_THRESHOLD exceeded: the source lacks 4 entities, which is 100.0% of the 0 that it has, and more than 99%",
			[]string{"a b c", "d"}, "a b c d",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := tc.options
			o.BurstLength = time.Hour
			b := begin(t, o, &source{pages: []string{"a b", "c d"}})
			b.source.set(tc.refused...)
			b.tick()
			for _, name := range []string{"a", "b", "c", "d"} {
				if !strings.Contains(b.catalog.has(), name) {
					t.Errorf("%s is gone", name)
				}
			}
			b.wantStatus("resting", tc.error)
			b.source.set(tc.allowed...)
			b.tick()
			b.wantCatalog(tc.want)
			b.wantStatus("resting", "")
		})
	}
	t.Run("an empty source without limits", func(t *testing.T) {
		t.Parallel()
		b := begin(t, onePage(), &source{pages: []string{"a"}})
		b.source.set("")
		b.tick()
		b.wantCatalog("")
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := &source{pages: []string{"a b", "c d"}}
	b := begin(t, onePage(), s)
	b.publish(added("new", "a=2"))
	b.publish(removed("b"))
	b.publish(added())
	b.wantCatalog("a=2 new")
	b.tick()
	b.wantCatalog("a=2 c d new")

	// While a page is on its way, events change what is on it: they are newer.
	s.before = func(_ context.Context, page int) error {
		if page == 1 {
			b.publish(removed("c"))
			b.publish(added("d=3"))
			b.publish(removed("late"))
			b.publish(added("late"))
		}
		return nil
	}
	s.set("a b new", "c d")
	b.tick()
	b.tick()
	b.wantCatalog("a b d=3 late new")
	s.before = nil
	s.set("a", "d")
	b.tick()
	b.tick() // what came by events ends as the rest does
	b.wantCatalog("a d")
}

func TestProviderGivesUp(t *testing.T) {
	t.Parallel()
	s := &source{pages: []string{"a", "b"}}
	b := begin(t, onePage(), s)
	s.before = func(context.Context, int) error { return fmt.Errorf("the snapshot expired: %w", incremental.ErrCancel) }
	b.tick()
	b.wantStatus("canceling", "the snapshot expired: CANCEL")
	s.before = nil
	b.tick()
	b.tick()
	b.wantCatalog("a b")
	if d := cmp.Diff([]string{"0", "1", "0", "1"}, s.asked); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
}

// clumsy is a provider that does something wrong.
type clumsy struct {
	burst func(ctx context.Context, read incremental.ReadFunc) error
}

func (clumsy) ProviderName() string { return "staff" }

func (c clumsy) Burst(ctx context.Context, read incremental.ReadFunc) error {
	return c.burst(ctx, read)
}

func TestMistakesOfProviders(t *testing.T) {
	t.Parallel()
	pages := func(cursors ...string) incremental.NextFunc {
		n := -1
		return func(context.Context, json.RawMessage) (incremental.Page, error) {
			n++
			return incremental.Page{Next: json.RawMessage(cursors[n])}, nil
		}
	}
	for _, tc := range []struct {
		name  string
		burst func(ctx context.Context, read incremental.ReadFunc) error
		want  string
	}{
		{"no read", func(context.Context, incremental.ReadFunc) error { return nil }, "the provider returned from Burst and did not call read"},
		{"read twice", func(ctx context.Context, read incremental.ReadFunc) error {
			_ = read(ctx, pages("1", "x"))
			return read(ctx, pages("1"))
		}, "the provider called read twice in a burst"},
		{"a page before itself", func(ctx context.Context, read incremental.ReadFunc) error { return read(ctx, pages("1", "1")) },
			"the page at 1 says that it is followed by itself"},
		{"no JSON", func(ctx context.Context, read incremental.ReadFunc) error { return read(ctx, pages("{")) },
			`the cursor of page 1 is no JSON: "{"`},
		{"a bad cleanup", func(ctx context.Context, read incremental.ReadFunc) error {
			_ = read(ctx, pages("1", "x"))
			return errors.New("cannot hang up " + strings.Repeat("!", 20_000))
		}, "cannot hang up " + strings.Repeat("!", 9985)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{t: t, catalog: &catalog{entities: map[string]string{}}}
			b.startWith(clumsy{tc.burst}, incremental.Options{BurstLength: time.Hour})
			b.wantStatus("backing off", tc.want)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	good := incremental.Options{BurstLength: time.Second}
	for _, tc := range []struct {
		name, want string
		first      incremental.Provider
		options    incremental.Options
	}{
		{"no length", "has no BurstLength", &source{}, incremental.Options{}},
		{"negative", "has a negative duration", &source{}, incremental.Options{BurstLength: 1, Backoff: []time.Duration{1, -1}}},
		{"negative percentage", "has a negative RejectRemovalsAbovePercentage", &source{}, incremental.Options{BurstLength: 1, RejectRemovalsAbovePercentage: -1}},
		{"no name", "has no name", nameless{}, good},
		{"good", "", &source{}, good},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var err, again error
			start(t, &catalog{}, backend.NewModule("catalog", "staff", func(env *backend.ModuleEnv) backend.InitFunc {
				providers := incremental.Providers.From(env)
				return func(context.Context) error {
					err = providers().AddProvider(tc.first, tc.options)
					again = providers().AddProvider(tc.first, tc.options)
					return nil
				}
			}))
			if tc.want == "" {
				tc.want = "<nil>"
				if again == nil || !strings.Contains(again.Error(), `there is an incremental provider named "staff" already`) {
					t.Errorf("the second time: %v", again)
				}
			}
			if have := fmt.Sprint(err); !strings.Contains(have, tc.want) {
				t.Errorf("got %s, want %s", have, tc.want)
			}
		})
	}
}

type nameless struct{ *source }

func (nameless) ProviderName() string { return "" }
