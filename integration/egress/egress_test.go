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
	for _, u := range []string{"http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://0.0.0.0/", "http://[::ffff:a9fe:a9fe]/",
		"http://2852039166/", "http://0xA9FEA9FE/", "http://0xa9.0xfe.0xa9.0xfe/", "http://0251.0376.0251.0376/", "http://169.254.43518/", "http://169.16689662/",
		"http://169.254.169.254./", "http://0/", "http://0x/", "http://[fe80::1%25lo]/",
	} {
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

// A name that resolves to a metadata service, in whatever record.
func TestNamesOfMetadataAreBlocked(t *testing.T) {
	t.Parallel()
	for _, record := range [][]byte{{169, 254, 169, 254}, {0, 0, 0, 0}, netip.MustParseAddr("fd00:ec2::254").AsSlice(), netip.MustParseAddr("::ffff:169.254.169.254").AsSlice()} {
		resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go answerNames(server, record)
			return client, nil
		}}
		g := egress.New(egress.Options{Resolver: resolver, Trusted: func(string) bool { return true }})
		if _, err := get(t, g, "http://innocent.example/"); !egress.IsBlocked(err) {
			t.Errorf("a name of %v: %v, want it blocked", record, err)
		}
	}
}

// answerNames answers the questions of a connection, in the form for streams,
// with a record.
func answerNames(conn net.Conn, record []byte) {
	defer conn.Close()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		query := make([]byte, int(head[0])<<8|int(head[1]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		end := 12
		for query[end] != 0 {
			end += 1 + int(query[end])
		}
		question := query[12 : end+5]
		kind := byte(1)
		if len(record) == net.IPv6len {
			kind = 28
		}
		answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
		if query[end+2] == kind {
			answer[7] = 1
			answer = append(answer, 0xC0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(record)))
			answer = append(answer, record...)
		}
		if _, err := conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)); err != nil {
			return
		}
	}
}
