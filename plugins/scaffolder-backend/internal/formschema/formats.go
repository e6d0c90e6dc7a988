package formschema

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

const (
	space = `[\s\v\p{Z}\x{FEFF}]`
	clock = `(?:2[0-4]|[01][0-9]):[0-5][0-9]:(?:60|[0-5][0-9])`
	day   = `\d{4}-(?:0[0-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])`
	// label is a part of the name of a host.
	label = `[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?`
	octet = `(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)`
	ip4   = octet + `\.` + octet + `\.` + octet + `\.` + octet
	// word is what a mail address has between dots (RFC 5322, atext).
	word     = "[\\w!#$%&'*+/=?^`{|}~-]+"
	wideWord = `(?:[!#-'*+\-/-9=?A-Z^-\x{10FFFF}]\.?)*[!#-'*+\-/-9=?A-Z^-\x{10FFFF}]`
	byteText = `(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	percent  = `(?:\d?\d%|100%)+`
	pointer  = `(?:/(?:[\x00-.0-}\x7f]|~[01])*)*`
	hours    = `T\d+(?:H(?:\d+M(?:\d+S)?)?|M(?:\d+S)?|S)`
)

// listOf is three values with commas in brackets.
func listOf(value string) string {
	comma := space + `*,` + space + `*`
	return `rgb\(` + space + `*` + value + comma + value + comma + value + space + `*\)`
}

// formats are those that are checked by an expression; of formats that are
// missing here, and have no function below, all texts are. They are made when
// the first one is needed.
var formats = sync.OnceValue(func() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		"date-time":             regexp.MustCompile(`^` + day + `[tT ]` + clock + `(?:\.\d+)?(?:[zZ]|[+-][0-5][0-9]:(?:60|[0-5][0-9]))$`),
		"date":                  regexp.MustCompile(`^` + day + `$`),
		"time":                  regexp.MustCompile(`^` + clock + `$`),
		"duration":              regexp.MustCompile(`(?i)P(?:` + hours + `|\d+(?:D|M(?:\d+D)?|Y(?:\d+M(?:\d+D)?)?)(?:` + hours + `)?|\d+W)`),
		"email":                 regexp.MustCompile(`^` + word + `(?:\.` + word + `)*@(?:` + label + `(?:\.` + label + `)+|\[` + ip4 + `\])$`),
		"idn-email":             regexp.MustCompile(`^(?:"(?:[!#-\[\]-\x{10FFFF}]|\\[\t -\x{10FFFF}])*"|` + wideWord + `)@(?:` + wideWord + `|\[[!-Z^-\x{10FFFF}]*\])$`),
		"ip-address":            regexp.MustCompile(`^` + ip4 + `$`),
		"uri":                   regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s\v\p{Z}\x{FEFF}]*$`),
		"uuid":                  regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`),
		"json-pointer":          regexp.MustCompile(`^` + pointer + `$`),
		"relative-json-pointer": regexp.MustCompile(`^\d+(?:#|` + pointer + `)$`),
		"hostname":              regexp.MustCompile(`^` + label + `(?:\.` + label + `)*\.?$`),
		"style":                 regexp.MustCompile(`[^\r\n\t ][^:]*:`),
		"color": regexp.MustCompile(`^(?:#?(?:[0-9A-Fa-f]{3}){1,2}|aqua|black|blue|fuchsia|gray|green|lime|maroon|navy|olive|orange|purple|red|silver|teal|white|yellow|` +
			listOf(byteText) + `|` + listOf(percent) + `)$`),
		"phone":        regexp.MustCompile(`^\+(?:[0-9] ?){6,14}[0-9]$`),
		"alpha":        regexp.MustCompile(`^[a-zA-Z]+$`),
		"alphanumeric": regexp.MustCompile(`^[a-zA-Z0-9]+$`),
	}
})

// otherNames of formats.
var otherNames = map[string]string{"ipv4": "ip-address", "iri": "uri", "host-name": "hostname", "regexp": "regex", "pattern": "regex"}

