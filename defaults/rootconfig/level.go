package rootconfig

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
	"github.com/flytower/flytower/internal/humanduration"
	"github.com/flytower/flytower/internal/jsonvalue"
)

var keyPart = regexp.MustCompile(`(?i)^[a-z][a-z0-9]*(?:[-_:][a-z0-9]+)*$`)

// level implements core.Config. It looks its path up in the tree at every
// call, so the levels of a root that reloads follow it.
type level struct {
	tree func() *conftree.Node
	base string   // full key of the tree's root: "" or an element such as "catalog.locations[2]"
	path []string // from the tree's root
	bad  *string  // a part of the path that is no valid key part
}

var _ core.Config = level{}

// fixed returns a level at a tree that does not change.
func fixed(tree *conftree.Node, base string) level {
	return level{tree: func() *conftree.Node { return tree }, base: base}
}

// at returns the level of a key. It shares no memory with l.
func (l level) at(key string) level {
	if key == "" {
		return l
	}
	parts := strings.Split(key, ".")
	for _, part := range parts {
		if l.bad == nil && !keyPart.MatchString(part) {
			l.bad = &part
		}
	}
	l.path = append(slices.Clip(l.path), parts...)
	return l
}

// name returns the full key of the level.
func (l level) name() string {
	key := strings.Join(l.path, ".")
	switch {
	case l.base == "":
		return key
	case key == "":
		return l.base
	default:
		return l.base + "." + key
	}
}

// node returns the node of the level; nil, null or absent where there is no
// value. The position is that of the node or of its nearest parent. The
// error reports a path that leads through something that is no object.
func (l level) node() (*conftree.Node, core.Position, *core.ConfigError) {
	if l.bad != nil {
		return nil, core.Position{}, &core.ConfigError{
			Key: l.name(), Problem: fmt.Sprintf("is no valid key: %q", *l.bad),
			Remedy: "the parts of a key consist of letters and digits, joined by -, _ or :, and begin with a letter",
		}
	}
	n := l.tree()
	var pos core.Position
	if n != nil {
		pos = n.Pos
	}
	for i, part := range l.path {
		if !n.Exists() {
			return n, pos, nil
		}
		if n.Kind != conftree.Object {
			parent := level{base: l.base, path: l.path[:i]}
			return nil, pos, wrongKind(parent.name(), n, "an object")
		}
		n = n.Get(part)
		if n != nil {
			pos = n.Pos
		}
	}
	return n, pos, nil
}

// value returns the existing node of the level, nil where there is none.
func (l level) value() (*conftree.Node, error) {
	n, _, err := l.node()
	if err != nil {
		return nil, err
	}
	if !n.Exists() {
		return nil, nil
	}
	return n, nil
}

func wrongKind(key string, n *conftree.Node, want string) *core.ConfigError {
	e := &core.ConfigError{Key: key, Position: n.Pos, Problem: fmt.Sprintf("must be %s, found %s", want, n.Kind)}
	if n.Kind == conftree.String && n.Str == "" {
		e.Problem = fmt.Sprintf("must be %s, found an empty string", want)
	}
	return e
}

// missing reports that a required value is not there, and why if that is
// known.
func missing(key string, n *conftree.Node, pos core.Position) *core.ConfigError {
	e := &core.ConfigError{Key: key, Position: pos, Problem: "is missing"}
	if n != nil && n.Kind == conftree.Absent {
		e.Problem += ": " + n.Str
	}
	return e
}

// Has implements core.Config.
func (l level) Has(key string) bool {
	n, err := l.at(key).value()
	return err == nil && n != nil
}

// Keys implements core.Config.
func (l level) Keys(key string) []string {
	n, err := l.at(key).value()
	if err != nil || n == nil || n.Kind != conftree.Object {
		return nil
	}
	var names []string
	for _, name := range n.Names() {
		if n.Get(name).Exists() {
			names = append(names, name)
		}
	}
	return names
}

// Value implements core.Config.
func (l level) Value(key string) (any, bool) {
	n, err := l.at(key).value()
	if err != nil || n == nil {
		return nil, false
	}
	v := n.Value()
	return v, v != nil
}

// Sub implements core.Config.
func (l level) Sub(key string) core.Config { return l.at(key) }

// List implements core.Config.
func (l level) List(key string) ([]core.Config, error) {
	at := l.at(key)
	n, err := at.value()
	if n == nil || err != nil {
		return nil, err
	}
	if n.Kind != conftree.Array {
		return nil, wrongKind(at.name(), n, "a list of objects")
	}
	list := make([]core.Config, 0, len(n.Items))
	for i, item := range n.Items {
		name := at.name() + "[" + strconv.Itoa(i) + "]"
		if item.Kind != conftree.Object {
			return nil, wrongKind(name, item, "an object")
		}
		list = append(list, fixed(item, name))
	}
	return list, nil
}

// String implements core.Config.
func (l level) String(key string) (string, error) {
	at := l.at(key)
	n, pos, err := at.node()
	switch {
	case err != nil:
		return "", err
	case !n.Exists():
		return "", missing(at.name(), n, pos)
	}
	s, err := toString(at.name(), n)
	if err != nil {
		return "", err
	}
	return s, nil
}

