package formschema

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Formats that are checked; all others hold.
var formats = map[string]*regexp.Regexp{
	"date-time":             regexp.MustCompile(`(?i)^\d{4}-(?:0[0-9]|1[0-2])-(?:3[01]|0[1-9]|[12][0-9])[tT ](?:2[0-4]|[01][0-9]):[0-5][0-9]:(?:60|[0-5][0-9])(?:\.\d+)?(?:[zZ]|[+-](?:[0-5][0-9]):(?:60|[0-5][0-9]))$`),
	"date":                  regexp.MustCompile(`^\d{4}-(?:0[0-9]|1[0-2])-(?:3[01]|0[1-9]|[12][0-9])$`),
	"time":                  regexp.MustCompile(`^(?:2[0-4]|[01][0-9]):[0-5][0-9]:(?:60|[0-5][0-9])$`),
	"duration":              regexp.MustCompile(`(?i)^P(?:T\d+(?:H(?:\d+M(?:\d+S)?)?|M(?:\d+S)?|S)|\d+(?:D|M(?:\d+D)?|Y(?:\d+M(?:\d+D)?)?)(?:T\d+(?:H(?:\d+M(?:\d+S)?)?|M(?:\d+S)?|S))?|\d+W)$`),
	"email":                 regexp.MustCompile("^(?:[\\w!#$%&'*+/=?^`{|}~-]+(?:\\.[\\w!#$%&'*+/=?^`{|}~-]+)*|\"[^\"\\\\\\r\\n]*\")@(?:[\\w!#$%&'*+/=?^`{|}~-]+(?:\\.[\\w!#$%&'*+/=?^`{|}~-]+)*|\\[[^\\]]*\\])$"),
	"idn-email":             regexp.MustCompile(`^(?:"[^"\\\r\n]*"|[^\s@"<>]+)@[^\s@<>]+$`),
	"uri":                   regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s]*$`),
	"iri":                   regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s]*$`),
	"uri-reference":         regexp.MustCompile(`^[^\s"<>\\^{|}]*$`),
	"iri-reference":         regexp.MustCompile(`^[^\s"<>\\^{|}]*$`),
	"uri-template":          regexp.MustCompile(`^(?:[^\s{}"<>\\^|]|\{[^\s{}]+\})*$`),
	"uuid":                  regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`),
	"json-pointer":          regexp.MustCompile(`^(?:/(?:[^~/]|~[01])*)*$`),
	"relative-json-pointer": regexp.MustCompile(`^\d+(?:#|(?:/(?:[^~/]|~[01])*)*)$`),
	"hostname":              regexp.MustCompile(`^(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9])(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]))*$`),
	"utc-millisec":          regexp.MustCompile(`^-?\d+(?:\.\d+)?$`),
	"style":                 regexp.MustCompile(`^(?:[\r\n\t ]*[^\r\n\t ][^:]*:[\r\n\t ]*[^\r\n\t ;]*[\r\n\t ]*;?)*$`),
	"color":                 regexp.MustCompile(`^(?:#?(?:[0-9A-Fa-f]{3,6})\b|[a-z]+|rgb\([^)]*\))$`),
	"phone":                 regexp.MustCompile(`^\+(?:[0-9] ?){6,14}[0-9]$`),
	"alpha":                 regexp.MustCompile(`^[a-zA-Z]+$`),
	"alphanumeric":          regexp.MustCompile(`^[a-zA-Z0-9]+$`),
}

// longestFormatted bounds the texts whose format is looked at, in bytes.
const longestFormatted = 64 << 10

func (n *node) format(v template.Value) {
	name, ok := v.(template.String)
	value, isText := n.value.(template.String)
	if ok && isText && !n.hasFormat(string(name), string(value)) {
		n.report("format", "does not conform to the "+string(template.AppendJSON(nil, name))+" format", name)
	}
}

func (n *node) hasFormat(name, text string) bool {
	if len(text) > longestFormatted {
		return false
	}
	switch name {
	case "ip-address", "ipv4":
		ip, err := netip.ParseAddr(text)
		return err == nil && ip.Is4()
	case "ipv6":
		ip, err := netip.ParseAddr(text)
		return err == nil && ip.Is6() && !strings.Contains(text, "%")
	case "regex", "regexp", "pattern":
		_, err := ecmaregexp.Compile(text, "")
		return err == nil
	case "host-name":
		name = "hostname"
	}
	re := formats[name]
	return re == nil || re.MatchString(text)
}
