package isotime_test

import (
	"testing"
	"time"

	"github.com/flytower/flytower/internal/isotime"
)

func FuzzAppend(f *testing.F) {
	for _, s := range []int64{0, 1, 951_782_399_999, 1_700_000_000_042, -62_135_596_800_001, 253_402_300_800_000} {
		f.Add(s, int64(3600))
	}
	f.Fuzz(func(t *testing.T, ms, zone int64) {
		at := time.UnixMilli(ms).In(time.FixedZone("x", int(zone%86400)))
		if got, want := string(isotime.Append(nil, at)), at.UTC().Format(isotime.Layout); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
