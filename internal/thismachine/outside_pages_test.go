package thismachine_test

import (
	"net/http/httptest"
	"testing"

	"github.com/flytower/flytower/internal/thismachine"
)

func TestAsksOutsidePages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		remote, host, header string
		want                 bool
	}{
		{"127.0.0.1:9", "localhost:7007", "", true},
		{"127.0.0.1:9", "LOCALHOST", "", true},
		{"[::1]:9", "[::1]:7007", "", true},
		{"[::1]:9", "[::1]", "", true},
		{"[::ffff:127.0.0.1]:9", "127.0.0.1", "", true},
		{"10.0.0.1:9", "localhost", "", false},
		{"127.0.0.1:0", "localhost", "", false},
		{"", "localhost", "", false},
		{"127.0.0.1", "localhost", "", false},
		{"127.0.0.1:9", "rebound.evil.test:7007", "", false},
		{"127.0.0.1:9", "localhost.evil.test", "", false},
		{"127.0.0.1:9", "10.0.0.1", "", false},
		{"127.0.0.1:9", "", "", false},
		{"127.0.0.1:9", "localhost", "Origin", false},
		{"127.0.0.1:9", "localhost", "X-Forwarded-For", false},
		{"127.0.0.1:9", "localhost", "Forwarded", false},
		{"127.0.0.1:9", "localhost", "Via", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = tt.remote, tt.host
		if tt.header != "" {
			r.Header.Set(tt.header, "")
		}
		if got := thismachine.AsksOutsidePages(r); got != tt.want {
			t.Errorf("%+v: got %t", tt, got)
		}
	}
}
