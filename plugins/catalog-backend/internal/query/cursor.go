package query

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/jsonvalue"
)

// Order is a field to order by.
type Order struct {
	// Field is lower case.
	Field string
	// Descending reverses the order.
	Descending bool
}

// UnmarshalJSON reads {"field", "order"}; an absent order is ascending.
func (o *Order) UnmarshalJSON(text []byte) error {
	var v struct {
		Field string  `json:"field"`
		Order *string `json:"order"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.Field == "" {
		return apierr.Input("Invalid order field, it must not be empty")
	}
	o.Field, o.Descending = strings.ToLower(v.Field), false
	if v.Order != nil {
		switch *v.Order {
		case "asc":
		case "desc":
			o.Descending = true
		default:
			return apierr.Input("Invalid order field order, must be asc or desc")
		}
	}
	return nil
}

// ParseOrderField reads "field[,asc|desc]", the form of the parameter
// orderField.
func ParseOrderField(text string) (Order, error) {
	field, dir, has := strings.Cut(text, ",")
	o := Order{Field: strings.ToLower(strings.TrimSpace(field))}
	if o.Field == "" {
		return o, apierr.Input("Invalid order field %q, expected <field>,<asc or desc>", text)
	}
	if has {
		switch strings.TrimSpace(dir) {
		case "asc":
		case "desc":
			o.Descending = true
		default:
			return o, apierr.Input("Invalid order field order, must be asc or desc")
		}
	}
	return o, nil
}

// ParseOrder reads "asc:field" or "desc:field", the form of the parameter
// order.
func ParseOrder(text string) (Order, error) {
	dir, field, ok := strings.Cut(text, ":")
	field = strings.ToLower(strings.TrimSpace(field))
	if !ok || field == "" || dir != "asc" && dir != "desc" {
		return Order{}, apierr.Input("Invalid order parameter %q, expected %q", text, "<asc or desc>:<field name>")
	}
	return Order{Field: field, Descending: dir == "desc"}, nil
}

// FullText restricts a list to entities in which one of the fields contains
// the term.
type FullText struct {
	// Term is trimmed and lower case; empty restricts nothing.
	Term string `json:"term"`
	// Fields are lower case; of none, those that the list is ordered by.
	Fields []string `json:"fields,omitempty"`
}

// NewFullText normalises a term and the fields to look in.
func NewFullText(term string, fields []string) FullText {
	f := FullText{Term: strings.ToLower(strings.TrimSpace(term))}
	for _, field := range fields {
		if field = strings.ToLower(strings.TrimSpace(field)); field != "" {
			f.Fields = append(f.Fields, field)
		}
	}
	return f
}

// Position is the place of an entity in a list: its value of the field that
// the list is ordered by, if any, and its ref.
type Position struct {
	// Value is meaningful if the list is ordered by a field.
	Value string
	// Ref breaks ties.
	Ref string
}

// Cursor is a list and a place in it. Clients get it as opaque text, which
// some of them decode to see whether it has a query.
type Cursor struct {
	Order    []Order
	Previous bool // the page before Position, otherwise the one after it
	Query    Predicate
	FullText FullText
	Position Position
	First    Position // of the first entity of the list
	Total    int
}

type wireCursor struct {
	OrderFields          []Order   `json:"orderFields"`
	IsPrevious           bool      `json:"isPrevious"`
	Query                any       `json:"query,omitempty"`
	Filter               any       `json:"filter,omitempty"`
	FullTextFilter       *FullText `json:"fullTextFilter,omitempty"`
	OrderFieldValues     []*string `json:"orderFieldValues"`
	FirstSortFieldValues []*string `json:"firstSortFieldValues,omitempty"`
	TotalItems           int       `json:"totalItems"`
}

// String returns the text that clients get: the JSON text of a wireCursor in
// base64. Every list has one, so it is written without reflection.
func (c Cursor) String() string {
	b := make([]byte, 0, 512)
	b = append(b, `{"orderFields":[`...)
	for i, o := range c.Order {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonvalue.AppendString(append(b, `{"field":`...), o.Field)
		if o.Descending {
			b = append(b, `,"order":"desc"}`...)
		} else {
			b = append(b, `,"order":"asc"}`...)
		}
	}
	b = strconv.AppendBool(append(b, `],"isPrevious":`...), c.Previous)
	if c.Query != nil {
		b = jsonvalue.Append(append(b, `,"query":`...), Encode(c.Query))
	}
	b = jsonvalue.AppendString(append(b, `,"fullTextFilter":{"term":`...), c.FullText.Term)
	for i, field := range c.FullText.Fields {
		if i == 0 {
			b = append(b, `,"fields":[`...)
		} else {
			b = append(b, ',')
		}
		b = jsonvalue.AppendString(b, field)
	}
	if len(c.FullText.Fields) > 0 {
		b = append(b, ']')
	}
	b = c.appendPosition(append(b, `},"orderFieldValues":`...), c.Position)
	b = c.appendPosition(append(b, `,"firstSortFieldValues":`...), c.First)
	b = strconv.AppendInt(append(b, `,"totalItems":`...), int64(c.Total), 10)
	return base64.StdEncoding.EncodeToString(append(b, '}'))
}

// appendPosition appends the values that a list is ordered by.
func (c Cursor) appendPosition(b []byte, p Position) []byte {
	b = append(b, '[')
	if len(c.Order) > 0 {
		b = append(jsonvalue.AppendString(b, p.Value), ',')
	}
	return append(jsonvalue.AppendString(b, p.Ref), ']')
}

func (c Cursor) position(values []*string) (Position, bool) {
	want := 1
	if len(c.Order) > 0 {
		want = 2
	}
	if len(values) != want || values[want-1] == nil {
		return Position{}, false
	}
	p := Position{Ref: *values[want-1]}
	if want == 2 {
		if values[0] == nil {
			return Position{}, false
		}
		p.Value = *values[0]
	}
	return p, true
}

// maxCursor bounds the text of a cursor, in bytes.
const maxCursor = 1 << 20

// ParseCursor reads a cursor that a client sent back. It is input like any
// other: nothing in it widens what the client may see.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, apierr.Input("Cursor cannot be empty")
	}
	if len(text) > maxCursor {
		return Cursor{}, apierr.Input("Malformed cursor: it is longer than %d bytes", maxCursor)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		if raw, err = base64.URLEncoding.DecodeString(text); err != nil {
			return Cursor{}, apierr.Input("Malformed cursor: it is not base64")
		}
	}
	var w wireCursor
	if err := json.Unmarshal(raw, &w); err != nil {
		return Cursor{}, apierr.Input("Malformed cursor: %s", err.Error())
	}
	if w.OrderFields == nil || w.OrderFieldValues == nil {
		return Cursor{}, apierr.Input("Malformed cursor: the order is missing")
	}
	c := Cursor{Order: w.OrderFields, Previous: w.IsPrevious, Total: w.TotalItems}
	if w.FullTextFilter != nil {
		c.FullText = NewFullText(w.FullTextFilter.Term, w.FullTextFilter.Fields)
	}
	if w.Query != nil {
		if c.Query, err = Parse(w.Query); err != nil {
			return Cursor{}, apierr.Input("Malformed cursor: %s", err.Error())
		}
	}
	if w.Filter != nil {
		p, err := ParseEntityFilter(w.Filter)
		if err != nil {
			return Cursor{}, err
		}
		c.Query = Both(c.Query, p)
	}
	if size(c.Query) > 2*maxNodes {
		return Cursor{}, apierr.Input("Malformed cursor: the filter has more than %d conditions and values", maxNodes)
	}
	var ok bool
	if c.Position, ok = c.position(w.OrderFieldValues); !ok {
		return Cursor{}, apierr.Input("Malformed cursor: the place in the list is missing")
	}
	if w.FirstSortFieldValues != nil {
		if c.First, ok = c.position(w.FirstSortFieldValues); !ok {
			return Cursor{}, apierr.Input("Malformed cursor: the first place in the list is missing")
		}
	}
	return c, nil
}
