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
}

// defaultIndexMemory holds about a million entities.
const defaultIndexMemory = 1 << 30

// indexCache is how many bytes of entities are kept for the next reader.
const indexCache = 64 << 20

func readIndexSettings(c core.Config) (s indexSettings, err error) {
	s.maxMemory = defaultIndexMemory
	if s.enabled, err = c.BoolOr("catalog.index.enabled", true); err != nil {
		return s, err
	}
	v, ok := c.Value("catalog.index.maxMemory")
	if !ok {
		return s, nil
	}
	switch v := v.(type) {
	case string:
		s.maxMemory, ok = parseBytes(v)
	case float64:
		s.maxMemory, ok = int64(v), v > 0 && v < math.MaxInt64
	case int:
		s.maxMemory, ok = int64(v), v > 0
	default:
		ok = false
	}
	if !ok {
		const key = "catalog.index.maxMemory"
		return s, &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: "must be a number of bytes, or a number with the unit KiB, MiB or GiB, such as 512MiB"}
	}
	return s, nil
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
