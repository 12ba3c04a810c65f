package tshark

import (
	"bytes"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// layers puts what the protocols of a packet say into the row, up to the first transport: what a tunnel carries is another packet.
func (r *reader) layers(row Row, protos []node) {
	var vlans, labels []uint64
	etype := uint64(0)
	seen := false // the network layer
packet:
	for i := range protos {
		p := &protos[i]
		value := func(name string) uint64 { return hexNumber(p.find(name).Value) }
		switch p.Name {
		case "eth":
			etype = value("eth.type")
			if len(labels) > 0 {
				continue // a frame behind labels: its addresses and tags are the customer's
			}
			row.mac("src_mac", p.find("eth.src").Value)
			row.mac("dst_mac", p.find("eth.dst").Value)
		case "vlan", "ieee8021ad":
			id, next := p.Name+".id", "vlan.etype"
			if p.Name == "ieee8021ad" {
				next = "ieee8021ad.etype"
			}
			if etype = value(next); len(labels) == 0 {
				vlans = append(vlans, value(id))
			}
		case "mpls":
			labels = append(labels, value("mpls.label"))
		case "ip", "ipv6":
			if seen {
				break packet
			}
			seen = true
			if p.Name == "ip" {
				etype = 0x0800
				row.addr("src_addr", p.find("ip.src").Value)
				row.addr("dst_addr", p.find("ip.dst").Value)
				row.number("tos", value("ip.dsfield"))
				row.number("ttl", value("ip.ttl"))
				row.number("protocol", value("ip.proto"))
				row.number("packet_length", value("ip.len"))
				row.number("fragment_id", value("ip.id"))
				row.number("fragment_offset", value("ip.frag_offset"))
			} else {
				etype = 0x86dd
				r.ipv6(row, p)
			}
		case "ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr":
			r.extension(row, p)
		case "tcp":
			row.number("src_port", value("tcp.srcport"))
			row.number("dst_port", value("tcp.dstport"))
			row.number("tcp_flags", value("tcp.flags"))
			break packet
		case "udp", "sctp", "dccp", "udplite":
			row.number("src_port", value(p.Name+".srcport"))
			row.number("dst_port", value(p.Name+".dstport"))
			break packet
		case "icmp", "icmpv6":
			row.number("icmp_type", value(p.Name+".type"))
			row.number("icmp_code", value(p.Name+".code"))
			break packet
		}
	}
	if len(vlans) > 0 {
		row.number("src_vlan", vlans[0])
	}
	if len(vlans) > 1 {
		row.number("customer_vlan", vlans[len(vlans)-1])
	}
	row.list("mpls_labels", labels)
	row.number("etype", etype)
}

func (r *reader) ipv6(row Row, p *node) {
	value := func(name string) uint64 { return hexNumber(p.find(name).Value) }
	row.addr("src_addr", p.find("ipv6.src").Value)
	row.addr("dst_addr", p.find("ipv6.dst").Value)
	row.number("tos", value("ipv6.tclass"))
	row.number("ttl", value("ipv6.hlim"))
	row.number("flow_label", value("ipv6.flow"))
	row.number("packet_length", value("ipv6.plen")+40)
	row["protocol"] = strconv.FormatUint(value("ipv6.nxt"), 10)
	for i := range p.Kids { // extension headers stand within the protocol, or behind it
		r.extension(row, &p.Kids[i])
	}
}

// extension is a header between IPv6 and the transport.
func (r *reader) extension(row Row, p *node) {
	next := p.look(p.Name + ".nxt")
	if !strings.HasPrefix(p.Name, "ipv6.") || next == nil {
		return
	}
	row["protocol"] = strconv.FormatUint(hexNumber(next.Value), 10)
	if p.Name == "ipv6.fraghdr" {
		row.number("fragment_id", hexNumber(p.find("ipv6.fraghdr.ident").Value))
		row.number("fragment_offset", decimal(p.find("ipv6.fraghdr.offset").Show))
	}
}

func decimal(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// section is a frame within a record.
type section struct {
	row   Row
	has   map[string]bool // columns that elements of the record are for
	bytes []byte
}

// frames has tshark look into the frames of records that it showed as bytes, and again, with the hints, into those that there are
// hints for.
func (r *reader) frames() {
	var plain, told []section
	var args []string
	met := map[int]bool{}
	for _, s := range r.sections {
		i := r.hinted(s.bytes)
		if i < 0 {
			plain = append(plain, s)
			continue
		}
		told = append(told, s)
		if !met[i] {
			met[i] = true
			args = append(args, "-d", r.hints[i].As)
		}
	}
	for i, h := range r.hints {
		if !met[i] {
			r.t.Errorf("no record has the frame that there is the hint %s for: %x", h.As, h.Frame)
		}
	}
	for i, protos := range r.dissect(plain) {
		r.within(&plain[i], protos)
	}
	unaided := r.dissect(told)
	for i, protos := range r.dissect(told, args...) {
		guess, row := Row{}, Row{}
		r.layers(guess, unaided[i])
		r.layers(row, protos)
		if maps.Equal(guess, row) {
			r.t.Errorf("tshark needs no hint for the frame %x: it reads %v", told[i].bytes, row)
		}
		r.within(&told[i], protos)
	}
}

// hinted is which hint there is for a frame, -1 for most.
func (r *reader) hinted(frame []byte) int {
	return slices.IndexFunc(r.hints, func(h Hint) bool { return bytes.HasPrefix(frame, h.Frame) })
}

// dissect is the protocols that tshark sees in frames, for each.
func (r *reader) dissect(sections []section, args ...string) (protos [][]node) {
	if len(sections) == 0 {
		return nil
	}
	var frames []Frame
	for _, s := range sections {
		frames = append(frames, Frame{At: time.Unix(0, 0), Data: s.bytes})
	}
	file := filepath.Join(r.t.TempDir(), "frames.pcap")
	if err := os.WriteFile(file, Pcap(frames), 0o600); err != nil {
		r.t.Fatal(err)
	}
	for _, p := range run(r.t, file, args...) {
		protos = append(protos, p.Kids)
	}
	return protos
}

// within fills the columns that no element is for with what the frame says.
func (r *reader) within(s *section, protos []node) {
	inner := Row{}
	r.layers(inner, protos)
	if n := inner["packet_length"]; n != "" {
		inner["bytes"], inner["packets"] = n, "1"
	}
	for c, v := range inner {
		if !s.has[c] {
			s.row[c] = v
		}
	}
}

// unhex reads bytes that tshark shows.
func unhex(digits string) []byte {
	b, err := hex.DecodeString(digits)
	if err != nil {
		panic(err) // tshark's format has changed
	}
	return b
}
