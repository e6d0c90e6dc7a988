package answer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/answer"
)

func TestError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		err    error
		status int
		body   string // a part
		logged bool
	}{
		{"client error", apierr.Input("bad thing"), 400, `"message":"bad thing"`, false},
		{"wrapped", fmt.Errorf("outer: %w", apierr.NotFound("inner")), 404, `"message":"outer: inner"`, false},
		{"named server error", apierr.ServiceUnavailable("later"), 503, `"message":"later"`, true},
		{"unnamed", errors.New("password=hunter2"), 500, `An internal error occurred logId=`, true},
		{"large body", &http.MaxBytesError{Limit: 10}, 413, `"limit":10`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "1000")
			answer.Error(slog.New(slog.NewTextHandler(&log, nil)), w, httptest.NewRequest("GET", "/x", nil), tt.err)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) || strings.Contains(w.Body.String(), "hunter2") || w.Header().Get("Content-Length") != "" {
				t.Errorf("got %d %s %v", w.Code, w.Body, w.Header())
			}
			if logged := strings.Contains(log.String(), fmt.Sprintf("Request failed with status %d", tt.status)); logged != tt.logged {
				t.Errorf("the log says %q", log.String())
			}
			if _, id, ok := strings.Cut(w.Body.String(), "logId="); ok && !strings.Contains(log.String(), "logId="+id[:20]) {
				t.Errorf("the id %q is not in the log %q", id[:20], log.String())
			}
		})
	}
}

func TestAnEndedRequestIsNoError(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	answer.Error(slog.New(slog.NewTextHandler(&log, nil)), httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/x", nil), context.Canceled)
	if log.Len() != 0 {
		t.Errorf("the log says %q", log.String())
	}
}

func TestABegunAnswerIsAborted(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(http.ResponseWriter){
		"write":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "half") },
		"status": func(w http.ResponseWriter) { w.WriteHeader(200) },
		"flush":  func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
	} {
		w := answer.Track(httptest.NewRecorder())
		if answer.Track(w) != w {
			t.Errorf("%s: a tracked writer is wrapped again", name)
		}
		begin(w)
		func() {
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("%s: recovered %v, want an abort", name, v)
				}
			}()
			answer.Error(slog.New(slog.DiscardHandler), w, httptest.NewRequest("GET", "/x", nil), apierr.Input("late"))
		}()
	}
	w := answer.Track(httptest.NewRecorder())
	w.WriteHeader(http.StatusEarlyHints) // is not the answer yet
	answer.Error(slog.New(slog.DiscardHandler), w, httptest.NewRequest("GET", "/x", nil), apierr.Input("in time"))
}
