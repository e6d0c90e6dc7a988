package jsonbody_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/jsonbody"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, media, body, want string
		kind                    apierr.Kind
		status                  int
	}{
		{name: "object", media: "application/json; charset=utf-8", body: ` {"a":1} `, want: `{"a":1}`},
		{name: "list", media: "application/vnd.x+json", body: `[1]`, want: `[1]`},
		{name: "empty", media: "application/json", want: `{}`},
		{name: "other type", media: "text/plain", body: `{"a":1}`, want: `{}`},
		{name: "no type", body: `{"a":1}`, want: `{}`},
		{name: "scalar", media: "application/json", body: `1`, kind: "SyntaxError", status: 400},
		{name: "broken", media: "application/json", body: `{"a"`, kind: "SyntaxError", status: 400},
		{name: "too large", media: "application/json", body: `{"a":"` + strings.Repeat("x", 100) + `"}`, kind: apierr.KindPayloadTooLarge, status: 413},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", "/", strings.NewReader(tc.body))
			r.Header.Set("Content-Type", tc.media)
			got, err := jsonbody.Read(httptest.NewRecorder(), r, 64)
			if apierr.KindOf(err) != tc.kind || string(got) != tc.want {
				t.Errorf("got %s, %v", got, err)
			}
			if err != nil && apierr.Status(err) != tc.status {
				t.Errorf("status %d, want %d", apierr.Status(err), tc.status)
			}
		})
	}
}

func TestDecodeShape(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"items":1}`))
	r.Header.Set("Content-Type", "application/json")
	var out struct{ Items []string }
	if err := jsonbody.Decode(httptest.NewRecorder(), r, 64, &out); apierr.KindOf(err) != apierr.KindInput {
		t.Errorf("got %v, want an InputError", err)
	}
}
