package plan

import (
	"fmt"
	"io"
	"strings"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// Text writes the plan as `weir plan` prints it.
func (p *Plan) Text(w io.Writer) error {
	var b strings.Builder
	said := map[*sdk.Schema]string{}
	fmt.Fprintf(&b, "pipeline %s\n", p.Pipeline.Name)
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "\nstage %d: %s\n", s.Index+1, s.lanesText())
		if q := s.Queue; q != nil {
			fmt.Fprintf(&b, "  queue  %s, %d batches, when full %s\n", sdk.Size(q.Bytes), q.Batches, q.WhenFull)
		}
		for _, n := range s.Nodes {
			n.text(&b, said)
		}
	}
	list(&b, "pushed into sources", p.pushed())
	list(&b, "limits", p.Limits)
	_, err := io.WriteString(w, b.String())
	return err
}

func list(b *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n%s\n", title)
	}
	for _, l := range lines {
		wrap(b, "  - ", "    ", strings.Fields(l))
	}
}

func (s *Stage) lanesText() string {
	text := ""
	switch {
	case s.Queue == nil && s.Lanes == 0 && s.MaxLanes == 0:
		return "a lane for each reader"
	case s.Queue == nil && s.Lanes == 0 && s.Head().spec().Commits:
		return fmt.Sprintf("%s, readers are dealt to them", count(s.MaxLanes, "lane"))
	case s.Queue == nil && s.Lanes == 0:
		return fmt.Sprintf("a lane for each of %s", count(s.MaxLanes, "reader"))
	case s.Lanes == s.MaxLanes:
		text = count(s.Lanes, "lane")
	default:
		text = fmt.Sprintf("%d to %s", s.Lanes, count(s.MaxLanes, "lane"))
	}
	if s.ByPartition && s.MaxLanes > 1 {
		text += ", a partition stays in its lane"
	}
	return text
}

// text describes a node. A long list of columns is written out once: said knows by whom, for equal schemas are one pointer.
func (n *Node) text(b *strings.Builder, said map[*sdk.Schema]string) {
	fmt.Fprintf(b, "  %s  %s %s", n.ID, n.Type, n.Kind)
	if n.Kind == sdk.KindSink && !n.Required {
		b.WriteString(", optional")
	}
	b.WriteString("\n")
	if len(n.Inputs) > 0 {
		wrap(b, "    reads    ", "             ", commas(n.reads()))
		wrap(b, "    needs    ", "             ", columns(n.In, n.FullIn, nil, said))
		name(said, n.In, "`"+n.ID+"` needs")
	}
	for port, s := range n.Out {
		if len(n.Outputs[port]) == 0 {
			continue
		}
		verb := "gives"
		if len(n.Out) > 1 {
			verb = "gives " + n.portName(port) + ":"
		}
		wrap(b, fmt.Sprintf("    %-8s ", verb), "             ", columns(s, n.FullOut[port], n.In, said))
		name(said, s, "`"+n.ID+"` gives")
	}
	if n.Kind == sdk.KindSink {
		if !n.spec().Fuses {
			fmt.Fprintf(b, "    block    up to %d rows, %s or %s, %d in flight\n", n.Batch.Rows, n.BlockBytes, n.Batch.Age, n.InFlight)
		}
		if m := n.Copies(); m > 0 {
			fmt.Fprintf(b, "    copies   up to about %s of its own for each lane, beside batches\n", m)
		}
		wrap(b, "    promise  ", "             ", strings.Fields(n.Promise))
	}
	if n.OnError == config.Drop || n.OnError == config.Fail {
		fmt.Fprintf(b, "    refused  %s\n", n.OnError)
	}
}

// Copies is about the most memory that each lane's writer of a sink takes for copies of its own, in bytes.
func (n *Node) Copies() sdk.Size {
	if f := n.spec().Copies; f != nil {
		return f(n.Config)
	}
	return 0
}

// reads are the node's inputs as `from:` writes them; the stream `errors` once.
func (n *Node) reads() []string {
	var refs []string
	for _, e := range n.Inputs {
		ref := e.From.ID
		if e.Port == ErrorsPort {
			return []string{errorsID}
		}
		if len(e.From.Outputs) > 1 {
			ref += "." + e.From.portName(e.Port)
		}
		refs = append(refs, ref)
	}
	return refs
}

func (n *Node) portName(port int) string { return n.spec().PortNames(n.Config)[port] }

// fewColumns are so few that they are always written out.
const fewColumns = 8

func name(said map[*sdk.Schema]string, s *sdk.Schema, who string) {
	if _, known := said[s]; !known {
		said[s] = who
	}
}

// columns says how many of the columns there are, and which: by their names, as what has been said before, or as what differs from
// the node's input.
func columns(some, all, in *sdk.Schema, said map[*sdk.Schema]string) []string {
	head := fmt.Sprintf("%d of %d columns", some.Len(), all.Len())
	if some.Len() == all.Len() {
		head = fmt.Sprintf("all %s", count(all.Len(), "column"))
	}
	if some.Len() == 0 {
		return []string{head}
	}
	if some.Len() > fewColumns {
		if who, known := said[some]; known {
			return []string{head + ",", "as", who}
		}
		if in != nil {
			more, less := without(some, in), without(in, some)
			switch {
			case len(more)+len(less) > fewColumns:
			case len(less) == 0:
				return append([]string{head + ":", "what", "comes", "in", "and"}, commas(more)...)
			case len(more) == 0:
				return append([]string{head + ":", "what", "comes", "in", "without"}, commas(less)...)
			}
		}
	}
	return append([]string{head + ":"}, commas(some.Names())...)
}

// without are the columns of a that b lacks.
func without(a, b *sdk.Schema) []string {
	var names []string
	for _, f := range a.Fields() {
		if b.Index(f.Name) < 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

func commas(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if i < len(words)-1 {
			out[i] += ","
		}
	}
	return out
}

// wrap writes words as lines of at most 110 characters.
func wrap(b *strings.Builder, first, rest string, words []string) {
	const width = 110
	line := first
	empty := true
	for _, w := range words {
		if !empty && len(line)+1+len(w) > width {
			b.WriteString(line + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += w
		empty = false
	}
	b.WriteString(line + "\n")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
