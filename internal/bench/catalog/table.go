//go:build linux

package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// table is one in Markdown that is readable as it is, too.
type table struct {
	head []string
	rows [][]string
}

func newTable(columns ...string) *table { return &table{head: columns} }

func (t *table) columns(names ...string) { t.head = append(t.head, names...) }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			b.WriteString("| ")
			room := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + room)
			} else {
				b.WriteString(room + cell)
			}
			b.WriteByte(' ')
		}
		b.WriteString("|\n")
	}
	line(t.head)
	for i, width := range widths {
		if i == 0 {
			b.WriteString("| " + strings.Repeat("-", width) + " ")
		} else {
			b.WriteString("| " + strings.Repeat("-", width-1) + ": ")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		line(row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
