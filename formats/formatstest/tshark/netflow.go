package tshark

import (
	"maps"
	"strings"
	"time"
)

// columns are those that tshark shows as one field, by its names in the order in which they count: a later one fills the column
// only where the earlier are absent or zero.
var columns = []struct {
	name string
	kind kind
	from []string
}{
	{"src_addr", address, []string{"srcaddr", "srcaddrv6"}}, {"dst_addr", address, []string{"dstaddr", "dstaddrv6"}},
	{"src_port", number, []string{"srcport"}}, {"dst_port", number, []string{"dstport"}}, {"protocol", number, []string{"protocol"}},
	{"tcp_flags", number, []string{"tcpflags"}}, {"tos", number, []string{"tos"}}, {"dst_tos", number, []string{"post_tos"}},
	{"icmp_type", number, []string{"icmp_ipv4_type", "icmp_ipv6_type"}}, {"icmp_code", number, []string{"icmp_ipv4_code", "icmp_ipv6_code"}},
	{"bytes", number, []string{"octets"}}, {"packets", number, []string{"packets"}}, {"flows", number, []string{"flows"}},
	{"in_if", number, []string{"inputint", "ingress_physical_interface"}}, {"out_if", number, []string{"outputint", "egress_physical_interface"}},
	{"in_physical_if", number, []string{"ingress_physical_interface"}}, {"out_physical_if", number, []string{"egress_physical_interface"}},
	{"direction", number, []string{"direction"}}, {"flow_end_reason", number, []string{"flow_end_reason"}},
	{"src_as", number, []string{"srcas"}}, {"dst_as", number, []string{"dstas"}}, {"prev_as", number, []string{"peer_srcas"}}, {"next_as", number, []string{"peer_dstas"}},
	{"src_mask", number, []string{"srcmask", "srcmaskv6"}}, {"dst_mask", number, []string{"dstmask", "dstmaskv6"}},
	{"next_hop", address, []string{"nexthop", "nexthopv6"}}, {"bgp_next_hop", address, []string{"bgpnexthop", "bgpnexthopv6"}},
	{"src_mac", mac, []string{"srcmac", "post_srcmac"}}, {"dst_mac", mac, []string{"post_dstmac", "dstmac"}},
	{"src_vlan", number, []string{"vlanid", "dot1q_vlan_id"}}, {"dst_vlan", number, []string{"post_vlanid", "post_dot1q_vlan_id"}},
	{"customer_vlan", number, []string{"dot1q_customer_vlan_id"}},
	{"ttl", number, []string{"ttl_min"}}, {"max_ttl", number, []string{"ttl_max"}}, {"flow_label", number, []string{"ipv6flowlabel"}},
	{"fragment_id", number, []string{"ip_id"}}, {"fragment_offset", number, []string{"fragment_offset"}},
	{"in_vrf", number, []string{"ingress_vrfid"}}, {"out_vrf", number, []string{"egress_vrfid"}},
	{"src_addr_nat", address, []string{"post_natsource_ipv4_address"}}, {"dst_addr_nat", address, []string{"post_natdestination_ipv4_address"}},
	{"src_port_nat", number, []string{"post_naptsource_transport_port"}}, {"dst_port_nat", number, []string{"post_naptdestination_transport_port"}},
	{"nat_event", number, []string{"nat_event"}}, {"sampler_id", number, []string{"sampler_id", "selector_id"}},
	{"flow_start", moment, []string{"abstimestart", "timestart", "observation_time_milliseconds", "observation_time_microseconds"}},
	{"flow_end", moment, []string{"abstimeend", "timeend", "observation_time_milliseconds", "observation_time_microseconds"}},
	{"sampling_rate", number, []string{"sampling_interval", "sampler_random_interval"}},
}

// kind is what a field's value is.
type kind uint8

const (
	number kind = iota
	address
	mac
	moment
)

// others are fields without a column of their own: parts of those above, those that are read one by one below, and those that the
// table has no column for.
var others = map[string]bool{
	"timedelta": true, "padding": true, "ip_version": true, "icmp_type_code_ipv4": true, "mpls_label": true, "mpls_exp": true, "mpls_bos": true,
	"forwarding_status": true, "forwarding_status_forward_code": true, "data_link_frame_section": true, "string_len_short": true, "string_len_long": true,
	"template_frame": true, "reserved": true,

	"length_min": true, "length_max": true, "ipv6_exthdr": true, "ipv6_next_hdr": true, "multicast_replication_factor": true, "is_multicast": true,
	"toplabeltype": true, "toplabeladdr": true, "post_dot1q_customer_vlan_id": true, "data_link_frame_size": true, "section_exported_octets": true,
	"selection_sequence_id": true, "sampling_algorithm": true, "enterprise_private_entry": true,
}

