package flow

import "strings"

// Called is the column for which other programs have another name: an information element's (RFC 7012), a NetFlow v9 field type's, or one
// that flow tools and people use; "" for a name that says nothing. It is for telling people what they meant, and no second name.
func Called(name string) string {
	if len(name) > 64 {
		return ""
	}
	return called[strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(name))]
}

// called has names in lower case, without what separates words.
var called = func() map[string]string {
	m := map[string]string{
		"sourceipv4address": "src_addr", "sourceipv6address": "src_addr", "destinationipv4address": "dst_addr", "destinationipv6address": "dst_addr",
		"sourcetransportport": "src_port", "destinationtransportport": "dst_port", "l4srcport": "src_port", "l4dstport": "dst_port",
		"protocolidentifier": "protocol", "proto": "protocol", "ipproto": "protocol", "prot": "protocol", "pr": "protocol", "protocolid": "protocol",
		"octetdeltacount": "bytes", "octettotalcount": "bytes", "inbytes": "bytes", "octets": "bytes", "byt": "bytes", "ibyt": "bytes", "doctets": "bytes",
		"packetdeltacount": "packets", "packettotalcount": "packets", "inpkts": "packets", "inpackets": "packets", "pkts": "packets", "pkt": "packets",
		"ipkt": "packets", "dpkts": "packets",
		"flowstartmilliseconds": "flow_start", "flowstartseconds": "flow_start", "flowstartsysuptime": "flow_start", "firstswitched": "flow_start",
		"first": "flow_start", "ts": "flow_start", "starttime": "flow_start", "start": "flow_start", "timeflowstart": "flow_start", "timestamp": "received",
		"time": "received", "timereceived": "received", "flowendmilliseconds": "flow_end", "flowendseconds": "flow_end", "flowendsysuptime": "flow_end",
		"lastswitched": "flow_end", "last": "flow_end", "te": "flow_end", "endtime": "flow_end", "end": "flow_end", "timeflowend": "flow_end",
		"ingressinterface": "in_if", "egressinterface": "out_if", "inputsnmp": "in_if", "outputsnmp": "out_if", "inputif": "in_if", "outputif": "out_if",
		"input": "in_if", "output": "out_if", "iniface": "in_if", "outiface": "out_if", "inif": "in_if", "outif": "out_if",
		"bgpsourceasnumber": "src_as", "bgpdestinationasnumber": "dst_as",
		"tcpcontrolbits": "tcp_flags", "flags": "tcp_flags", "flg": "tcp_flags", "ipclassofservice": "tos", "dscp": "tos",
		"ipnexthopipv4address": "next_hop", "ipnexthopipv6address": "next_hop", "nexthop": "next_hop", "nh": "next_hop",
		"samplinginterval": "sampling_rate", "samplerate": "sampling_rate", "flowdirection": "direction", "ethernettype": "etype", "ethertype": "etype",
		"exporteraddress": "exporter_addr", "exporterip": "exporter_addr", "exporter": "exporter_addr", "router": "exporter_addr", "samplerip": "exporter_addr",
		"sampleraddress": "exporter_addr", "agent": "exporter_addr", "observationdomainid": "observation_domain", "vlan": "src_vlan", "vlanid": "src_vlan",
	}
	for _, side := range []struct {
		column string
		names  []string
	}{{"src", []string{"src", "source"}}, {"dst", []string{"dst", "dest", "destination"}}} {
		for _, s := range side.names {
			for _, what := range []struct{ column, names string }{{"addr", "ip addr address ipaddr ipaddress ipv4 ipv6 host"}, {"port", "port"},
				{"as", "as asn"}, {"mask", "mask prefixlength prefix net"}, {"mac", "mac macaddress"}, {"country", "country geo"}} {
				for _, w := range strings.Fields(what.names) {
					m[s+w] = side.column + "_" + what.column
				}
			}
			for _, ip := range []string{"ip", "ipv4", "ipv6"} { // IPV4_SRC_ADDR
				m[ip+s], m[ip+s+"addr"] = side.column+"_addr", side.column+"_addr"
			}
		}
	}
	for short, column := range map[string]string{"s": "src", "d": "dst"} {
		m[short+"ip"], m[short+"addr"], m[short+"a"] = column+"_addr", column+"_addr", column+"_addr"
		m[short+"port"], m[short+"p"], m[short+"as"], m[short+"mac"] = column+"_port", column+"_port", column+"_as", column+"_mac"
	}
	return m
}()
