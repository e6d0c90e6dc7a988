package rootlogger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/isotime"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// entry is a record on its way to a line. Values are what encoding/json can
// encode, or errors.
type entry struct {
	time    time.Time
	level   slog.Level
	message string
	debug   bool
	fields  object
}

// object keeps the order in which members were added; a later one of the
// same name replaces an earlier one.
type object struct {
	members []member
	places  map[string]int // of the members, once they are many
}

type member struct {
	name  string
	value any
}

// fewMembers are found faster by looking at each.
const fewMembers = 32

func (o *object) place(name string) int {
	if o.places != nil {
		if i, ok := o.places[name]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
}

func (o *object) get(name string) (any, bool) {
	if i := o.place(name); i >= 0 {
		return o.members[i].value, true
	}
	return nil, false
}

func (o *object) set(name string, v any) {
	if i := o.place(name); i >= 0 {
		o.members[i].value = v
		return
	}
	if o.members == nil {
		o.members = make([]member, 0, 16)
	}
	o.members = append(o.members, member{name, v})
	switch {
	case o.places != nil:
		o.places[name] = len(o.members) - 1
	case len(o.members) > fewMembers:
		o.places = make(map[string]int, 2*fewMembers)
		for i, m := range o.members {
			o.places[m.name] = i
		}
	}
}

// sub returns the object of a group.
func (o *object) sub(name string) *object {
	if v, _ := o.get(name); v != nil {
		if child, ok := v.(*object); ok {
			return child
		}
	}
	child := &object{}
	o.set(name, child)
	return child
}

// values returns the members as a map.
func (o *object) values() map[string]any {
	out := make(map[string]any, len(o.members)+2)
	for _, m := range o.members {
		out[m.name] = m.value
	}
	return out
}

// MarshalJSON writes the members sorted by name.
func (o *object) MarshalJSON() ([]byte, error) { return o.appendJSON(nil) }

// appendJSON appends the members sorted by name.
func (o *object) appendJSON(dst []byte) (_ []byte, err error) {
	sorted := slices.Clone(o.members)
	slices.SortFunc(sorted, func(a, b member) int { return strings.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, m := range sorted {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, m.name); err != nil {
			return nil, err
		}
		dst = append(dst, ':')
		if dst, err = appendValue(dst, m.value); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendValue appends v as JSON; most values are short texts and numbers.
func appendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		if isASCII(v) { // else encoding/json writes some characters in another way
			return jsonvalue.AppendString(dst, v), nil
		}
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case *object:
		return v.appendJSON(dst)
	}
	data, err := encode(v)
	return append(dst, data...), err
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func newEntry(r slog.Record) *entry {
	return &entry{time: r.Time, level: r.Level, message: r.Message}
}

// add puts an attribute where its groups say.
func (e *entry) add(groups []string, a slog.Attr) {
	v := a.Value.Resolve()
	if a.Key == "" && v.Kind() != slog.KindGroup {
		return
	}
	if v.Kind() == slog.KindGroup {
		members := v.Group()
		if a.Key != "" {
			groups = append(groups[:len(groups):len(groups)], a.Key)
		}
		for _, member := range members {
			e.add(groups, member)
		}
		return
	}
	if len(groups) == 0 {
		switch a.Key {
		case "message":
			e.message = strings.TrimSpace(e.message + " " + plainText(plainValue(v)))
			return
		case "level", "timestamp":
			a.Key += "_"
		}
	}
	target := &e.fields
	for _, g := range groups {
		target = target.sub(g)
	}
	target.set(a.Key, plainValue(v))
}

// matched returns the fields that overrides look at.
func (e *entry) matched() map[string]any {
	fields := e.fields.values()
	fields["message"], fields["level"] = e.message, levelName(e.level)
	return fields
}

func plainValue(v slog.Value) any {
	switch v.Kind() {
	case slog.KindDuration:
		return v.Duration().String()
	case slog.KindTime:
		return v.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindFloat64:
		if f := v.Float64(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprint(f)
		}
	}
	return v.Any()
}

// expand replaces errors by text, and adds what their text does not say.
func (e *entry) expand(o *object) *object {
	if !slices.ContainsFunc(o.members, func(m member) bool {
		switch m.value.(type) {
		case *object, error:
			return true
		}
		return false
	}) {
		return o
	}
	out := &object{}
	for _, m := range o.members {
		name := m.name
		switch v := m.value.(type) {
		case *object:
			out.set(name, e.expand(v))
		case error:
			out.set(name, errorText(v))
			if causes := hiddenCauses(v); len(causes) > 0 {
				out.set(name+"Causes", causes)
			}
			if e.debug {
				out.set("stack", stack(v))
			}
		default:
			out.set(name, v)
		}
	}
	return out
}

// errorText returns the text of an error, even of one that panics.
func errorText(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("<%T>", err)
		}
	}()
	return err.Error()
}

// maxCauses bounds how many causes of an error are written.
const maxCauses = 20

// hiddenCauses returns the texts of wrapped errors that the text of the error
// does not mention.
func hiddenCauses(err error) []string {
	var hidden []string
	said := errorText(err)
	walkCauses(err, 0, func(cause error, _ int) {
		if text := errorText(cause); text != "" && !strings.Contains(said, text) {
			hidden = append(hidden, text)
			said += "\n" + text
		}
	})
	return hidden
}

// stack describes an error and its causes with their types, one per line,
// and the stack of a panic.
func stack(err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%T: %s", err, errorText(err))
	walkCauses(err, 1, func(cause error, depth int) {
		fmt.Fprintf(&b, "\n%s%T: %s", strings.Repeat("  ", depth), cause, errorText(cause))
	})
	var p *backend.PanicError
	if errors.As(err, &p) && len(p.Stack) > 0 {
		b.WriteString("\n" + strings.TrimRight(string(p.Stack), "\n"))
	}
	return b.String()
}

func walkCauses(err error, depth int, visit func(cause error, depth int)) {
	count := 0
	var walk func(err error, depth int)
	walk = func(err error, depth int) {
		var causes []error
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			causes = []error{u.Unwrap()}
		case interface{ Unwrap() []error }:
			causes = u.Unwrap()
		}
		for _, cause := range causes {
			if count++; cause == nil || count > maxCauses {
				return
			}
			visit(cause, depth)
			walk(cause, depth+1)
		}
	}
	walk(err, depth)
}

