package plan

import (
	"fmt"
	"strings"

	"github.com/weirflow/weir/sdk"
)

// suggestNode is a help for a `from:` of n that names no node.
func (r *resolver) suggestNode(n *Node, name string) string {
	var ids []string
	for _, o := range r.plan.Nodes {
		if o != n && o.Kind != sdk.KindSink && r.byID[o.ID] == o && o.ID != errorsID {
			ids = append(ids, o.ID)
		}
	}
	if n.Kind == sdk.KindSink {
		ids = append(ids, errorsID)
	}
	if s := suggest(name, ids); s != "" {
		return fmt.Sprintf("did you mean `%s`?", s)
	}
	if len(ids) == 0 || len(ids) > 8 {
		return ""
	}
	return "there are " + quoteList(ids)
}

// suggest is the name nearest to what was written, or nothing if none is near.
func suggest(written string, names []string) string {
	best, least := "", max(1, len(written)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(written), strings.ToLower(n)); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, change or swap with the next to make b of a.
func distance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}

func quoteList(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = "`" + n + "`"
	}
	return strings.Join(q, ", ")
}