const (
	// longestFormatted bounds the texts whose format is looked at, in bytes.
	longestFormatted = 64 << 10
	// longestHost is that of names of hosts.
	longestHost = 255
)

func (n *node) format(v template.Value) {
	name, ok := v.(template.String)
	value, isText := n.value.(template.String)
	if ok && isText && !hasFormat(string(name), string(value)) {
		n.report("format", "does not conform to the "+string(template.AppendJSON(nil, name))+" format", name)
	}
}

func hasFormat(name, text string) bool {
	if len(text) > longestFormatted {
		return false
	}
	if other, ok := otherNames[name]; ok {
		name = other
	}
	switch name {
	case "ipv6":
		return isIPv6(text)
	case "uri-reference":
		return isReference(text, false)
	case "iri-reference":
		return isReference(text, true)
	case "utc-millisec":
		return isWhole(text)
	case "hostname":
		return len(text) <= longestHost && formats()[name].MatchString(text)
	case "regex":
		_, err := ecmaregexp.Compile(text, "")
		return err == nil
	}
	re := formats()[name]
	return re == nil || re.MatchString(text)
}

// isIPv6 allows a zone, and white space around it.
func isIPv6(text string) bool {
	address, zone, zoned := strings.Cut(strings.TrimSpace(text), "%")
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Is6() && (!zoned || zone != "")
}

// reference has the parts of a URL reference.
var reference = sync.OnceValue(func() (r struct{ scheme, authority, segments, wide *regexp.Regexp }) {
	r.scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	r.authority = regexp.MustCompile(`^(?:(?:%[0-9A-Fa-f]{2}|[!$&-.0-9;=A-Z_a-z~])+|(?:\[(?:(?:[Vv][0-9A-Fa-f]+\.[!$&-.0-;=A-Z_a-z~]+)?|[.0-:A-Fa-f]+)\])?)(?::\d*)?$`)
	r.segments = regexp.MustCompile(`^(?:%[0-9A-Fa-f]{2}|[!$&-;=?-Z_a-z~])*$`)
	r.wide = regexp.MustCompile(`[\x7f-\x{10FFFF}]`)
	return r
})

// isReference reports whether a text is a reference of RFC 3986 without
// information on a user; in an international one, characters beyond ASCII are
// like letters that no scheme may have.
func isReference(text string, international bool) bool {
	re := reference()
	if international {
		text = re.wide.ReplaceAllString(text, "~")
	}
	text, fragment, _ := strings.Cut(text, "#")
	if !re.segments.MatchString(fragment) {
		return false
	}
	start := re.scheme.FindString(text)
	rest := text[len(start):]
	if host, ok := strings.CutPrefix(rest, "//"); ok {
		end := strings.IndexAny(host, "/?")
		if end < 0 {
			end = len(host)
		}
		return re.authority.MatchString(host[:end]) && re.segments.MatchString(host[end:])
	}
	first := rest
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		first = rest[:end]
	}
	return (start != "" || !strings.Contains(first, ":")) && re.segments.MatchString(rest)
}

// numeral has the forms of numbers: decimal, and with a base.
var numeral = sync.OnceValue(func() (r struct{ decimal, based *regexp.Regexp }) {
	r.decimal = regexp.MustCompile(`^([+-]?\d+)(?:\.\d*)?(?:[eE][+-]?\d+)?$`)
	r.based = regexp.MustCompile(`^0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)$`)
	return r
})

// isWhole reports whether a text is a number whose first digits are all of it.
func isWhole(text string) bool {
	text = strings.TrimSpace(text)
	if numeral().based.MatchString(text) {
		return true
	}
	digits := numeral().decimal.FindStringSubmatch(text)
	if digits == nil {
		return false
	}
	all, err := strconv.ParseFloat(text, 64)
	first, firstErr := strconv.ParseFloat(digits[1], 64)
	return err == nil && firstErr == nil && all == first
}
