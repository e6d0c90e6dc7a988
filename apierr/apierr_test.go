package apierr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
)

func TestStatusAndKind(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, c := range []struct {
		err    error
		kind   apierr.Kind
		status int
		text   string
	}{
		{apierr.Input("bad %s", "x"), apierr.KindInput, 400, "bad x"},
		{fmt.Errorf("reading: %w", apierr.NotFound("gone")), apierr.KindNotFound, 404, "reading: gone"},
		{apierr.Wrap(apierr.KindConflict, boom, "outer"), apierr.KindConflict, 409, "outer; caused by Error: boom"},
		{apierr.Forward(apierr.NotAllowed("no"), "outer"), apierr.KindNotAllowed, 403, "outer; caused by NotAllowedError: no"},
		{apierr.Input("bad: %w", boom), apierr.KindInput, 400, "bad: boom"},
		{&apierr.Error{Kind: apierr.KindError, Message: "teapot", HTTPStatus: 418}, apierr.KindError, 418, "teapot"},
		{boom, apierr.KindError, 500, "boom"},
	} {
		if got := apierr.KindOf(c.err); got != c.kind {
			t.Errorf("KindOf(%v) = %s, want %s", c.err, got, c.kind)
		}
		if got := apierr.Status(c.err); got != c.status {
			t.Errorf("Status(%v) = %d, want %d", c.err, got, c.status)
		}
		if got := c.err.Error(); got != c.text {
			t.Errorf("text %q, want %q", got, c.text)
		}
	}
	if !errors.Is(apierr.Input("bad: %w", boom), boom) {
		t.Error("a cause passed by the w verb is not found")
	}
	if !errors.Is(fmt.Errorf("x: %w", apierr.NotFound("y")), apierr.NotFound("")) {
		t.Error("a kind is not found by a bare error")
	}
}

func TestWireRoundTrip(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		apierr.Write(w, r, apierr.Wrap(apierr.KindNotFound, apierr.NotFound("inner"), "outer <b>"), "")
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/err/cause?x=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"error":{"cause":{"message":"inner","name":"NotFoundError"},"message":"outer <b>; caused by NotFoundError: inner","name":"NotFoundError"},"request":{"method":"GET","url":"/err/cause?x=1"},"response":{"statusCode":404}}`
	if string(raw) != want {
		t.Errorf("body %s\nwant %s", raw, want)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(raw)))
	back := apierr.FromResponse(resp)
	if apierr.KindOf(back) != apierr.KindNotFound || apierr.Status(back) != 404 {
		t.Errorf("read back as %v (%s)", back, apierr.KindOf(back))
	}
}

func TestUnnamedErrorIsMasked(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	apierr.Write(rec, httptest.NewRequest(http.MethodGet, "/", nil), errors.New("password=hunter2"), "cafe")
	if body := rec.Body.String(); strings.Contains(body, "hunter2") || !strings.Contains(body, "logId=cafe") {
		t.Errorf("body %s", body)
	}
}

// An error may be named by code that knows its kind, and still wrap one that
// names hosts. In answers that blame the server the latter is not shown.
func TestUnnamedCausesOfServerErrorsAreMasked(t *testing.T) {
	t.Parallel()
	driver := fmt.Errorf("dial tcp: lookup db.internal: %w", errors.New("no such host"))
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"forwarded": {apierr.Forward(driver, "loading"), "loading; caused by Error: an internal error logId=cafe"},
		"wrapped":   {apierr.Wrap(apierr.KindServiceUnavailable, driver, "later"), "later; caused by Error: an internal error logId=cafe"},
		"formatted": {apierr.ServiceUnavailable("no answer: %w; try later", driver), "no answer: an internal error logId=cafe; try later"},
		"deeper":    {fmt.Errorf("outer: %w", apierr.Forward(apierr.Forward(driver, "b"), "a")), "outer: a; caused by Error: b; caused by Error: an internal error logId=cafe"},
		"joined":    {errors.Join(apierr.ServiceUnavailable("one"), driver), "one\nan internal error logId=cafe"},
		"named":     {apierr.Forward(apierr.ServiceUnavailable("told"), "a"), "a; caused by ServiceUnavailableError: told"},
	} {
		rec := httptest.NewRecorder()
		apierr.Write(rec, httptest.NewRequest(http.MethodGet, "/", nil), tt.err, "cafe")
		var body apierr.Body
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if body.Error["message"] != tt.want || strings.Contains(rec.Body.String(), "db.internal") {
			t.Errorf("%s: body %s, want the message %q", name, rec.Body, tt.want)
		}
	}
	// A client must see what is wrong with its own request.
	rec := httptest.NewRecorder()
	apierr.Write(rec, httptest.NewRequest(http.MethodGet, "/", nil), apierr.Input("bad cursor: %w", errors.New("odd length")), "cafe")
	if !strings.Contains(rec.Body.String(), "bad cursor: odd length") {
		t.Errorf("body %s", rec.Body)
	}
}

// The text of a peer's error reaches clients of the one who asked.
func TestPeerErrorsDoNotNameHosts(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequest(http.MethodGet, "http://user:pw@plugin.internal:7007/api/x/y?token=hunter2", nil)
	err := apierr.FromResponse(&http.Response{StatusCode: 404, Request: req, Body: io.NopCloser(strings.NewReader(""))})
	if text := err.Error(); !strings.HasPrefix(text, "GET /api/x/y failed with status 404") || strings.Contains(text, "internal") || strings.Contains(text, "hunter2") {
		t.Errorf("got %q", text)
	}
}

func TestForeignBody(t *testing.T) {
	t.Parallel()
	resp := &http.Response{StatusCode: 502, Body: io.NopCloser(strings.NewReader("<html>bad gateway</html>"))}
	err := apierr.FromResponse(resp)
	if apierr.Status(err) != 502 || !strings.Contains(err.Error(), "bad gateway") {
		t.Errorf("got %v, status %d", err, apierr.Status(err))
	}
}
