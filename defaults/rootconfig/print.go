package rootconfig

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/configschema"
	"github.com/flytower/flytower/internal/conftree"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// masked stands for a secret value.
const masked = "***"

// Print writes the merged configuration as YAML: each value with a comment
// that says where it was written, and secrets as ***. Values that are secret
// according to the framework are masked even if no schema was set. A file may
// also serve plugins that are not here, whose schemas nobody knows: texts
// whose names tell that they are credentials are masked wherever they stand,
// and so are passwords within URLs.
func (r *Root) Print(w io.Writer) error {
	schema := r.Schema()
	if schema == nil {
		var err error
		if schema, err = MergeSchemas(); err != nil {
			return err
		}
	}
	tree := r.merged()
	p := printer{w: bufio.NewWriter(w), secret: map[string]bool{}}
	for _, path := range schema.SecretPaths(tree.Value()) {
		p.secret[path.String()] = true
	}
	p.members(tree, nil, "", 0)
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

type printer struct {
	w      *bufio.Writer
	secret map[string]bool
}

// members writes the members of an object; first begins the first line.
func (p *printer) members(n *conftree.Node, path configschema.Path, first string, indent int) {
	head := first
	if head == "" {
		head = strings.Repeat("  ", indent)
	}
	for _, name := range n.Names() {
		if child := n.Get(name); child.Exists() {
			p.entry(head+yamlString(name)+":", child, append(path[:len(path):len(path)], name), indent)
			head = strings.Repeat("  ", indent)
		}
	}
}

// hasMembers reports whether an object has a member with a value.
func hasMembers(n *conftree.Node) bool {
	return n.Kind == conftree.Object && slices.ContainsFunc(n.Names(), func(name string) bool { return n.Get(name).Exists() })
}

// entry writes a value behind what names it.
func (p *printer) entry(head string, n *conftree.Node, path configschema.Path, indent int) {
	switch {
	case hasMembers(n):
		p.line(head, "", n)
		p.members(n, path, "", indent+1)
	case n.Kind == conftree.Object:
		p.line(head, "{}", n)
	case n.Kind == conftree.Array && len(n.Items) > 0:
		p.line(head, "", n)
		dash := strings.Repeat("  ", indent+1) + "-"
		for i, item := range n.Items {
			at := append(path[:len(path):len(path)], i)
			if hasMembers(item) {
				p.members(item, at, dash+" ", indent+2)
			} else {
				p.entry(dash, item, at, indent+1)
			}
		}
	case n.Kind == conftree.Array:
		p.line(head, "[]", n)
	case p.secret[path.String()], n.Kind == conftree.String && namesSecret(path):
		p.line(head, `"`+masked+`"`, n)
	default:
		p.line(head, yamlScalar(n), n)
	}
}

func (p *printer) line(head, value string, n *conftree.Node) {
	p.w.WriteString(head)
	if value != "" {
		p.w.WriteString(" " + value)
	}
	// Containers may be merged from several files, so only values say where
	// they come from.
	if pos := n.Pos.String(); pos != "" && value != "" {
		p.w.WriteString(" # " + pos)
	}
	p.w.WriteByte('\n')
}

var (
	secretName  = regexp.MustCompile(`(?i)(secret|token|password|passwd|passphrase|(api|access|private|signing|encryption)[-_]?key|credential|authorization|cookie)s?$`)
	urlPassword = regexp.MustCompile(`(://[^/?#@\s:]*:)[^/?#@\s]+@`)
)

// namesSecret reports whether the last name in the path is that of a
// credential.
func namesSecret(path configschema.Path) bool {
	for _, part := range slices.Backward(path) {
		if name, ok := part.(string); ok {
			return secretName.MatchString(name)
		}
	}
	return false
}

func yamlScalar(n *conftree.Node) string {
	switch n.Kind {
	case conftree.Bool:
		return strconv.FormatBool(n.Bool)
	case conftree.Number:
		switch {
		case math.IsNaN(n.Num):
			return ".nan"
		case math.IsInf(n.Num, 1):
			return ".inf"
		case math.IsInf(n.Num, -1):
			return "-.inf"
		}
		return jsonvalue.FormatNumber(n.Num)
	case conftree.String:
		return yamlString(urlPassword.ReplaceAllString(n.Str, "${1}"+masked+"@"))
	default:
		return "null"
	}
}

var plainString = regexp.MustCompile(`^[A-Za-z_/.][A-Za-z0-9_/.+-]*(?::[A-Za-z0-9_/.+-]+)*(?: [A-Za-z0-9_/.+-]+)*$`)

// yamlString writes a string without quotes where it is read back as the
// same string.
func yamlString(s string) string {
	if plainString.MatchString(s) && conftree.Resolve(conftree.Node{}.Pos, s).Kind == conftree.String {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
