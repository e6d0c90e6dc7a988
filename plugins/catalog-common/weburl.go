package catalogcommon

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// IsURL reports whether s parses as an absolute URL by the rules that browsers
// follow (the WHATWG URL Standard). They are laxer than net/url in what they
// repair, such as spaces and backslashes, and stricter about hosts.
func IsURL(s string) bool {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, s)
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || !isLetter(scheme[0]) {
		return false
	}
	for i := 1; i < len(scheme); i++ {
		if c := scheme[i]; !isLetter(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	switch strings.ToLower(scheme) {
	case "http", "https", "ws", "wss", "ftp":
		authority := rest[len(rest)-len(strings.TrimLeft(rest, `/\`)):]
		if i := strings.IndexAny(authority, `/\?#`); i >= 0 {
			authority = authority[:i]
		}
		return isAuthority(authority, true)
	case "file":
		path := strings.ReplaceAll(rest, `\`, "/")
		if !strings.HasPrefix(path, "//") {
			return true
		}
		host := path[2:]
		if i := strings.IndexAny(host, "/?#"); i >= 0 {
			host = host[:i]
		}
		if host == "" || len(host) == 2 && isLetter(host[0]) && (host[1] == ':' || host[1] == '|') {
			return true // no host, or a Windows drive
		}
		return isSpecialHost(host)
	default:
		if !strings.HasPrefix(rest, "//") {
			return true // an opaque path takes anything
		}
		authority := rest[2:]
		if i := strings.IndexAny(authority, "/?#"); i >= 0 {
			authority = authority[:i]
		}
		return authority == "" || isAuthority(authority, false)
	}
}

// isAuthority checks [userinfo@]host[:port].
func isAuthority(authority string, special bool) bool {
	userinfo := false
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority, userinfo = authority[i+1:], true
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if host == "" {
			return false
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 32)
		if err != nil && strings.Trim(port, "0") != "" || n > 65535 {
			return false
		}
	}
	if host == "" {
		return !special && !userinfo
	}
	if special {
		return isSpecialHost(host)
	}
	if host[0] == '[' {
		return isIPv6Host(host)
	}
	return !strings.ContainsAny(host, "\x00\t\n\r #/:<>?@[\\]^|")
}

func isIPv6Host(host string) bool {
	inner, closed := strings.CutSuffix(host[1:], "]")
	if !closed || strings.Contains(inner, "%") {
		return false
	}
	addr, err := netip.ParseAddr(inner)
	return err == nil && addr.Is6()
}

// isSpecialHost checks the host of a scheme that has to have a domain or an address.
func isSpecialHost(host string) bool {
	if host[0] == '[' {
		return isIPv6Host(host)
	}
	if strings.ContainsRune(host, '%') {
		plain, err := url.PathUnescape(host)
		if err != nil {
			return false
		}
		host = plain
	}
	if !utf8.ValidString(host) {
		return false
	}
	for _, r := range host {
		if r <= ' ' || r == 0x7F || strings.ContainsRune(`#%/:<>?@[\]^|`, r) {
			return false
		}
	}
	return !endsInNumber(host) || isIPv4Host(host)
}

func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" {
		return false
	}
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	_, ok := ipv4Number(last)
	return ok
}

// isIPv4Host accepts one to four numbers in decimal, octal or hex, as browsers do.
func isIPv4Host(host string) bool {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return false
	}
	for i, part := range parts {
		n, ok := ipv4Number(part)
		if !ok {
			return false
		}
		room := uint64(255)
		if i == len(parts)-1 {
			room = 1<<(8*(5-len(parts))) - 1
		}
		if n > room {
			return false
		}
	}
	return true
}

func ipv4Number(s string) (uint64, bool) {
	if s == "" {
		return 0, false
	}
	base := 10
	switch {
	case len(s) >= 2 && (s[:2] == "0x" || s[:2] == "0X"):
		s, base = s[2:], 16
	case len(s) >= 2 && s[0] == '0':
		s, base = s[1:], 8
	}
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}
