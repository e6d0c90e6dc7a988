package jsonbody_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core/jsonbody"
)

type input struct {
	Name string   `json:"name"`
	Refs []string `json:"refs"`
	N    int      `json:"n"`
}

func post(body, contentType string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

// endless is a compressed body that goes on without content.
type endless struct {
	part []byte
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.part)
	e.read += n
	return n, nil
}

func TestCompressedBodiesWithoutContentEnd(t *testing.T) {
	t.Parallel()
	var empty bytes.Buffer
	z := gzip.NewWriter(&empty)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	body := &endless{part: empty.Bytes()}
	r := httptest.NewRequest("POST", "/", body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	if err := jsonbody.Decode(r, new(input), 1000); apierr.KindOf(err) != apierr.KindInput || body.read > 1<<20 {
		t.Errorf("error %v after %d bytes", err, body.read)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, contentType string
		limit                   int64
		kind                    apierr.Kind // "" succeeds
		status                  int
	}{
		{"plain", `{"name":"a"}`, "application/json", 0, "", 0},
		{"charset", `{"name":"a"}`, "application/json; charset=utf-8", 0, "", 0},
		{"suffix", `{"name":"a"}`, "application/merge-patch+json", 0, "", 0},
		{"upper case", `{"name":"a"}`, "Application/JSON", 0, "", 0},
		{"broken parameter", `{"name":"a"}`, "application/json; charset", 0, "", 0},
		{"unknown members", `{"name":"a","other":1}`, "application/json", 0, "", 0},
		{"at the limit", `{"name":"a"}`, "application/json", 12, "", 0},
		{"over the limit", `{"name":"ab"}`, "application/json", 12, "PayloadTooLargeError", 413},
		{"over the default", `"` + strings.Repeat("a", 102400) + `"`, "application/json", 0, "PayloadTooLargeError", 413},
		{"cut", `{"a":`, "application/json", 0, "SyntaxError", 400},
		{"not JSON", `hello`, "application/json", 0, "SyntaxError", 400},
		{"after the end", `{"name":"a"} x`, "application/json", 0, "SyntaxError", 400},
		{"deep", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "application/json", 0, "SyntaxError", 400},
		{"primitive", `"text"`, "application/json", 0, "InputError", 400},
		{"wrong member", `{"refs":{"a":1}}`, "application/json", 0, "InputError", 400},
		{"overflow", `{"n":1e99}`, "application/json", 0, "InputError", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var in input
			err := jsonbody.Decode(post(tt.body, tt.contentType), &in, tt.limit)
			if tt.kind == "" {
				if err != nil || in.Name != "a" {
					t.Fatalf("got %+v, error %v", in, err)
				}
				return
			}
			if apierr.KindOf(err) != tt.kind || apierr.Status(err) != tt.status {
				t.Errorf("error %v (%s, %d), want %s, %d", err, apierr.KindOf(err), apierr.Status(err), tt.kind, tt.status)
			}
		})
	}
}

func TestErrorsHaveTheFieldsOfTheFamily(t *testing.T) {
	t.Parallel()
	fields := func(err error) map[string]any {
		var e *apierr.Error
		if !errors.As(err, &e) {
			t.Fatalf("%v is not named", err)
		}
		return e.Fields
	}
	f := fields(jsonbody.Decode(post(`{"secret":"hunter2`, "application/json"), &input{}, 0))
	if f["type"] != "entity.parse.failed" || f["body"] != nil {
		t.Errorf("fields of a syntax error: %v", f)
	}
	f = fields(jsonbody.Decode(post(strings.Repeat(" ", 200), "application/json"), &input{}, 100))
	if f["type"] != "entity.too.large" || f["limit"] != int64(100) || f["length"] != int64(200) || f["expected"] != int64(200) {
		t.Errorf("fields of a large body: %v", f)
	}
}

func TestAbsentBodies(t *testing.T) {
	t.Parallel()
	in := input{Name: "kept"}
	for _, r := range []*http.Request{
		post(``, "application/json"), post(`{"name":"a"}`, "text/plain"), post(`{"name":"a"}`, ""),
		httptest.NewRequest("GET", "/", nil),
	} {
		if err := jsonbody.Decode(r, &in, 0); err != nil || in.Name != "kept" {
			t.Errorf("Decode: got %+v, error %v", in, err)
		}
	}
	for _, r := range []*http.Request{post(``, "application/json"), post(`{}`, "text/plain"), post(`{}`, "")} {
		if err := jsonbody.Require(r, &in, 0); apierr.KindOf(err) != apierr.KindInput {
			t.Errorf("Require: error %v, want an InputError", err)
		}
	}
}

func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	compress := func(encoding string, size int) *http.Request {
		var buf bytes.Buffer
		var w io.WriteCloser = gzip.NewWriter(&buf)
		if encoding == "deflate" {
			w = zlib.NewWriter(&buf)
		}
		_, _ = io.WriteString(w, `{"name":"`+strings.Repeat("a", size)+`"}`)
		_ = w.Close()
		r := post(buf.String(), "application/json")
		r.Header.Set("Content-Encoding", encoding)
		return r
	}
	for _, encoding := range []string{"gzip", "deflate"} {
		var in input
		if err := jsonbody.Decode(compress(encoding, 5), &in, 0); err != nil || in.Name != "aaaaa" {
			t.Errorf("%s: got %+v, error %v", encoding, in, err)
		}
		// A bomb: 10 MB out of 10 kB.
		if err := jsonbody.Decode(compress(encoding, 10<<20), &in, 0); apierr.Status(err) != 413 {
			t.Errorf("%s: error %v for a body that inflates over the limit", encoding, err)
		}
		r := post("garbage", "application/json")
		r.Header.Set("Content-Encoding", encoding)
		if err := jsonbody.Decode(r, &in, 0); apierr.Status(err) != 400 {
			t.Errorf("%s: error %v for garbage", encoding, err)
		}
	}
	r := post("x", "application/json")
	r.Header.Set("Content-Encoding", "snappy")
	if err := jsonbody.Decode(r, &input{}, 0); apierr.Status(err) != 415 {
		t.Errorf("error %v for an unknown encoding", err)
	}
}

func TestAChunkedBodyIsBounded(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat(" ", 1000)))) // no known length
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = -1
	if err := jsonbody.Decode(r, &input{}, 100); apierr.Status(err) != 413 {
		t.Errorf("error %v", err)
	}
	r = httptest.NewRequest("POST", "/", nil)
	r.Header.Set("Content-Type", "application/json")
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader(strings.Repeat(" ", 100))), 10)
	r.ContentLength = -1
	if err := jsonbody.Decode(r, &input{}, 1000); apierr.Status(err) != 413 {
		t.Errorf("error %v below a MaxBytesReader", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{`{}`, `{"refs":["a"]}`, `[[[`, `"\u`, "\xff", `{"n":1.5}`, `nul`, `{"a":"\\"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var in input
		if err := jsonbody.Unmarshal(text, &in); err != nil && apierr.Status(err) != 400 {
			t.Errorf("error %v has status %d", err, apierr.Status(err))
		}
	})
}
