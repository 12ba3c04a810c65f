package plan

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// Measures of the drawing, in pixels.
const (
	boxHeight = 44
	rowGap    = 26
	layerGap  = 84 // at least: labels stand there
	passWidth = 14 // of the place where a long line passes a layer
	margin    = 24
)

// spot is a place in a layer: a box, or where a line that spans several layers passes.
type spot struct {
	box    *box // nil: a line passes
	layer  int
	order  float64 // wished for, while lines are straightened
	x, y   float64 // of the top left corner
	w, h   float64
	before []*spot // spots of the layer before that lines come from
	after  []*spot
}

// route is a line with the spots it goes through, both ends included.
type route struct {
	*line
	spots []*spot
}

// svg draws boxes in layers from left to right: a box is in the layer behind all it reads from, a line that spans layers passes
// them between the boxes, and the order in a layer follows the lines' other ends so that few cross.
func (d *drawing) svg() string {
	layers, routes := d.layout()
	gap := float64(layerGap)
	for _, l := range d.lines {
		gap = max(gap, 6*float64(len(l.label))+24)
	}
	width, height := place(layers, gap)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="ui-sans-serif, system-ui, sans-serif">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&out, "<title>%s</title>\n", xmlText("pipeline "+d.title))
	out.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">` +
		`<path d="M0,0 L8,4 L0,8 z" fill="#5d6d7e"/></marker></defs>` + "\n")
	out.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	for _, r := range routes {
		r.svg(&out)
	}
	for _, r := range routes {
		r.svgLabel(&out)
	}
	for _, layer := range layers {
		for _, s := range layer {
			if s.box != nil {
				s.svg(&out)
			}
		}
	}
	out.WriteString("</svg>\n")
	return out.String()
}

// layout deals boxes into layers and orders them.
func (d *drawing) layout() ([][]*spot, []*route) {
	spots := map[*box]*spot{}
	depth := 0
	for _, b := range d.boxes { // in an order in which lines only go forward
		s := &spot{box: b, w: boxWidth(b), h: boxHeight}
		for _, l := range d.lines {
			if l.to == b {
				s.layer = max(s.layer, spots[l.from].layer+1)
			}
		}
		spots[b] = s
		depth = max(depth, s.layer)
	}
	// A source that only a late node reads, and the stream of errors, stand next to their first reader.
	for _, b := range slices.Backward(d.boxes) {
		s := spots[b]
		if s.layer > 0 {
			continue
		}
		next := depth + 1
		for _, l := range d.lines {
			if l.from == b {
				next = min(next, spots[l.to].layer)
			}
		}
		s.layer = max(0, min(next, depth+1)-1)
	}
	layers := make([][]*spot, depth+1)
	for _, b := range d.boxes {
		s := spots[b]
		layers[s.layer] = append(layers[s.layer], s)
	}
	var routes []*route
	for _, l := range d.lines {
		r := &route{line: l, spots: []*spot{spots[l.from]}}
		for at := spots[l.from].layer + 1; at < spots[l.to].layer; at++ {
			pass := &spot{layer: at, w: 0, h: passWidth}
			layers[at] = append(layers[at], pass)
			r.spots = append(r.spots, pass)
		}
		r.spots = append(r.spots, spots[l.to])
		for i := 1; i < len(r.spots); i++ {
			a, b := r.spots[i-1], r.spots[i]
			a.after, b.before = append(a.after, b), append(b.before, a)
		}
		routes = append(routes, r)
	}
	// A few sweeps forward and back: each layer is sorted by the mean place of what its spots are connected to.
	for sweep := range 6 {
		for i := range layers {
			layer, near := layers[i], func(s *spot) []*spot { return s.before }
			if sweep%2 == 1 {
				layer, near = layers[len(layers)-1-i], func(s *spot) []*spot { return s.after }
			}
			for at, s := range layer {
				s.order = float64(at)
				if ends := near(s); len(ends) > 0 {
					sum := 0.0
					for _, e := range ends {
						sum += float64(slices.Index(layers[e.layer], e)) / float64(len(layers[e.layer]))
					}
					s.order = sum / float64(len(ends)) * float64(len(layer))
				}
			}
			slices.SortStableFunc(layer, func(a, b *spot) int { return cmp.Compare(a.order, b.order) })
		}
	}
	return layers, routes
}

