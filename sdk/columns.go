package sdk

import "fmt"

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
