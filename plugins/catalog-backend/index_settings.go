package catalogbackend

import (
	"math"
	"strconv"
	"strings"

	"github.com/flytower/flytower/core"
)

// indexSettings are those of the index in memory.
type indexSettings struct {
	enabled   bool
	maxMemory int64 // bytes
	cache     int64 // bytes
}

const (
	// defaultIndexMemory holds about a million entities.
	defaultIndexMemory = 1 << 30
	// defaultIndexCache is how many bytes of entities are kept for the next
	// reader.
	defaultIndexCache = 64 << 20
)

func readIndexSettings(c core.Config) (s indexSettings, err error) {
	if s.enabled, err = c.BoolOr("catalog.index.enabled", true); err != nil {
		return s, err
	}
	if s.maxMemory, err = readBytes(c, "catalog.index.maxMemory", defaultIndexMemory); err != nil {
		return s, err
	}
	s.cache, err = readBytes(c, "catalog.index.cache", defaultIndexCache)
	return s, err
}

// readBytes reads a number of bytes.
func readBytes(c core.Config, key string, absent int64) (n int64, err error) {
	v, ok := c.Value(key)
	if !ok {
		return absent, nil
	}
	switch v := v.(type) {
	case string:
		n, ok = parseBytes(v)
	case float64:
		n, ok = int64(v), v > 0 && v < math.MaxInt64
	case int:
		n, ok = int64(v), v > 0
	default:
		ok = false
	}
	if !ok {
		return 0, &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: "must be a number of bytes, or a number with the unit KiB, MiB or GiB, such as 512MiB"}
	}
	return n, nil
}

// parseBytes reads a number of bytes with or without a unit.
func parseBytes(text string) (int64, bool) {
	unit := 1.0
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = number, math.Pow(1024, float64(i+1))
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if n *= unit; err != nil || !(n >= 1 && n < math.MaxInt64) {
		return 0, false
	}
	return int64(n), true
}
