package rootlogger_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/slogtest"

	"github.com/flytower/flytower/defaults/rootlogger"
)

// TestHandlerContract runs the suite of the standard library, with the names
// of our fields.
func TestHandlerContract(t *testing.T) {
	t.Parallel()
	var out *bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out = &bytes.Buffer{}
		return rootlogger.New(rootlogger.Options{Writer: out, Format: rootlogger.JSON, Getenv: env()}).Handler()
	}, func(t *testing.T) map[string]any {
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for ours, theirs := range map[string]string{"message": slog.MessageKey, "timestamp": slog.TimeKey} {
			if v, ok := line[ours]; ok {
				line[theirs] = v
				delete(line, ours)
			}
		}
		return line
	})
}