// StringOr implements core.Config.
func (l level) StringOr(key, absent string) (string, error) {
	return read(l.at(key), absent, toString)
}

// Strings implements core.Config.
func (l level) Strings(key string) ([]string, error) {
	return read(l.at(key), nil, func(key string, n *conftree.Node) ([]string, *core.ConfigError) {
		if n.Kind != conftree.Array {
			e := wrongKind(key, n, "a list of strings")
			if n.Kind == conftree.String {
				e.Remedy = "put it in brackets"
			}
			return nil, e
		}
		list := make([]string, 0, len(n.Items))
		for i, item := range n.Items {
			s, err := toString(key+"["+strconv.Itoa(i)+"]", item)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		}
		return list, nil
	})
}

// NumberOr implements core.Config.
func (l level) NumberOr(key string, absent float64) (float64, error) {
	return read(l.at(key), absent, toNumber)
}

// IntOr implements core.Config.
func (l level) IntOr(key string, absent int) (int, error) {
	return read(l.at(key), absent, toInt)
}

// BoolOr implements core.Config.
func (l level) BoolOr(key string, absent bool) (bool, error) {
	return read(l.at(key), absent, toBool)
}

// DurationOr implements core.Config.
func (l level) DurationOr(key string, absent time.Duration) (time.Duration, error) {
	return read(l.at(key), absent, toDuration)
}

// Position implements core.Config.
func (l level) Position(key string) core.Position {
	n, err := l.at(key).value()
	if err != nil || n == nil {
		return core.Position{}
	}
	return n.Pos
}

// Path implements core.Config.
func (l level) Path(key string) string { return l.at(key).name() }

// read converts the value of a level, if there is one.
func read[T any](at level, absent T, convert func(string, *conftree.Node) (T, *core.ConfigError)) (T, error) {
	n, err := at.value()
	if err != nil {
		return absent, err
	}
	if n == nil {
		return absent, nil
	}
	v, bad := convert(at.name(), n)
	if bad != nil {
		return absent, bad
	}
	return v, nil
}

func toString(key string, n *conftree.Node) (string, *core.ConfigError) {
	if n.Kind != conftree.String || n.Str == "" {
		e := wrongKind(key, n, "a non-empty string")
		if n.Kind == conftree.Number || n.Kind == conftree.Bool {
			e.Remedy = "put it in quotes"
		}
		return "", e
	}
	return n.Str, nil
}

func toNumber(key string, n *conftree.Node) (float64, *core.ConfigError) {
	var f float64
	switch n.Kind {
	case conftree.Number:
		f = n.Num
	case conftree.String:
		f = parseNumber(n.Str)
		if math.IsNaN(f) {
			return 0, &core.ConfigError{Key: key, Position: n.Pos, Problem: "must be a number, found a string that is none"}
		}
	default:
		return 0, wrongKind(key, n, "a number")
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, &core.ConfigError{Key: key, Position: n.Pos, Problem: "must be a finite number"}
	}
	return f, nil
}

var jsNumber = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$`)

// parseNumber reads the numbers that JavaScript's Number reads, except the
// empty string.
func parseNumber(s string) float64 {
	s = strings.TrimSpace(s)
	if jsNumber.MatchString(s) {
		f, _ := strconv.ParseFloat(s, 64)
		return f
	}
	if len(s) > 2 && s[0] == '0' {
		base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'O': 8, 'b': 2, 'B': 2}[s[1]]
		if base != 0 && !strings.ContainsAny(s, "_+-") {
			if u, err := strconv.ParseUint(s[2:], base, 64); err == nil {
				return float64(u)
			}
		}
	}
	return math.NaN()
}

func toInt(key string, n *conftree.Node) (int, *core.ConfigError) {
	f, err := toNumber(key, n)
	if err != nil {
		return 0, err
	}
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, &core.ConfigError{Key: key, Position: n.Pos, Problem: "must be a whole number, found " + jsonvalue.FormatNumber(f)}
	}
	return int(f), nil
}

func toBool(key string, n *conftree.Node) (bool, *core.ConfigError) {
	text := ""
	switch n.Kind {
	case conftree.Bool:
		return n.Bool, nil
	case conftree.String:
		text = strings.ToLower(strings.TrimSpace(n.Str))
	case conftree.Number:
		text = jsonvalue.FormatNumber(n.Num)
	default:
		return false, wrongKind(key, n, "a boolean")
	}
	switch text {
	case "y", "yes", "true", "1", "on":
		return true, nil
	case "n", "no", "false", "0", "off":
		return false, nil
	}
	e := wrongKind(key, n, "a boolean")
	e.Problem += " that is none"
	e.Remedy = "write true or false"
	return false, e
}

func toDuration(key string, n *conftree.Node) (time.Duration, *core.ConfigError) {
	d, err := humanduration.Parse(n.Value())
	if err != nil {
		problem, remedy, _ := strings.Cut(err.Error(), "; ")
		return 0, &core.ConfigError{Key: key, Position: n.Pos, Problem: problem, Remedy: remedy, Err: err}
	}
	return d, nil
}
