package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirflow/weir/sdk/flow"
)

// How things are said to a user.

// quoted is a part of an expression, not more of it than a line has room for.
func quoted(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return "`" + short(s) + "`"
}

// cited is a string of an expression in its quotes.
func cited(s string) string { return strconv.Quote(short(s)) }

func short(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:57], "") + "..."
	}
	return s
}

// didYouMean suggests the column that other programs call so, or the name nearest to what was written, if one is near.
func didYouMean(written string, names []string) string {
	if len(written) > 64 {
		return ""
	}
	if c := flow.Called(written); slices.Contains(names, c) {
		return fmt.Sprintf("did you mean `%s`?", c)
	}
	slices.Sort(names)
	best, least := "", max(1, len(written)/3)+1
	for _, n := range names {
		if d := distance(written, n); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean `%s`?", best)
}

// distance is how many letters were forgotten, added, mistaken or swapped with their neighbour.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			d := last[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row[j+1] = d
		}
	}
	return row[len(b)]
}
