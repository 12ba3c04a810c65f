package tshark

import (
	"strings"
)

// sflow reads a datagram of sFlow version 5. Counter samples are no flows.
func (r *reader) sflow(d *Datagram, p *node, row Row) {
	row["format"], row["packets"] = "sflow", "1"
	for _, c := range []string{"exported", "flow_start", "flow_end"} {
		row[c] = row["received"] // sFlow tells no time
	}
	for _, n := range []string{"sflow_245.agent", "sflow_245.agent.v6"} {
		if f := p.look(n); f != nil {
			row.addr("exporter_addr", f.Value)
		}
	}
	row.number("observation_domain", hexNumber(p.find("sflow_245.sub_agent_id").Value))
	row.number("sequence", hexNumber(p.find("sflow_245.sequence_number").Value))
	for i := range p.Kids {
		if k := &p.Kids[i]; strings.Contains(strings.ToLower(k.Show), "flow sample, seq") {
			d.Rows = append(d.Rows, r.sample(k, row.clone()))
		}
	}
}

// Interfaces of a sample: their format, in the two top bits where it is not a field of its own.
const (
	internal  = 0x3fffffff // the device itself
	discarded = 1
)

func (r *reader) sample(n *node, row Row) Row {
	value := func(names ...string) uint64 {
		for _, name := range names {
			if f := n.look("sflow.flow_sample." + name); f != nil {
				return hexNumber(f.Value)
			}
		}
		return 0
	}
	row.number("sampling_rate", value("sampling_rate"))
	in, out, format := value("input_interface_value", "input_interface"), value("output_interface_value"), value("output_interface_format", "output_interface.format")
	if in>>30 == 0 && in != internal {
		row.number("in_if", in)
	}
	switch {
	case format == 0 && out != internal:
		row.number("out_if", out)
	case format == discarded && out == 1: // host unreachable: dropped, unroutable
		row["forwarding_status"] = "131"
	case format == discarded:
		r.t.Errorf("packets that are discarded for reason %d were not met when this was written", out)
	}
	if value("source_id_class", "source_id_type") == 0 && value("index", "source_id_index") == out && row["out_if"] != "" && row["in_if"] != row["out_if"] {
		row["direction"] = "1"
	}
	vlan := uint64(0) // by the switch, whose word counts
	for i := range n.Kids {
		k := &n.Kids[i]
		at := func(name string) uint64 { return hexNumber(k.find("sflow_245." + name).Value) }
		switch {
		case k.Show == "Extended switch data":
			if v := at("vlan.in"); v <= 0xfff {
				vlan = v
			}
			if v := at("vlan.out"); v <= 0xfff {
				row.number("dst_vlan", v)
			}
		case k.Show == "Extended router data":
			hop(row, "next_hop", k)
			row.number("src_mask", at("nexthop.src_mask"))
			row.number("dst_mask", at("nexthop.dst_mask"))
		case k.Show == "Extended gateway data":
			hop(row, "bgp_next_hop", k)
			row.number("src_as", at("srcAS"))
			row.number("prev_as", at("peerAS"))
			row.number("local_pref", at("localpref"))
			var path []uint64 // and the communities, which tshark shows by the same name
			k.walk(func(f *node) bool {
				if f.Name == "sflow_245.dstAS" {
					path = append(path, hexNumber(f.Value))
				}
				return true
			})
			if as := len(path) - int(at("communityEntries")); as > 0 {
				row.list("dst_as_path", path[:as])
				row.list("dst_communities", path[as:])
				row.number("next_as", path[0])
				row.number("dst_as", path[as-1])
			}
		case k.Show == "Raw packet header":
			row.number("bytes", at("header.frame_length"))
			header := k.find("sflow_245.header")
			row["frame"] = header.Value[:min(len(header.Value), 2*int(at("header.sampled_header_length")))] // without what XDR pads
			protos := protocols(header)
			if protos == nil {
				protos = protocols(k)
			}
			r.layers(row, protos)
		case k.Name == "":
			r.t.Errorf("tshark shows a record %q that was not met when this was written", k.Show)
		}
	}
	if vlan != 0 {
		row.number("src_vlan", vlan)
	}
	return row
}

// hop is the next hop in a record; an IPv4 address that is zero is one.
func hop(row Row, column string, n *node) {
	for _, name := range []string{"sflow_245.nexthop", "sflow_245.nexthop.v6"} {
		if f := n.look(name); f != nil && !(len(f.Value) == 32 && zero(f.Value)) {
			row.addr(column, f.Value)
		}
	}
}

// protocols are those right below a field.
func protocols(n *node) (ps []node) {
	for _, k := range n.Kids {
		if k.XMLName.Local == "proto" {
			ps = append(ps, k)
		}
	}
	return ps
}
