package tshark

import (
	"strings"
	"time"
)

// exporter is what one has told about itself in options.
type exporter struct {
	started  map[uint64]time.Time // by observation domain: when its uptime began
	domains  map[uint64]*samplers
	switched map[template][]string // the uptimes that records of a template have
}

// template is one of an exporter's.
type template struct{ version, domain, id uint64 }

// samplers of a domain.
type samplers struct {
	named   map[uint64]uint64 // rates by number
	unnamed uint64            // the rate that was told without a number
}

func (r *reader) exporter(addr string) *exporter {
	if r.exporters[addr] == nil {
		r.exporters[addr] = &exporter{map[uint64]time.Time{}, map[uint64]*samplers{}, map[template][]string{}}
	}
	return r.exporters[addr]
}

// templates notes which templates of a set have elements for uptimes.
func (x *exporter) templates(h *header, set *node) {
	for i := range set.Kids {
		def := &set.Kids[i]
		id := def.look("cflow.template_id")
		if def.Name != "" || id == nil || !strings.HasPrefix(def.Show, "Template ") {
			continue
		}
		var names []string
		def.walk(func(n *node) bool {
			if n.Name == "cflow.template_field_type" || n.Name == "cflow.template_ipfix_field_type" {
				switch n.Show {
				case "22":
					names = append(names, "cflow.timestart")
				case "21":
					names = append(names, "cflow.timeend")
				}
			}
			return true
		})
		x.switched[template{h.version, h.domain, hexNumber(id.Value)}] = names
	}
}

// unshown adds to a record the uptimes of 0, which tshark leaves out.
func (x *exporter) unshown(h *header, id uint64, record *node) {
	for _, name := range x.switched[template{h.version, h.domain, id}] {
		if record.look(name) == nil {
			record.Kids = append(record.Kids, node{Name: name, Value: "00000000"})
		}
	}
}

// optional says whether a record is of options: it tells of the exporter or its samplers, and not of a flow.
func optional(n *node) bool {
	if n.look("cflow.protocol") != nil || n.look("cflow.srcaddr") != nil || n.look("cflow.srcaddrv6") != nil || n.look("cflow.data_link_frame_section") != nil {
		return false
	}
	for _, name := range []string{"sampling_interval", "sampler_random_interval", "sampling_packet_interval", "selector_algorithm", "scope_system", "scope_interface", "mp_id", "sys_init_time"} {
		if n.look("cflow."+name) != nil {
			return true
		}
	}
	return false
}

// options reads a record of them.
func (x *exporter) options(h *header, r *reader, n *node) {
	value := func(name string) (uint64, bool) {
		f := n.look("cflow." + name)
		if f == nil {
			return 0, false
		}
		return hexNumber(f.Value), true
	}
	if f := n.look("cflow.sys_init_time"); f != nil {
		x.started[h.domain] = r.moment(f)
	}
	rate, _ := value("sampler_random_interval")
	if v, ok := value("sampling_interval"); ok && rate == 0 {
		rate = v
	}
	taken, ok := value("sampling_packet_interval")
	if space, both := value("sampling_packet_space"); ok && rate == 0 && taken != 0 {
		if rate = taken; both {
			rate = (taken + space) / taken
		}
	}
	if rate == 0 {
		return
	}
	if x.domains[h.domain] == nil {
		x.domains[h.domain] = &samplers{named: map[uint64]uint64{}}
	}
	s := x.domains[h.domain]
	id, named := value("sampler_id")
	if v, ok := value("selector_id"); ok {
		id, named = v, true
	}
	if named {
		s.named[id] = rate
	} else {
		s.unnamed = rate
	}
}

// rate of a record that does not say it itself.
func (x *exporter) rate(h *header, fields map[string]*node) uint64 {
	s := x.domains[h.domain]
	if s != nil {
		for _, n := range []string{"sampler_id", "selector_id"} {
			if f := fields[n]; f != nil && s.named[hexNumber(f.Value)] != 0 {
				return s.named[hexNumber(f.Value)]
			}
		}
		if s.unnamed != 0 {
			return s.unnamed
		}
		if rate := agreed(s); rate != 0 {
			return rate
		}
		return max(h.rate, 1)
	}
	all := &samplers{named: map[uint64]uint64{}}
	for domain, s := range x.domains {
		for id, rate := range s.named {
			all.named[domain<<32|id] = rate
		}
		if s.unnamed != 0 {
			all.named[domain<<32|1<<31] = s.unnamed
		}
	}
	return max(agreed(all), h.rate, 1)
}

// agreed is the rate that all samplers have, 0 if they do not.
func agreed(s *samplers) (rate uint64) {
	for _, v := range s.named {
		if rate != 0 && v != rate {
			return 0
		}
		rate = v
	}
	return rate
}

// uptime makes a time of milliseconds since the exporter started, of which there are 32 bits: of all that they can mean the nearest
// to the export.
func (x *exporter) uptime(h *header, ms uint32) (time.Time, bool) {
	if h.version == 10 {
		start, ok := x.started[h.domain]
		if !ok {
			return time.Time{}, false
		}
		const turn = 1 << 32 * time.Millisecond
		at := start.Add(time.Duration(ms) * time.Millisecond)
		for at.Sub(h.exported) > turn/2 {
			at = at.Add(-turn)
		}
		for h.exported.Sub(at) > turn/2 {
			at = at.Add(turn)
		}
		return at, true
	}
	return h.exported.Add(time.Duration(int32(ms-h.uptime)) * time.Millisecond), true
}
