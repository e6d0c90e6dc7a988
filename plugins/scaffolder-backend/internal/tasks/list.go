package tasks

import (
	"context"
	"fmt"
	"strings"

	"github.com/flytower/flytower/apierr"
)

// Filter chooses tasks.
type Filter struct {
	// CreatedBy and Statuses keep tasks with one of the values; empty ones keep
	// all.
	CreatedBy, Statuses []string
	// Condition restricts further; nil does not.
	Condition Condition
	// Order is a list of fields; the newest task is first without it.
	Order []Order
	// Limit is the size of the page; nil is all.
	Limit *int
	// Offset skips tasks.
	Offset int
}

// Order is a field to order by.
type Order struct {
	Field      string // created_at, status or created_by
	Descending bool
}

// ParseOrder reads "asc:<field>" or "desc:<field>".
func ParseOrder(text string) (Order, error) {
	direction, field, ok := strings.Cut(text, ":")
	if !ok || direction != "asc" && direction != "desc" {
		return Order{}, apierr.Input(`Invalid order parameter "%s", expected "<asc or desc>:<field name>"`, text)
	}
	switch field {
	case "created_at", "status", "created_by":
		return Order{Field: field, Descending: direction == "desc"}, nil
	}
	return Order{}, apierr.Input(`Invalid order field "%s"`, field)
}

// Condition is a restriction of lists: one of [CreatedBy], [All], [Any] and
// [Not].
type Condition interface {
	// sql returns the text with a ? for each argument.
	sql() (text string, args []any)
}

// CreatedBy keeps tasks of the users.
type CreatedBy []string

// All keeps tasks for which all conditions hold.
type All []Condition

// Any keeps tasks for which one of the conditions holds.
type Any []Condition

// Not keeps tasks for which the condition does not hold.
type Not struct{ Condition Condition }

func (c CreatedBy) sql() (string, []any) {
	return in("created_by", c)
}

// in is a comparison that is never NULL, so that it can be negated.
func in(column string, values []string) (string, []any) {
	var args []any
	for _, v := range values {
		if v != "" {
			args = append(args, v)
		}
	}
	if len(args) == 0 {
		return "(1 = 0)", nil
	}
	return "(COALESCE(" + column + ", '') IN (?" + strings.Repeat(", ?", len(args)-1) + "))", args
}

func (c All) sql() (string, []any) { return join(c, " AND ", "(1 = 1)") }
func (c Any) sql() (string, []any) { return join(c, " OR ", "(1 = 0)") }

func join(conditions []Condition, with, none string) (string, []any) {
	if len(conditions) == 0 {
		return none, nil
	}
	var texts []string
	var all []any
	for _, c := range conditions {
		text, args := c.sql()
		texts, all = append(texts, text), append(all, args...)
	}
	return "(" + strings.Join(texts, with) + ")", all
}

func (c Not) sql() (string, []any) {
	text, args := c.Condition.sql()
	return "(NOT " + text + ")", args
}

// List returns a page of tasks, and how many there are in all.
func (s *Store) List(ctx context.Context, f Filter) (page []Task, total int, err error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, 0, err
	}
	var conditions All
	if len(f.CreatedBy) > 0 {
		conditions = append(conditions, CreatedBy(f.CreatedBy))
	}
	if len(f.Statuses) > 0 {
		conditions = append(conditions, statuses(f.Statuses))
	}
	if f.Condition != nil {
		conditions = append(conditions, f.Condition)
	}
	where, args := conditions.sql()
	if err := db.QueryRowContext(ctx, s.text(`SELECT COUNT(*) FROM scaffolder_task WHERE `+where), args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count tasks: %w", err)
	}
	page = []Task{}
	if f.Limit != nil && *f.Limit == 0 {
		return page, total, nil
	}
	statement := `SELECT ` + columns + ` FROM scaffolder_task WHERE ` + where + ` ORDER BY ` + orderBy(f.Order)
	switch {
	case f.Limit != nil:
		statement += ` LIMIT ? OFFSET ?`
		args = append(args, *f.Limit, f.Offset)
	case f.Offset > 0:
		statement += ` LIMIT 9223372036854775807 OFFSET ?`
		args = append(args, f.Offset)
	}
	rows, err := db.QueryContext(ctx, s.text(statement), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list tasks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, 0, fmt.Errorf("list tasks: %w", err)
		}
		page = append(page, t)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("list tasks: %w", err)
	}
	return page, total, nil
}

type statuses []string

func (c statuses) sql() (string, []any) { return in("status", c) }

// orderBy ends with the id, so that pages do not overlap.
func orderBy(order []Order) string {
	if len(order) == 0 {
		order = []Order{{Field: "created_at", Descending: true}}
	}
	parts := make([]string, 0, len(order)+1)
	for _, o := range order {
		if o.Descending {
			parts = append(parts, o.Field+" DESC")
		} else {
			parts = append(parts, o.Field)
		}
	}
	return strings.Join(append(parts, "id"), ", ")
}
