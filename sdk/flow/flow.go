package flow

import "github.com/weirflow/weir/sdk"

// Encoding is how an information element carries the value of its column on the wire. It decides the length an exporter may
// choose and how the bytes become the column's type.
type Encoding uint8

const (
	Unsigned             Encoding = iota // unsigned integer, 1..8 bytes, reduced-size encoding allowed (RFC 7011, 6.2)
	IPv4                                 // 4 bytes
	IPv6                                 // 16 bytes
	MACAddress                           // 6 bytes
	Uptime                               // milliseconds of the exporter's uptime, 32 bits (RFC 3954); needs the header's times
	Seconds                              // seconds since the Unix epoch (RFC 7011, 6.1.7)
	Millis                               // milliseconds since the Unix epoch (6.1.8)
	Micros                               // NTP format, fraction read to microseconds (6.1.9)
	Nanos                                // NTP format (6.1.10)
	DeltaMicro                           // microseconds before the export time (RFC 5102, 158 and 159)
	String                               // UTF-8, of fixed or variable length, zero padding cut
	Octets                               // bytes as they are
	Label                                // 3 bytes of an MPLS label stack entry: label 20 bits, TC 3, S 1 (RFC 3032); one list item each
	Frame                                // bytes of a frame, to be dissected (dataLinkFrameSection, RFC 7133)
	ICMPType                             // 2 bytes, type * 256 + code: the type of them (elements 32 and 139)
	ICMPCode                             // 2 bytes, type * 256 + code: the code of them
	Signed                               // two's complement, 1..8 bytes, reduced-size encoding allowed (RFC 7011, 6.1.2, 6.2)
	Float                                // IEEE 754, 4 or 8 bytes (6.1.3, 6.2)
	Boolean                              // 1 byte, 1 true and 2 false (6.1.5); 1 and 0 in a column
	BasicList                            // values of one element (RFC 6313, 4.5.1), as JSON
	SubTemplateList                      // records of one template (4.5.2), as JSON
	SubTemplateMultiList                 // records of several templates (4.5.3), as JSON
)

// Element is an information element (RFC 7012): enterprise number, 0 for IANA's, and id. NetFlow v9 field types 1..127 are the
// IANA elements of the same number (RFC 7012, 7.1).
type Element struct {
	PEN uint32
	ID  uint16
	Enc Encoding
}

// Column is one row of the table.
type Column struct {
	sdk.Field
	// Elements that carry the column, in order of preference where a record has several: a later one fills it only when an
	// earlier one is absent or zero.
	Elements []Element
	Nfdump   string // extension.field of nfdump's V3 records, empty where there is none
}

func u(ids ...uint16) (es []Element) { return enc(Unsigned, ids...) }
func enc(e Encoding, ids ...uint16) (es []Element) {
	for _, id := range ids {
		es = append(es, Element{ID: id, Enc: e})
	}
	return
}

// reversePEN is the enterprise under which RFC 5103 puts the elements of a biflow's reverse direction.
const reversePEN = 29305

// cisco is Cisco's enterprise. What its firewalls (ASA) send by NetFlow v9, which has no enterprises, has field types from 32768
// on: 32768 more than the element's id.
const cisco = 9

func reverse(ids ...uint16) []Element {
	es := u(ids...)
	for i := range es {
		es[i].PEN = reversePEN
	}
	return es
}

func addr(v4, v6 uint16) []Element { return []Element{{ID: v4, Enc: IPv4}, {ID: v6, Enc: IPv6}} }

func col(name string, t sdk.Type, unit, doc, nfdump string, es ...[]Element) Column {
	c := Column{Field: sdk.Field{Name: name, Type: t, Unit: unit, Doc: doc}, Nfdump: nfdump}
	for _, e := range es {
		c.Elements = append(c.Elements, e...)
	}
	return c
}

// observed are the elements of when something was observed: of a packet that was sampled (RFC 5477, 8.5), or of an event.
var observed = []Element{{ID: 325, Enc: Nanos}, {ID: 324, Enc: Micros}, {ID: 323, Enc: Millis}, {ID: 322, Enc: Seconds}}

