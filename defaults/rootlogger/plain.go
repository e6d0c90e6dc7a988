package rootlogger

import (
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/flytower/flytower/internal/isotime"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// Most lines are those of requests: a few attributes with short texts and
// numbers. They are written without what other records need.

// plainLine is where such a line is made.
type plainLine struct {
	members [maxPlain]slog.Attr
	n       int
	line    []byte
}

// maxPlain is more than the members that such a line has.
const maxPlain = 24

// maxPooledLine is the largest buffer that is kept for the next line.
const maxPooledLine = 8 << 10

var plainLines = sync.Pool{New: func() any { return new(plainLine) }}

func (p *plainLine) free() {
	if cap(p.line) > maxPooledLine {
		p.line = nil
	}
	clear(p.members[:p.n])
	p.n = 0
	plainLines.Put(p)
}

// add takes an attribute, in the order of the names; a later one of the same
// name replaces an earlier one. It returns false if the line is no plain one.
func (p *plainLine) add(a slog.Attr) bool {
	switch a.Key {
	case "", "message", "level", "timestamp":
		return false
	}
	switch a.Value.Kind() {
	case slog.KindString:
		if !isASCII(a.Value.String()) {
			return false
		}
	case slog.KindInt64, slog.KindBool:
	default:
		return false
	}
	return isASCII(a.Key) && p.set(a)
}

func (p *plainLine) set(a slog.Attr) bool {
	i := p.n
	for ; i > 0; i-- {
		switch strings.Compare(p.members[i-1].Key, a.Key) {
		case 0:
			p.members[i-1] = a
			return true
		case 1:
			continue
		}
		break
	}
	if p.n == maxPlain {
		return false
	}
	copy(p.members[i+1:p.n+1], p.members[i:p.n])
	p.members[i] = a
	p.n++
	return true
}

// render makes the line of a record; false if it is no plain one.
func (p *plainLine) render(s *settings, h *handler, record slog.Record) bool {
	if len(s.overrides) > 0 || len(h.group) > 0 || !isASCII(record.Message) {
		return false
	}
	for _, a := range s.meta {
		if !p.add(a) {
			return false
		}
	}
	for _, sc := range h.scope {
		if len(sc.group) > 0 {
			return false
		}
		for _, a := range sc.attrs {
			if !p.add(a) {
				return false
			}
		}
	}
	plain := true
	record.Attrs(func(a slog.Attr) bool {
		plain = p.add(a)
		return plain
	})
	plain = plain && p.set(slog.String("level", levelName(record.Level))) && p.set(slog.String("message", record.Message))
	if h.state.timestamp && !record.Time.IsZero() {
		plain = plain && p.set(slog.String("timestamp", "")) // written below
	}
	if !plain {
		return false
	}
	line := append(p.line[:0], '{')
	for i, m := range p.members[:p.n] {
		if i > 0 {
			line = append(line, ',')
		}
		line = append(jsonvalue.AppendString(line, m.Key), ':')
		switch {
		case m.Key == "timestamp":
			line = append(isotime.Append(append(line, '"'), record.Time), '"')
		case m.Value.Kind() == slog.KindString:
			line = jsonvalue.AppendString(line, m.Value.String())
		case m.Value.Kind() == slog.KindBool:
			line = strconv.AppendBool(line, m.Value.Bool())
		default:
			line = strconv.AppendInt(line, m.Value.Int64(), 10)
		}
	}
	p.line = append(line, '}', '\n')
	return true
}
