package plan

import (
	"strings"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// suggestNode is a help for a `from:` of n that names no node.
func (r *resolver) suggestNode(n *Node, name string) string {
	var ids []string
	for _, o := range r.plan.Nodes {
		if o != n && o.Kind != sdk.KindSink {
			ids = append(ids, o.ID)
		}
	}
	if n.Kind == sdk.KindSink {
		ids = append(ids, errorsID)
	}
	return didYouMean(name, ids, "there are")
}

// didYouMean names the nearest of names, or all of them if none is near and they are few.
func didYouMean(written string, names []string, known string) string {
	if s := config.Nearest(written, names); s != "" {
		return "did you mean `" + s + "`?"
	}
	if len(names) == 0 || len(names) > 12 {
		return ""
	}
	return known + " " + quoteList(names)
}

func quoteList(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