// place gives spots their coordinates: layers side by side, each centred, then boxes drawn towards the middle of what they are
// connected to as far as their neighbours let them.
func place(layers [][]*spot, gap float64) (width, height float64) {
	x, tall := float64(margin), 0.0
	heights := make([]float64, len(layers))
	for i, layer := range layers {
		wide := 0.0
		for _, s := range layer {
			wide = max(wide, s.w)
			heights[i] += s.h + rowGap
		}
		for _, s := range layer {
			s.x = x + (wide-s.w)/2
			if s.box == nil {
				s.x, s.w = x, wide
			}
		}
		x += wide + gap
		tall = max(tall, heights[i])
	}
	for i, layer := range layers {
		y := margin + (tall-heights[i]+rowGap)/2
		for _, s := range layer {
			s.y = y
			y += s.h + rowGap
		}
	}
	for range 8 {
		for _, layer := range layers {
			for i, s := range layer {
				ends := append(slices.Clone(s.before), s.after...)
				if len(ends) == 0 {
					continue
				}
				sum := 0.0
				for _, e := range ends {
					sum += e.y + e.h/2
				}
				low, high := float64(margin), margin+tall-s.h-rowGap
				if i > 0 {
					low = layer[i-1].y + layer[i-1].h + rowGap
				}
				if i < len(layer)-1 {
					high = layer[i+1].y - s.h - rowGap
				}
				s.y = max(low, min(high, sum/float64(len(ends))-s.h/2))
			}
		}
	}
	return x - gap + margin, tall - rowGap + 2*margin
}

func boxWidth(b *box) float64 {
	return max(110, 8.2*float64(len(b.head))+28, 6.4*float64(len(b.tail))+28)
}

func (s *spot) svg(out *strings.Builder) {
	fill, border := s.box.colours()
	dash := ""
	if s.box.optional {
		dash = ` stroke-dasharray="5 3"`
	}
	round := map[string]float64{"source": s.h / 2, "processor": 4, "sink": 12, "errors": s.h / 2}[s.box.kind]
	fmt.Fprintf(out, `<g><title>%s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f" fill="%s" stroke="%s" stroke-width="1.5"%s/>`,
		xmlText(s.box.kind+": "+s.box.tail), s.x, s.y, s.w, s.h, round, fill, border, dash)
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="14" font-weight="600" fill="#1b2631">%s</text>`,
		s.x+s.w/2, s.y+19, xmlText(s.box.head))
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="11" fill="#566573">%s</text></g>`+"\n",
		s.x+s.w/2, s.y+35, xmlText(s.box.tail))
}

func (r *route) svg(out *strings.Builder) {
	stroke, dash := 1.3, ""
	if r.queue {
		stroke = 2.8
	}
	if r.dashed {
		dash = ` stroke-dasharray="6 4"`
	}
	first := r.spots[0]
	x, y := first.x+first.w, first.y+first.h/2
	fmt.Fprintf(out, `<path d="M%.1f,%.1f`, x, y)
	for i, s := range r.spots[1:] {
		toX, toY := s.x, s.y+s.h/2
		mid := (x + toX) / 2
		fmt.Fprintf(out, " C%.1f,%.1f %.1f,%.1f %.1f,%.1f", mid, y, mid, toY, toX, toY)
		x, y = toX, toY
		if i < len(r.spots)-2 {
			x = s.x + s.w
			fmt.Fprintf(out, " L%.1f,%.1f", x, y)
		}
	}
	fmt.Fprintf(out, `" fill="none" stroke="#5d6d7e" stroke-width="%.1f"%s marker-end="url(#arrow)"/>`+"\n", stroke, dash)
}

// svgLabel writes the label in front of the box the line comes to, with a white rim so that lines do not strike it through.
func (r *route) svgLabel(out *strings.Builder) {
	if r.label == "" {
		return
	}
	a, b := r.spots[len(r.spots)-2], r.spots[len(r.spots)-1]
	x, y := (a.x+a.w+b.x)/2, (a.y+a.h/2+b.y+b.h/2)/2-5
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="10.5" fill="#34495e" stroke="#ffffff" stroke-width="3" paint-order="stroke">%s</text>`+"\n",
		x, y, xmlText(r.label))
}

func xmlText(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}
