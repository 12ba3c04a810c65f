package expr

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// How things are said to a user.

func quoted(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:57], "") + "..."
	}
	return "`" + s + "`"
}

// sentence is the first line of a message, without a full stop.
func sentence(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(goTypes.Replace(s), ".")
}

// goTypes are the types of columns as expr-lang names them, and as users do.
var goTypes = strings.NewReplacer("netip.Addr", "address", "expr.mac", "MAC address", "time.Time", "time", "time.Duration", "duration", "[]int", "list", "[]uint8", "bytes")

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[addr]():
		return "an address"
	case reflect.TypeFor[mac]():
		return "a MAC address"
	case reflect.TypeFor[time.Time]():
		return "a time"
	case reflect.TypeFor[time.Duration]():
		return "a duration"
	}
	switch t.Kind() {
	case reflect.Int:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Interface:
		return "of no known type"
	}
	return t.String()
}

// didYouMean suggests the name nearest to what was written, if one is near.
func didYouMean(written string, names []string) string {
	if len(written) > 64 {
		return ""
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
