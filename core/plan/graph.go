package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirflow/weir/sdk"
)

// GraphFormats are the forms that Graph draws.
var GraphFormats = []string{"text", "mermaid", "dot", "svg"}

// Graph draws the plan. Colours and shapes tell kinds apart; a thick edge has a queue, a dashed one leads to where nobody waits
// (an optional branch, the stream `errors`). An unknown format is an error that names the known ones.
func (p *Plan) Graph(format string) (string, error) {
	d := newDrawing(p)
	switch format {
	case "text":
		return d.text(), nil
	case "mermaid":
		return d.mermaid(), nil
	case "dot":
		return d.dot(), nil
	case "svg":
		return d.svg(), nil
	}
	return "", fmt.Errorf("%q is no form of a graph: use one of %s", format, strings.Join(GraphFormats, ", "))
}

// drawing is a plan as boxes and lines. The stream `errors` is one box: lines from every node to it would hide all else.
type drawing struct {
	title string
	boxes []*box
	lines []*line
}

type box struct {
	id, kind   string // kind: source, processor, sink, errors
	head, tail string // two lines of text
	optional   bool
}

type line struct {
	from, to *box
	label    string
	queue    bool // a queue stands there
	dashed   bool
}

func newDrawing(p *Plan) *drawing {
	d := &drawing{title: p.Pipeline.Name}
	boxes := map[*Node]*box{}
	var stream *box
	for _, n := range p.Nodes {
		b := &box{id: n.ID, kind: string(n.Kind), head: n.ID, tail: n.Type + ", ", optional: n.Kind == sdk.KindSink && !n.Required}
		switch n.Kind {
		case sdk.KindSource:
			b.tail += count(n.Out[0].Len(), "column")
		case sdk.KindProcessor:
			b.tail += fmt.Sprintf("%d to %s", n.In.Len(), count(n.given(), "column"))
		case sdk.KindSink:
			b.tail += count(n.In.Len(), "column")
		}
		boxes[n] = b
		if readsErrors(n) && stream == nil {
			stream = &box{id: errorsID, kind: "errors", head: errorsID, tail: "refused records"}
			d.boxes = append(d.boxes, stream)
		}
		d.boxes = append(d.boxes, b)
	}
	for _, n := range p.Nodes {
		if readsErrors(n) {
			d.lines = append(d.lines, &line{from: stream, to: boxes[n], label: queueLabel(n, false), queue: !n.Inputs[0].Fused, dashed: true})
			continue
		}
		for i, e := range n.Inputs {
			if slices.ContainsFunc(n.Inputs[:i], func(o *Edge) bool { return o.From == e.From }) {
				continue // several outputs of one node are one line
			}
			l := &line{from: boxes[e.From], to: boxes[n], queue: !e.Fused, dashed: !e.Tracked}
			var labels []string
			for _, o := range n.Inputs[i:] {
				if o.From == e.From && o.namesOutput() {
					labels = append(labels, o.portName())
				}
			}
			if q := queueLabel(n, e.Fused); q != "" {
				labels = append(labels, q)
			}
			l.label = strings.Join(labels, ", ")
			d.lines = append(d.lines, l)
		}
	}
	return d
}

// namesOutput says whether it matters which output an edge reads: it is not the default one, or others are read too.
func (e *Edge) namesOutput() bool {
	read := 0
	for _, es := range e.From.Outputs {
		if len(es) > 0 {
			read++
		}
	}
	return e.Port != 0 || read > 1
}

// given is how many columns leave the node at its widest output.
func (n *Node) given() int {
	wide := 0
	for _, s := range n.Out {
		wide = max(wide, s.Len())
	}
	return wide
}

func queueLabel(n *Node, fused bool) string {
	if fused || n.Stage.Queue == nil {
		return ""
	}
	return sdk.Size(n.Stage.Queue.Bytes).String()
}

