package main

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is aligned text: numbers to the right, words to the left, columns without any entry left out.
type table struct {
	head  []string
	right []bool
	rows  [][]string
}

// newTable names the columns; one that begins with '>' is aligned to the right.
func newTable(columns ...string) *table {
	t := &table{}
	for _, c := range columns {
		name, right := strings.CutPrefix(c, ">")
		t.head, t.right = append(t.head, name), append(t.right, right)
	}
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table, each line behind indent.
func (t *table) write(w io.Writer, indent string) error {
	widths := make([]int, len(t.head))
	for c := range t.head {
		if slices.ContainsFunc(t.rows, func(r []string) bool { return r[c] != "" }) {
			widths[c] = utf8.RuneCountInString(t.head[c])
		}
		for _, r := range t.rows {
			widths[c] = max(widths[c], utf8.RuneCountInString(r[c]))
		}
	}
	var b strings.Builder
	for _, r := range append([][]string{t.head}, t.rows...) {
		line := indent
		for c, cell := range r {
			if widths[c] == 0 {
				continue
			}
			pad := strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell))
			if t.right[c] {
				cell = pad + cell
			} else {
				cell += pad
			}
			line += cell + "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// number writes n with separators: 1,234,567.
func number[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		s = "-" + s
	}
	return s
}

// blank is number, and nothing for 0.
func blank[T int | int64 | uint64](n T) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

// count names a number of things: 1 record, 2 records.
func counted[T int | int64 | uint64](n T, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}