// known are the names of columns.
var known = func() map[string]bool {
	m := maps.Clone(others)
	for _, c := range columns {
		for _, n := range c.from {
			m[n] = true
		}
	}
	return m
}()

// netflow reads a message of NetFlow or IPFIX.
func (r *reader) netflow(d *Datagram, p *node, row Row) {
	h := header{version: decimal(p.find("cflow.version").Show)}
	h.exported = r.moment(p.find("cflow.timestamp"))
	h.uptime = uint32(hexNumber(p.find("cflow.sysuptime").Value))
	row["format"] = map[uint64]string{1: "netflow1", 5: "netflow5", 7: "netflow7", 9: "netflow9", 10: "ipfix"}[h.version]
	row.time("exported", h.exported)
	row.number("sequence", hexNumber(p.find("cflow.sequence").Value))
	switch h.version {
	case 5:
		h.domain = hexNumber(p.find("cflow.engine_type").Value)<<8 | hexNumber(p.find("cflow.engine_id").Value)
		h.rate = hexNumber(p.find("cflow.samplerate").Value)
	case 9:
		h.domain = hexNumber(p.find("cflow.source_id").Value)
	case 10:
		h.domain = hexNumber(p.find("cflow.od_id").Value)
	}
	row.number("observation_domain", h.domain)
	from := r.exporter(row["exporter_addr"])
	for i := range p.Kids {
		set := &p.Kids[i]
		if h.version < 9 && strings.HasPrefix(set.Show, "pdu ") {
			d.Rows = append(d.Rows, r.record(&h, from, set, row)...)
			continue
		}
		from.templates(&h, set)
		id := hexNumber(set.find("cflow.flowset_id").Value)
		for j := range set.Kids {
			switch n := &set.Kids[j]; {
			case n.Name != "" || !strings.HasPrefix(n.Show, "Flow "):
			case optional(n):
				from.options(&h, r, n)
			default:
				from.unshown(&h, id, n)
				d.Rows = append(d.Rows, r.record(&h, from, n, row)...)
			}
		}
	}
}

// header is what records take from their message's.
type header struct {
	version, domain, rate uint64
	exported              time.Time
	uptime                uint32 // ms
}

// moment reads a time as tshark shows it.
func (r *reader) moment(n *node) time.Time {
	at, err := time.Parse("Jan _2, 2006 15:04:05.999999999 MST", n.Show)
	if err != nil {
		r.t.Fatalf("%s: %q is no time: %v", n.Name, n.Show, err)
	}
	return at
}

// record makes the rows of a record: two of one that counts both directions (RFC 5103).
func (r *reader) record(h *header, from *exporter, n *node, common Row) []Row {
	forward, reverse := map[string]*node{}, map[string]*node{}
	two := false
	var labels []uint64
	var last uint64 // the label said that it is
	n.walk(func(f *node) bool {
		name, ours := strings.CutPrefix(f.Name, "cflow.")
		switch {
		case f.Name == "" && f.Show == "Forwarding Status":
			forward["forwarding_status"] = f
			return false
		case f.Name == "":
			return true
		case !ours || !known[name] && !strings.HasPrefix(name, "tcpflags."):
			r.t.Errorf("tshark shows %s (%s), which is neither a column nor known to be none", f.Name, f.ShowName)
			return false
		}
		to := forward
		if strings.Contains(f.ShowName, "(Reverse Type") {
			to, two = reverse, true
		}
		switch {
		case name == "mpls_label":
			forward["mpls_label"] = f
			if v := hexNumber(f.Value); last == 0 && hexNumber(f.Unmasked) != 0 {
				labels = append(labels, v)
				last = hexNumber(f.Unmasked) & 1
			}
		default:
			to[name] = f // of one element twice the last counts
		}
		return name == "timedelta"
	})
	row := common.clone()
	has := r.fill(h, from, row, forward)
	row.list("mpls_labels", labels)
	rows := []Row{row}
	if f := forward["data_link_frame_section"]; f != nil {
		r.frame(row, has, f)
	}
	if two {
		row["biflow_direction"] = "1"
		if hexNumber(reverse["octets"].Value) != 0 || hexNumber(reverse["packets"].Value) != 0 {
			other := common.clone()
			r.fill(h, from, other, turned(forward, reverse))
			other["biflow_direction"] = "2"
			rows = append(rows, other)
		}
	}
	return rows
}
