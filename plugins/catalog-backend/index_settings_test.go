package catalogbackend

import (
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/configtest"
)

func TestIndexSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		want         indexSettings
		err          string
	}{
		{name: "defaults", config: "catalog: {}", want: indexSettings{true, 1 << 30, 64 << 20}},
		{name: "off", config: "catalog: {index: {enabled: false}}", want: indexSettings{false, 1 << 30, 64 << 20}},
		{name: "bytes", config: "catalog: {index: {maxMemory: 1000000}}", want: indexSettings{true, 1_000_000, 64 << 20}},
		{name: "unit", config: "catalog: {index: {maxMemory: 1.5 GiB}}", want: indexSettings{true, 3 << 29, 64 << 20}},
		{name: "cache", config: "catalog: {index: {cache: 1 MiB}}", want: indexSettings{true, 1 << 30, 1 << 20}},
		{name: "no cache", config: "catalog: {index: {cache: no}}", err: "catalog.index.cache"},
		{name: "unknown unit", config: "catalog: {index: {maxMemory: 1 GB}}", err: "catalog.index.maxMemory"},
		{name: "negative", config: "catalog: {index: {maxMemory: -1}}", err: "catalog.index.maxMemory"},
		{name: "too many", config: "catalog: {index: {maxMemory: 1e300GiB}}", err: "catalog.index.maxMemory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := readIndexSettings(configtest.FromYAML(t, c.config))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one that names %s", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}
