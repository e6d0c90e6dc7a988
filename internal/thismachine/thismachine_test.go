package thismachine_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flytower/flytower/internal/thismachine"
)

func TestAsks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, remote, host, header string
		want                       bool
	}{
		{"address", "127.0.0.1:50000", "127.0.0.1:7007", "", true},
		{"other loopback address", "127.8.0.1:50000", "127.0.0.1", "", true},
		{"name", "127.0.0.1:50000", "LocalHost:7007", "", true},
		{"IPv6", "[::1]:50000", "[::1]:7007", "", true},
		{"IPv6 without a port", "[::1]:50000", "[::1]", "", true},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:50000", "localhost", "", true},
		{"other machine", "192.0.2.7:50000", "127.0.0.1:7007", "", false},
		{"other name", "127.0.0.1:50000", "portal.example.com", "", false},
		{"name that begins alike", "127.0.0.1:50000", "localhost.example.com", "", false},
		{"no host", "127.0.0.1:50000", "", "", false},
		{"made up address", "127.0.0.1:0", "localhost", "", false},
		{"no address", "pipe", "localhost", "", false},
		{"proxy", "127.0.0.1:50000", "localhost", "X-Forwarded-For", false},
		{"empty header of a proxy", "127.0.0.1:50000", "localhost", "Via", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Host = tt.remote, tt.host
			if tt.header != "" {
				r.Header.Set(tt.header, "")
			}
			if got := thismachine.Asks(r); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
