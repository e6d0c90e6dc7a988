package apierr_test

import (
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

func TestForeignBody(t *testing.T) {
	t.Parallel()
	resp := &http.Response{StatusCode: 502, Body: io.NopCloser(strings.NewReader("<html>bad gateway</html>"))}
	err := apierr.FromResponse(resp)
	if apierr.Status(err) != 502 || !strings.Contains(err.Error(), "bad gateway") {
		t.Errorf("got %v, status %d", err, apierr.Status(err))
	}
}
