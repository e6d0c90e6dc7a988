package egress_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/integration/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassify(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"8.8.8.8": "public", "2606:4700::1": "public", "64:ff9b::808:808": "public", "2002:808:808::": "public",
		"169.254.169.254": "never", "169.254.0.1": "never", "::ffff:169.254.169.254": "never", "fe80::1": "never", "fe80::1%eth0": "never",
		"fd00:ec2::254": "never", "0.0.0.0": "never", "::": "never", "100.100.100.200": "never", "224.0.0.1": "never", "ff02::1": "never",
		"64:ff9b::a9fe:a9fe": "never", "2002:a9fe:a9fe::1": "never", "::169.254.169.254": "never", "255.255.255.255": "never",
		"127.0.0.1": "named", "::1": "named", "::ffff:127.0.0.1": "named", "10.1.2.3": "named", "172.31.0.1": "named", "192.168.1.1": "named",
		"100.64.0.1": "named", "fd12::1": "named", "64:ff9b::7f00:1": "named", "2002:7f00:1::": "named",
	} {
		reason, trusted := egress.Classify(netip.MustParseAddr(addr))
		got := "public"
		if reason != "" {
			got = map[bool]string{true: "named", false: "never"}[trusted]
		}
		if got != want {
			t.Errorf("%s is %s (%s), want %s", addr, got, reason, want)
		}
	}
}

func get(t *testing.T, g *egress.Guard, u string) (int, error) {
	t.Helper()
	tr := g.Transport()
	c := &http.Client{Transport: tr}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestPrivateAddressesNeedTrust(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	byName := "http://localhost:" + port
	for _, u := range []string{srv.URL, byName} {
		if _, err := get(t, egress.New(egress.Options{}), u); !egress.IsBlocked(err) {
			t.Errorf("%s: %v, want it blocked", u, err)
		}
	}
	trusting := egress.New(egress.Options{Trusted: func(host string) bool { return host == "localhost" }})
	if status, err := get(t, trusting, byName); err != nil || status != 200 {
		t.Errorf("a named host: %d, %v", status, err)
	}
	if _, err := get(t, trusting, srv.URL); !egress.IsBlocked(err) {
		t.Errorf("another name of the same address: %v, want it blocked", err)
	}
}

func TestMetadataIsBlockedForTrustedHostsToo(t *testing.T) {
	t.Parallel()
	g := egress.New(egress.Options{Trusted: func(string) bool { return true }})
	for _, u := range []string{"http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://0.0.0.0/", "http://[::ffff:a9fe:a9fe]/"} {
		if _, err := get(t, g, u); !egress.IsBlocked(err) {
			t.Errorf("%s: %v, want it blocked", u, err)
		}
	}
	if _, err := g.DialContext(t.Context(), "tcp", "169.254.169.254:80"); !egress.IsBlocked(err) || !strings.Contains(err.Error(), "link-local") {
		t.Errorf("dialing: %v", err)
	}
}

// A redirect, and a proxy, get no further than a request that starts there.
func TestRedirectToMetadataIsBlocked(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/", http.StatusFound))
	defer srv.Close()
	g := egress.New(egress.Options{Trusted: func(string) bool { return true }})
	if _, err := get(t, g, srv.URL); !egress.IsBlocked(err) {
		t.Errorf("%v, want it blocked", err)
	}
	proxy, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	behind := egress.New(egress.Options{Proxy: http.ProxyURL(proxy)})
	if _, err := get(t, behind, "http://169.254.169.254/"); !egress.IsBlocked(err) {
		t.Errorf("through a proxy: %v, want it blocked", err)
	}
}

func TestProxyIsTrusted(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer srv.Close()
	proxy, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := egress.New(egress.Options{Proxy: http.ProxyURL(proxy)})
	if status, err := get(t, g, "http://example.com/"); err != nil || status != http.StatusTeapot {
		t.Errorf("%d, %v", status, err)
	}
	if _, err := g.DialContext(context.Background(), "tcp", "malformed"); err == nil {
		t.Error("an address without port is dialed")
	}
}

func FuzzClassify(f *testing.F) {
	f.Add("169.254.1.1")
	f.Add("::ffff:10.0.0.1")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return
		}
		reason, _ := egress.Classify(a)
		if reason == "" && (a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsPrivate() || a.IsMulticast() || a.IsUnspecified()) {
			t.Errorf("%s counts as public", a)
		}
	})
}