// text is a line for each box: what it is and where its records go.
func (d *drawing) text() string {
	wide := 0
	for _, b := range d.boxes {
		wide = max(wide, len(b.head))
	}
	var out strings.Builder
	for _, b := range d.boxes {
		fmt.Fprintf(&out, "%-9s  %-*s  %s\n", b.kind, wide, b.head, b.tail)
		for _, l := range d.lines {
			if l.from != b {
				continue
			}
			arrow := "-->"
			switch {
			case l.queue && l.dashed:
				arrow = "=?>"
			case l.queue:
				arrow = "==>"
			case l.dashed:
				arrow = "-?>"
			}
			fmt.Fprintf(&out, "%-9s  %*s  %s %s", "", wide, "", arrow, l.to.id)
			if l.label != "" {
				fmt.Fprintf(&out, " (%s)", l.label)
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

// colours of a kind: fill and border, readable on white and on black.
func (b *box) colours() (fill, border string) {
	switch b.kind {
	case "source":
		return "#d6eaf8", "#2471a3"
	case "sink":
		return "#d5f5e3", "#1e8449"
	case "errors":
		return "#fadbd8", "#b03a2e"
	}
	return "#fef5e7", "#b9770e"
}

var kinds = []string{"source", "processor", "sink", "errors"}

func (d *drawing) mermaid() string {
	var out strings.Builder
	out.WriteString("flowchart LR\n")
	for i, b := range d.boxes {
		left, right := "[", "]"
		switch b.kind {
		case "source":
			left, right = "([", "])"
		case "sink":
			left, right = "[(", ")]"
		case "errors":
			left, right = "{{", "}}"
		}
		fmt.Fprintf(&out, "  n%d%s\"%s<br/><small>%s</small>\"%s:::%s\n", i, left, mermaidText(b.head), mermaidText(b.tail), right, b.kind)
	}
	for _, l := range d.lines {
		arrow := "-->"
		switch {
		case l.dashed:
			arrow = "-.->"
		case l.queue:
			arrow = "==>"
		}
		fmt.Fprintf(&out, "  n%d %s", slices.Index(d.boxes, l.from), arrow)
		if l.label != "" {
			fmt.Fprintf(&out, "|\"%s\"|", mermaidText(l.label))
		}
		fmt.Fprintf(&out, " n%d\n", slices.Index(d.boxes, l.to))
	}
	for _, k := range kinds {
		fill, border := (&box{kind: k}).colours()
		fmt.Fprintf(&out, "  classDef %s fill:%s,stroke:%s,color:#1b1b1b\n", k, fill, border)
	}
	return out.String()
}

var mermaidEscape = strings.NewReplacer(`"`, "#quot;", "<", "&lt;", ">", "&gt;", "\n", " ")

func mermaidText(s string) string { return mermaidEscape.Replace(s) }

func (d *drawing) dot() string {
	var out strings.Builder
	fmt.Fprintf(&out, "digraph %q {\n  rankdir=LR\n  node [fontname=\"sans-serif\", style=filled]\n  edge [fontname=\"sans-serif\", fontsize=10]\n", d.title)
	for i, b := range d.boxes {
		shape := map[string]string{"source": "oval", "processor": "box", "sink": "cylinder", "errors": "hexagon"}[b.kind]
		fill, border := b.colours()
		fmt.Fprintf(&out, "  n%d [label=%q, shape=%s, fillcolor=%q, color=%q]\n", i, b.head+"\n"+b.tail, shape, fill, border)
	}
	for _, l := range d.lines {
		var attrs []string
		if l.label != "" {
			attrs = append(attrs, fmt.Sprintf("label=%q", l.label))
		}
		if l.queue {
			attrs = append(attrs, "penwidth=2.5")
		}
		if l.dashed {
			attrs = append(attrs, "style=dashed")
		}
		fmt.Fprintf(&out, "  n%d -> n%d", slices.Index(d.boxes, l.from), slices.Index(d.boxes, l.to))
		if len(attrs) > 0 {
			fmt.Fprintf(&out, " [%s]", strings.Join(attrs, ", "))
		}
		out.WriteString("\n")
	}
	out.WriteString("}\n")
	return out.String()
}
