package sdk

import (
	"fmt"
	"slices"
)

// Wanted is the answer to Spec.Needs of a sink with an option `columns`: those that are listed, or all of in that are not Extra.
func Wanted(columns []string, in *Schema) []string {
	if len(columns) > 0 {
		return columns
	}
	all := make([]string, 0, in.Len())
	for _, f := range in.Fields() {
		if !f.Extra {
			all = append(all, f.Name)
		}
	}
	return all
}

// Added is the answer to Spec.Output of a processor that adds columns: in, and fields behind it. A column that is there already is a Problem.
func Added(in *Schema, fields ...Field) ([]*Schema, error) {
	for _, f := range fields {
		if in.Index(f.Name) >= 0 {
			return nil, &Problem{Message: "the input has a column " + f.Name + " already", Help: "one processor of this type is enough"}
		}
	}
	return []*Schema{NewSchema(append(slices.Clone(in.Fields()), fields...)...)}, nil
}

// AddedNeeds is the answer to Spec.Needs of such a processor, of the columns wanted of it: those that pass through, and for each one that
// it adds, the input's columns that it makes it of.
func AddedNeeds(wanted []string, madeOf map[string][]string) []string {
	var list, of []string
	for _, w := range wanted {
		if made, ok := madeOf[w]; ok {
			of = append(of, made...)
		} else {
			list = append(list, w)
		}
	}
	for _, c := range of {
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// Indices finds the named columns in s, in the order of names.
func (s *Schema) Indices(names []string) ([]int, error) {
	at := make([]int, len(names))
	for i, n := range names {
		if at[i] = s.Index(n); at[i] < 0 {
			return nil, fmt.Errorf("there is no column %q among %s", n, s.Listing())
		}
	}
	return at, nil
}

// CheckColumns finds faults in an option `columns`: empty names and names listed twice.
func CheckColumns(columns []string) (ps Problems) {
	seen := make(map[string]bool, len(columns))
	for i, c := range columns {
		path := fmt.Sprintf("columns[%d]", i)
		switch {
		case c == "":
			ps = append(ps, &Problem{Path: path, Message: "a column has no name"})
		case seen[c]:
			ps = append(ps, &Problem{Path: path, Message: fmt.Sprintf("column %q is listed twice", c), Help: "list it once"})
		}
		seen[c] = true
	}
	return ps
}
