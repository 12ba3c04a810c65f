package plan

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// interner makes equal schemas one pointer: batches are compared by it.
type interner struct{ known map[string]*sdk.Schema }

// newInterner knows the fixed schemas and those of the plan that runs now.
func newInterner(old *Plan) *interner {
	in := &interner{known: map[string]*sdk.Schema{}}
	if old != nil {
		for _, n := range old.Nodes {
			for _, s := range append([]*sdk.Schema{n.In}, n.Out...) {
				in.of(s)
			}
		}
		for _, e := range old.Edges {
			in.of(e.Schema)
		}
	}
	for _, s := range []*sdk.Schema{sdk.Datagram, sdk.Packet, sdk.Errors} {
		in.of(s)
	}
	return in
}

// of is the one schema equal to s.
func (in *interner) of(s *sdk.Schema) *sdk.Schema {
	if s == nil {
		return nil
	}
	key := s.String()
	if same, ok := in.known[key]; ok {
		return same
	}
	in.known[key] = s
	return s
}

// forward resolves full schemas from the sources on, and says whether all fit. A node whose input is not known, because of
// another fault, keeps none and is passed over.
func (r *resolver) forward() bool {
	start := len(r.diags)
	for _, n := range r.plan.Nodes {
		if !r.knows(n) {
			continue
		}
		if n.Kind != sdk.KindSource && !r.unite(n) {
			continue
		}
		before := len(r.diags)
		if f := n.spec().Input; f != nil && n.Kind != sdk.KindSource {
			r.diags = append(r.diags, r.unfit(n, f(n.Config, n.FullIn))...)
		}
		if said := len(r.diags); n.Kind != sdk.KindSink {
			n.FullOut = r.resolveOut(n)
			if said > before {
				// Said once is enough; where the output is known all the same, the nodes behind it are checked too.
				r.diags = r.diags[:said]
			}
		}
		if len(r.diags) == before {
			r.needed(n)
		}
	}
	return len(r.diags) == start
}

// unfit are the diagnostics of an input that does not have what n reads. A plugin need not know the codes (package expr does): without
// an option it is the input as a whole, with one it is the column at the place in question, or what is said of it.
func (r *resolver) unfit(n *Node, err error) []config.Diagnostic {
	found := n.Diagnose("", err)
	for i := range found {
		d := &found[i]
		if d.Code != "" {
			continue
		}
		d.Code = config.CodeExpression
		text := string(textAt(r.plan.Pipeline, d.At))
		name := text[:len(text)-len(strings.TrimLeftFunc(text, isName))]
		switch {
		case d.Path == n.Path(""):
			d.Code = config.CodeMissingColumn
		case name != "" && n.FullIn.Index(name) < 0 && !strings.HasPrefix(text[len(name):], "("):
			d.Code = config.CodeUnknownColumn
		}
	}
	return found
}

// unite resolves a node's input schema; false if it is not known.
func (r *resolver) unite(n *Node) bool {
	var in []*sdk.Schema
	for _, e := range n.Inputs {
		s := portSchema(e)
		if s == nil {
			return false
		}
		// All edges of the stream `errors` have one schema.
		if e.Port != ErrorsPort || len(in) == 0 {
			in = append(in, s)
		}
	}
	if len(in) == 0 {
		return false
	}
	u, err := sdk.Union(in)
	if err != nil {
		r.fanIn(n, in)
		return false
	}
	n.FullIn = u
	return true
}

// portSchema is the full schema of what e reads, nil if it is not known.
func portSchema(e *Edge) *sdk.Schema {
	if e.Port == ErrorsPort {
		return sdk.Errors
	}
	if e.From.FullOut == nil {
		return nil
	}
	return e.From.FullOut[e.Port]
}