// extra marks a column that exists only where it is named.
func extra(c Column) Column { c.Extra = true; return c }

// Columns is the table, in the order in which schemas have them.
var Columns = []Column{
	// When, and how much stands for it.
	col("received", sdk.Timestamp, "ns", "when the datagram or packet arrived at Weir", "genericFlow.msecReceived"),
	col("exported", sdk.Timestamp, "ns", "when the exporter sent the record, by its own clock", ""),
	col("flow_start", sdk.Timestamp, "ns", "first packet of the flow", "genericFlow.msecFirst",
		[]Element{{ID: 156, Enc: Nanos}, {ID: 154, Enc: Micros}, {ID: 152, Enc: Millis}, {ID: 150, Enc: Seconds}, {ID: 158, Enc: DeltaMicro}, {ID: 22, Enc: Uptime}}, observed),
	col("flow_end", sdk.Timestamp, "ns", "last packet of the flow", "genericFlow.msecLast",
		[]Element{{ID: 157, Enc: Nanos}, {ID: 155, Enc: Micros}, {ID: 153, Enc: Millis}, {ID: 151, Enc: Seconds}, {ID: 159, Enc: DeltaMicro}, {ID: 21, Enc: Uptime}}, observed),
	col("sampling_rate", sdk.Uint64, "packets", "one packet in so many was looked at; 1: all, or not known", "samplerInfo.packetInterval", u(34, 50)),
	extra(col("sequence", sdk.Uint32, "", "sequence number of the datagram", "")),
	extra(col("flow_id", sdk.Uint64, "", "the exporter's number of the flow", "flowId.flowId", u(148))),
	col("format", sdk.Name, "", "protocol the record came in: netflow5, netflow9, ipfix, sflow, nfcapd, packet", ""),

	// Who exported it.
	col("exporter_addr", sdk.Addr, "", "address of the exporter: the datagram's source, or the sFlow agent", "ipReceived.ip"),
	extra(col("exporter_port", sdk.Uint16, "", "source port of the datagram", "")),
	col("observation_domain", sdk.Uint32, "", "observation domain (IPFIX), source id (NetFlow v9), engine (NetFlow v5), sub-agent (sFlow)", ""),
	extra(col("sampler_id", sdk.Uint32, "", "sampler or selector of the record", "samplerInfo.selectorID", u(48, 302))),
	col("exporter_name", sdk.Name, "", "name of the exporter", ""),
	col("exporter_group", sdk.Name, "", "group of the exporter, by classification", ""),
	col("exporter_role", sdk.Name, "", "role of the exporter, by classification", ""),
	col("exporter_site", sdk.Name, "", "site of the exporter, by classification", ""),
	col("exporter_region", sdk.Name, "", "region of the exporter, by classification", ""),
	col("exporter_tenant", sdk.Name, "", "tenant of the exporter, by classification", ""),

	// Between whom.
	col("src_addr", sdk.Addr, "", "source address", "ipv4Flow.srcAddr", addr(8, 27)),
	col("dst_addr", sdk.Addr, "", "destination address", "ipv4Flow.dstAddr", addr(12, 28)),
	col("src_port", sdk.Uint16, "", "source port of TCP, UDP or SCTP", "genericFlow.srcPort", u(7, 180, 182)),
	col("dst_port", sdk.Uint16, "", "destination port of TCP, UDP or SCTP", "genericFlow.dstPort", u(11, 181, 183)),
	col("protocol", sdk.Uint8, "", "IP protocol number", "genericFlow.proto", u(4)),
	col("etype", sdk.Uint16, "", "Ethernet type of the flow's packets: 0x0800 IPv4, 0x86dd IPv6", "", u(256)),
	col("tcp_flags", sdk.Uint16, "", "union of the TCP flags seen", "genericFlow.tcpFlags", u(6)),
	col("tos", sdk.Uint8, "", "type of service or traffic class byte", "genericFlow.srcTos", u(5)),
	col("icmp_type", sdk.Uint8, "", "ICMP type", "", u(176, 178), enc(ICMPType, 32, 139)),
	col("icmp_code", sdk.Uint8, "", "ICMP code", "", u(177, 179), enc(ICMPCode, 32, 139)),

	// How much.
	col("bytes", sdk.Uint64, "bytes", "bytes of the flow, not multiplied by sampling_rate", "genericFlow.inBytes", u(1, 85, 23, 231, 232)),
	col("packets", sdk.Uint64, "packets", "packets of the flow, not multiplied by sampling_rate", "genericFlow.inPackets", u(2, 86, 24, 298, 299)),
	extra(col("out_bytes", sdk.Uint64, "bytes", "bytes after the exporter, or of the other direction", "cntFlow.outBytes", u(23), reverse(1, 85))),
	extra(col("out_packets", sdk.Uint64, "packets", "packets after the exporter, or of the other direction", "cntFlow.outPackets", u(24), reverse(2, 86))),
	extra(col("flows", sdk.Uint64, "flows", "flows this record stands for", "cntFlow.flows", u(3))),

	// Through what.
	col("in_if", sdk.Uint32, "", "index of the interface the packets came in by", "flowMisc.input", u(10, 252)),
	col("out_if", sdk.Uint32, "", "index of the interface the packets left by", "flowMisc.output", u(14, 253)),
	col("in_if_name", sdk.Name, "", "name of the incoming interface", ""),
	col("out_if_name", sdk.Name, "", "name of the outgoing interface", ""),
	col("in_if_description", sdk.Name, "", "description of the incoming interface", ""),
	col("out_if_description", sdk.Name, "", "description of the outgoing interface", ""),
	col("in_if_speed", sdk.Uint32, "Mbit/s", "speed of the incoming interface", ""),
	col("out_if_speed", sdk.Uint32, "Mbit/s", "speed of the outgoing interface", ""),
	col("in_if_provider", sdk.Name, "", "provider behind the incoming interface, by classification", ""),
	col("out_if_provider", sdk.Name, "", "provider behind the outgoing interface, by classification", ""),
	col("in_if_connectivity", sdk.Name, "", "connectivity of the incoming interface, by classification", ""),
	col("out_if_connectivity", sdk.Name, "", "connectivity of the outgoing interface, by classification", ""),
	col("in_if_boundary", sdk.Name, "", "internal, external or empty, by classification", ""),
	col("out_if_boundary", sdk.Name, "", "internal, external or empty, by classification", ""),
	extra(col("in_physical_if", sdk.Uint32, "", "index of the physical incoming interface", "", u(252))),
	extra(col("out_physical_if", sdk.Uint32, "", "index of the physical outgoing interface", "", u(253))),
	col("direction", sdk.Uint8, "", "0 ingress, 1 egress", "flowMisc.dir", u(61)),
	col("forwarding_status", sdk.Uint8, "", "status in the top two bits (1 forwarded, 2 dropped, 3 consumed), reason below", "genericFlow.fwdStatus", u(89)),
	extra(col("flow_end_reason", sdk.Uint8, "", "1 idle, 2 active time-out, 3 end of flow, 4 forced, 5 lack of resources", "flowMisc.flowEndReason", u(136))),
	extra(col("biflow_direction", sdk.Uint8, "", "RFC 5103: 1 initiator, 2 reverse initiator, 3 perimeter", "flowMisc.biFlowDir", u(239))),

	// How it is routed.
	col("src_as", sdk.Uint32, "", "source AS", "asRouting.srcAS", u(16)),
	col("dst_as", sdk.Uint32, "", "destination AS", "asRouting.dstAS", u(17)),
	extra(col("prev_as", sdk.Uint32, "", "adjacent AS before", "asAdjacent.prevAdjacentAS", u(129))),
	extra(col("next_as", sdk.Uint32, "", "adjacent AS after", "asAdjacent.nextAdjacentAS", u(128))),
	col("src_mask", sdk.Uint8, "bits", "length of the source prefix", "flowMisc.srcMask", u(9, 29)),
	col("dst_mask", sdk.Uint8, "bits", "length of the destination prefix", "flowMisc.dstMask", u(13, 30)),
	col("next_hop", sdk.Addr, "", "next hop", "ipNextHop.ip", addr(15, 62)),
	extra(col("bgp_next_hop", sdk.Addr, "", "BGP next hop", "bgpNextHop.ip", addr(18, 63))),
	col("dst_as_path", sdk.Uint32s, "", "AS path to the destination", ""),
	col("dst_communities", sdk.Uint32s, "", "BGP communities of the destination's route", ""),
	extra(col("dst_large_communities", sdk.Uint32s, "", "BGP large communities of the destination's route (RFC 8092): three numbers each", "")),
	extra(col("src_communities", sdk.Uint32s, "", "BGP communities of the source's route", "")),
	extra(col("src_large_communities", sdk.Uint32s, "", "BGP large communities of the source's route: three numbers each", "")),
	extra(col("local_pref", sdk.Uint32, "", "BGP local preference of the destination's route", "")),

	// What is known of the networks.
	col("src_net_name", sdk.Name, "", "name of the source network", ""),
	col("dst_net_name", sdk.Name, "", "name of the destination network", ""),
	col("src_net_role", sdk.Name, "", "role of the source network", ""),
	col("dst_net_role", sdk.Name, "", "role of the destination network", ""),
	col("src_net_site", sdk.Name, "", "site of the source network", ""),
	col("dst_net_site", sdk.Name, "", "site of the destination network", ""),
	extra(col("src_net_region", sdk.Name, "", "region of the source network", "")),
	extra(col("dst_net_region", sdk.Name, "", "region of the destination network", "")),
	extra(col("src_net_tenant", sdk.Name, "", "tenant of the source network", "")),
	extra(col("dst_net_tenant", sdk.Name, "", "tenant of the destination network", "")),
	col("src_country", sdk.Name, "", "country of the source address, two letters (ISO 3166)", ""),
	col("dst_country", sdk.Name, "", "country of the destination address, two letters (ISO 3166)", ""),
	extra(col("src_state", sdk.Name, "", "state or province of the source address", "")),
	extra(col("dst_state", sdk.Name, "", "state or province of the destination address", "")),
	extra(col("src_city", sdk.Name, "", "city of the source address", "")),
	extra(col("dst_city", sdk.Name, "", "city of the destination address", "")),

	// Layer 2.
	extra(col("src_mac", sdk.MAC, "", "source MAC address", "macAddr.inSrcMac", enc(MACAddress, 56, 81))),
	extra(col("dst_mac", sdk.MAC, "", "destination MAC address", "macAddr.outDstMac", enc(MACAddress, 80, 57))),
	extra(col("src_vlan", sdk.Uint16, "", "VLAN before the exporter", "vLan.srcVlan", u(58, 243))),
	extra(col("dst_vlan", sdk.Uint16, "", "VLAN after the exporter", "vLan.dstVlan", u(59, 254))),
	extra(col("customer_vlan", sdk.Uint16, "", "inner (customer) VLAN", "layer2.customerVlanId", u(245))),

	// Layers 3 and 4, in detail.
	extra(col("ttl", sdk.Uint8, "", "time to live or hop limit", "ipInfo.ttl", u(192, 52))),
	extra(col("max_ttl", sdk.Uint8, "", "largest time to live seen", "ipInfo.maxTTL", u(53))),
	extra(col("dst_tos", sdk.Uint8, "", "type of service after the exporter", "flowMisc.dstTos", u(55))),
	extra(col("flow_label", sdk.Uint32, "", "IPv6 flow label", "", u(31))),
	extra(col("fragment_id", sdk.Uint32, "", "IP identification", "", u(54))),
	extra(col("fragment_offset", sdk.Uint16, "", "fragment offset in units of 8 bytes", "", u(88))),
	extra(col("packet_length", sdk.Uint32, "bytes", "length of the sampled packet at layer 3", "")),
	extra(col("tunnel_type", sdk.Name, "", "encapsulation that was taken off: gre, ipip, vxlan, geneve, gtpu, srv6, eompls", "")),
	extra(col("tunnel_src_addr", sdk.Addr, "", "source address of the outer header", "tunIPv4.srcAddr")),
	extra(col("tunnel_dst_addr", sdk.Addr, "", "destination address of the outer header", "tunIPv4.dstAddr")),
	extra(col("tunnel_id", sdk.Uint64, "", "VNI, GRE key or TEID", "", u(351))),

	// MPLS, VRF.
	extra(col("mpls_labels", sdk.Uint32s, "", "label stack, outermost first, labels only (20 bits)", "mplsLabel", enc(Label, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79))),
	extra(col("pseudo_wire_id", sdk.Uint32, "", "virtual circuit of a pseudo wire (VLL, VPLS) that the packets went through", "", u(249))),
	extra(col("in_vrf", sdk.Uint32, "", "VRF the packets came in by", "vrf.ingressVrf", u(234))),
	extra(col("out_vrf", sdk.Uint32, "", "VRF the packets left by", "vrf.egressVrf", u(235))),

	// NAT, firewall.
	extra(col("src_addr_nat", sdk.Addr, "", "source address after translation", "natXlateIPv4.xlateSrcAddr", addr(225, 281), []Element{{PEN: cisco, ID: 7233, Enc: IPv4}, {ID: 40001, Enc: IPv4}})),
	extra(col("dst_addr_nat", sdk.Addr, "", "destination address after translation", "natXlateIPv4.xlateDstAddr", addr(226, 282), []Element{{PEN: cisco, ID: 7234, Enc: IPv4}, {ID: 40002, Enc: IPv4}})),
	extra(col("src_port_nat", sdk.Uint16, "", "source port after translation", "natXlatePort.xlateSrcPort", u(227), []Element{{PEN: cisco, ID: 7235}, {ID: 40003}})),
	extra(col("dst_port_nat", sdk.Uint16, "", "destination port after translation", "natXlatePort.xlateDstPort", u(228), []Element{{PEN: cisco, ID: 7236}, {ID: 40004}})),
	extra(col("nat_event", sdk.Uint8, "", "NAT event (IANA natEvent)", "nelCommon.natEvent", u(230))),
	extra(col("firewall_event", sdk.Uint8, "", "firewall event (IANA firewallEvent)", "nselCommon.fwEvent", u(233), []Element{{PEN: cisco, ID: 7237}, {ID: 40005}})),
	extra(col("user_name", sdk.Name, "", "user of the connection", "nselUser.username", enc(String, 371), []Element{{PEN: cisco, ID: 7232, Enc: String}, {ID: 40000, Enc: String}})),
	extra(col("application_id", sdk.Uint64, "", "application, engine in the top byte (RFC 6759)", "nbarApp.id", u(95))),
	extra(col("application_name", sdk.Name, "", "application name", "", enc(String, 96))),
	extra(col("http_request_host", sdk.Text, "", "host of an HTTP request", "", enc(String, 460))),
	extra(col("http_request_target", sdk.Text, "", "target of an HTTP request: its URL", "", enc(String, 461))),
	extra(col("frame", sdk.Bytes, "", "the sampled bytes of the packet, from the link layer on", "inPayload", enc(Frame, 315, 104))),
}

// Index of the named column in Columns, -1 if there is none.
func Index(name string) int {
	if i, ok := byName[name]; ok {
		return i
	}
	return -1
}

// Carries is the name of the column that an information element fills; empty where none does.
func Carries(pen uint32, id uint16) string { return byElement[Element{PEN: pen, ID: id}] }

// byElement has elements without their encoding.
var byElement = func() map[Element]string {
	m := map[Element]string{}
	for _, c := range Columns {
		for _, e := range c.Elements {
			if e.Enc = 0; m[e] == "" {
				m[e] = c.Name
			}
		}
	}
	return m
}()

var byName = func() map[string]int {
	m := make(map[string]int, len(Columns))
	for i, c := range Columns {
		m[c.Name] = i
	}
	return m
}()

// Schema is all columns of the table: what a flow source or decoder offers, before the plan has pruned it. Columns outside the
// default set are Extra.
var Schema = func() *sdk.Schema {
	fs := make([]sdk.Field, len(Columns))
	for i, c := range Columns {
		fs[i] = c.Field
	}
	return sdk.NewSchema(fs...)
}()
