package scaffoldernode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

func TestLogWriterWritesLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct{ parts, want []string }{
		"parts of lines":       {[]string{"one li", "ne\ntwo\r\nth", "ree"}, []string{"one line", "two", "three"}},
		"an empty line":        {[]string{"\n\n", "a\n"}, []string{"", "", "a"}},
		"nothing":              {nil, nil},
		"a line without end":   {[]string{long, "rest"}, []string{long, "rest"}},
		"a line that is cut":   {[]string{long + "rest\n"}, []string{long, "rest"}},
		"single bytes, at end": {strings.Split("ab\ncd", ""), []string{"ab", "cd"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			c := &scaffoldernode.ActionContext{Logger: slog.New(slog.NewJSONHandler(&log, nil))}
			out := c.LogWriter(t.Context())
			for _, part := range tt.parts {
				if n, err := fmt.Fprint(out, part); n != len(part) || err != nil {
					t.Errorf("%d bytes are written, %v", n, err)
				}
			}
			if err := out.Close(); err != nil {
				t.Error(err)
			}
			var got []string
			for line := range bytes.Lines(log.Bytes()) {
				var e struct{ Msg string }
				if err := json.Unmarshal(line, &e); err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Msg)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%.500s", diff)
			}
		})
	}
}