// fanIn says which inputs of n do not agree.
func (r *resolver) fanIn(n *Node, in []*sdk.Schema) {
	for i, e := range n.Inputs {
		for _, f := range in[i].Fields() {
			for j := range i {
				k := in[j].Index(f.Name)
				if k < 0 || in[j].Field(k).Type == f.Type {
					continue
				}
				r.report(n, fmt.Sprintf("from[%d]", max(0, r.ref[e])), config.CodeFanInType,
					fmt.Sprintf("column `%s` is %s from `%s` and %s from `%s`", f.Name, in[j].Field(k).Type, n.Inputs[j].From.ID, f.Type, e.From.ID),
					"read the two in different nodes, or give one of the columns another name before they meet")
				return
			}
		}
	}
}

// resolveOut asks the node for the schema of each port.
func (r *resolver) resolveOut(n *Node) []*sdk.Schema {
	spec, ports := n.spec(), len(n.Outputs)
	if spec.Output == nil {
		if n.Kind == sdk.KindSource {
			r.report(n, "type", config.CodeSchema, fmt.Sprintf("the plugin `%s` does not say which columns it hands out", n.Type), "this is a fault of the plugin: report it to its author")
			return nil
		}
		return slices.Repeat([]*sdk.Schema{n.FullIn}, ports)
	}
	out, err := spec.Output(n.Config, n.FullIn)
	if err != nil {
		r.diags = append(r.diags, n.Diagnose(config.CodeSchema, err)...)
		return nil
	}
	if len(out) != ports || slices.Contains(out, nil) {
		r.report(n, "type", config.CodeSchema, fmt.Sprintf("the plugin `%s` has %d outputs and gives the columns of %d", n.Type, ports, len(out)),
			"this is a fault of the plugin: report it to its author")
		return nil
	}
	return out
}

// needed checks that all columns exist which a node needs when everything is wanted, unless it checks that itself.
func (r *resolver) needed(n *Node) {
	spec := n.spec()
	if n.Kind == sdk.KindSource || spec.Needs == nil || spec.Input != nil {
		return
	}
	var all [][]string
	for _, s := range n.FullOut {
		all = append(all, s.Names())
	}
	for _, name := range spec.Needs(n.Config, n.FullIn, all) {
		if n.FullIn.Index(name) >= 0 {
			continue
		}
		help := didYouMean(name, n.FullIn.Names(), "its columns are")
		if c := flow.Called(name); n.FullIn.Index(c) >= 0 {
			help = didYouMean(c, []string{c}, "")
		}
		if help == "" {
			help = "`weir inspect schema` lists the columns that come from " + quoteList(inputIDs(n))
		}
		code, path := config.CodeUnknownColumn, r.written(n, name)
		if path == "" {
			code, path = config.CodeMissingColumn, "type"
		}
		r.report(n, path, code, fmt.Sprintf("`%s` needs the column `%s`, which does not come in", n.ID, name), help)
	}
}

// written is the path of the first option of n that begins with word in the file, empty if there is none.
func (r *resolver) written(n *Node, word string) string {
	best := ""
	for _, path := range slices.Sorted(maps.Keys(n.Positions)) {
		at := n.Positions[path]
		if !strings.HasPrefix(path, "with.") || best != "" && before(n.Positions[best], at) {
			continue
		}
		text := bytes.TrimLeft(textAt(r.plan.Pipeline, at), `"'`)
		if rest, ok := bytes.CutPrefix(text, []byte(word)); ok && strings.IndexFunc(string(rest), isName) != 0 {
			best = path // of two at one place the later is the deeper
		}
	}
	return best
}

func before(a, b config.Pos) bool { return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col }

// textAt is the rest of the line at a place in the pipeline's file.
func textAt(p *config.Pipeline, at config.Pos) []byte {
	lines := bytes.Split(p.Text, []byte{'\n'})
	if at.File != p.File || at.Line < 1 || at.Line > len(lines) {
		return nil
	}
	line := lines[at.Line-1]
	for col := 1; col < at.Col && len(line) > 0; col++ {
		_, size := utf8.DecodeRune(line)
		line = line[size:]
	}
	return line
}

// isName says whether c may be in a column's name.
func isName(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }

func inputIDs(n *Node) []string {
	var ids []string
	for _, e := range n.Inputs {
		if !slices.Contains(ids, e.From.ID) {
			ids = append(ids, e.From.ID)
		}
	}
	return ids
}