// json renders one line.
func (e *entry) json(timestamp bool) []byte {
	fields := e.expand(&e.fields)
	fields.set("level", levelName(e.level))
	fields.set("message", e.message)
	if timestamp && !e.time.IsZero() {
		fields.set("timestamp", e.time.UTC().Format(isotime.Layout))
	}
	line, err := fields.appendJSON(make([]byte, 0, 512))
	if err == nil {
		return append(line, '\n')
	}
	// A value cannot be encoded: write those as text that cannot.
	for i, m := range fields.members {
		if _, err := encode(m.value); err != nil {
			fields.members[i].value = describe(m.value)
		}
	}
	if line, err = fields.appendJSON(nil); err != nil {
		line = []byte(`{"level":"error","message":"a log line could not be written"}`)
	}
	return append(line, '\n')
}

// describe returns a text for a value that JSON has no form for.
func describe(v any) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("<%T>", v)
		}
	}()
	if o, ok := v.(*object); ok {
		return fmt.Sprintf("%+v", o.values())
	}
	return fmt.Sprintf("%+v", v)
}

// encode returns v as JSON, with < > and & as they are.
func encode(v any) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("encode %T: panic: %v", v, p)
		}
	}()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

const (
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	amber = "\x1b[33m"
	blue  = "\x1b[34m"
	cyan  = "\x1b[36m"
	reset = "\x1b[0m"
)

// text renders a line for people; values with several lines follow below.
func (e *entry) text(color bool) []byte {
	var b, below bytes.Buffer
	paint := func(code, s string) {
		if color {
			b.WriteString(code + s + reset)
		} else {
			b.WriteString(s)
		}
	}
	if !e.time.IsZero() {
		paint(dim, e.time.UTC().Format(isotime.Layout))
		b.WriteByte(' ')
	}
	fields := e.expand(&e.fields)
	for _, name := range []string{"plugin", "service"} {
		if v, ok := fields.get(name); ok {
			paint(blue, plainText(v))
			b.WriteByte(' ')
			break
		}
	}
	level := levelName(e.level)
	paint(levelColor(e.level), level)
	b.WriteString(" " + printable(e.message))
	for _, m := range fields.members {
		name, v := m.name, m.value
		if name == "plugin" || name == "service" {
			continue
		}
		if s, ok := v.(string); ok && strings.Contains(s, "\n") {
			below.WriteString("  " + name + ":\n    " + strings.ReplaceAll(printable(s), "\n", "\n  ") + "\n")
			continue
		}
		data, err := encode(v)
		if err != nil {
			data, _ = encode(describe(v))
		}
		b.WriteByte(' ')
		paint(cyan, name)
		b.WriteString("=" + string(data))
	}
	b.WriteByte('\n')
	b.Write(below.Bytes())
	return b.Bytes()
}

// printable indents the further lines of a text, so that they cannot pass
// for lines of the log, and writes control characters, which could steer the
// terminal, as escapes.
func printable(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString("\n  ")
		case r == '\t' || !unicode.IsControl(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// escapeControls writes the control characters that JSON leaves alone (DEL and
// those of Latin-1, some of which steer terminals) as escapes, and bytes that
// are no UTF-8 as U+FFFD. It returns line itself if there are none.
func escapeControls(line []byte) []byte {
	var out []byte
	done := 0
	for i := 0; i < len(line); {
		if line[i] < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(line[i:])
		bad := r == utf8.RuneError && n == 1
		if bad || r <= 0x9f {
			out = append(out, line[done:i]...)
			if bad {
				out = append(out, "\uFFFD"...)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
			done = i + n
		}
		i += n
	}
	if done == 0 {
		return line
	}
	return append(out, line[done:]...)
}

func levelColor(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return red
	case l >= slog.LevelWarn:
		return amber
	case l >= slog.LevelInfo:
		return green
	default:
		return dim
	}
}
