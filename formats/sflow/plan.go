package sflow

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
	"unsafe"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// plan is what of samples a schema needs: which records must be read, and which field goes into which column.
type plan struct {
	need   needs
	fixed  []op
	values []valueOp
	names  []nameOp
	texts  []textOp
}

// needs are kinds of records that are looked into for some column.
type needs uint16

const (
	needFrame needs = 1 << iota // the packet is dissected
	needSwitch
	needRouter
	needGateway
	needMPLS
	needNAT
	needTunnel
	needUser
	needURL
	needWire
	needViews // a column of variable length looks into the payload
)

// op moves one field of records into a column of the same type.
type op struct {
	col   int
	width int
	from  uintptr // of the field in a record
	group groups  // not 0: the column is left alone where no record has it
}

// valueOp writes a column of variable length.
type valueOp struct {
	col   int
	group groups
	value func(d *Decoder, i int) []byte // of record i; valid until the next call
}

// nameOp writes a column of names.
type nameOp struct {
	col   int
	group groups
	name  func(r *record) string
}

// textOp writes a column of strings that the device sent.
type textOp struct {
	col   int
	name  bool // they have few different values
	group groups
	value func(v *view) []byte
}

// field is where a column comes from.
type field struct {
	from  uintptr
	width uintptr
	need  needs
	group groups
}

// fields are all columns of fixed width that sFlow tells. Offsets count from the start of a record.
var fields = func() map[string]field {
	var r record
	pkt, gate, nat := unsafe.Offsetof(r.pkt), unsafe.Offsetof(r.gate), unsafe.Offsetof(r.nat)
	m := map[string]field{}
	at := func(from, width uintptr, need needs, group groups, names ...string) {
		for _, n := range names {
			m[n] = field{from, width, need, group}
		}
	}
	at(unsafe.Offsetof(r.received), unsafe.Sizeof(r.received), 0, 0, "received", "exported", "flow_start", "flow_end")
	at(unsafe.Offsetof(r.rate), unsafe.Sizeof(r.rate), 0, 0, "sampling_rate")
	at(unsafe.Offsetof(r.sequence), unsafe.Sizeof(r.sequence), 0, 0, "sequence")
	at(unsafe.Offsetof(r.agent), unsafe.Sizeof(r.agent), 0, 0, "exporter_addr")
	at(unsafe.Offsetof(r.port), unsafe.Sizeof(r.port), 0, 0, "exporter_port")
	at(unsafe.Offsetof(r.domain), unsafe.Sizeof(r.domain), 0, 0, "observation_domain")
	at(unsafe.Offsetof(r.bytes), unsafe.Sizeof(r.bytes), 0, 0, "bytes")
	at(unsafe.Offsetof(r.packets), unsafe.Sizeof(r.packets), 0, 0, "packets")
	at(unsafe.Offsetof(r.inIf), unsafe.Sizeof(r.inIf), 0, 0, "in_if")
	at(unsafe.Offsetof(r.outIf), unsafe.Sizeof(r.outIf), 0, 0, "out_if")
	at(unsafe.Offsetof(r.direction), unsafe.Sizeof(r.direction), 0, 0, "direction")
	at(unsafe.Offsetof(r.status), unsafe.Sizeof(r.status), 0, hasStatus, "forwarding_status")

	at(pkt+unsafe.Offsetof(r.pkt.SrcAddr), unsafe.Sizeof(r.pkt.SrcAddr), needFrame, 0, "src_addr")
	at(pkt+unsafe.Offsetof(r.pkt.DstAddr), unsafe.Sizeof(r.pkt.DstAddr), needFrame, 0, "dst_addr")
	at(pkt+unsafe.Offsetof(r.pkt.SrcPort), unsafe.Sizeof(r.pkt.SrcPort), needFrame, 0, "src_port")
	at(pkt+unsafe.Offsetof(r.pkt.DstPort), unsafe.Sizeof(r.pkt.DstPort), needFrame, 0, "dst_port")
	at(pkt+unsafe.Offsetof(r.pkt.Protocol), unsafe.Sizeof(r.pkt.Protocol), needFrame, 0, "protocol")
	at(pkt+unsafe.Offsetof(r.pkt.Etype), unsafe.Sizeof(r.pkt.Etype), needFrame, 0, "etype")
	at(pkt+unsafe.Offsetof(r.pkt.TCPFlags), unsafe.Sizeof(r.pkt.TCPFlags), needFrame, 0, "tcp_flags")
	at(pkt+unsafe.Offsetof(r.pkt.TOS), unsafe.Sizeof(r.pkt.TOS), needFrame, 0, "tos")
	at(pkt+unsafe.Offsetof(r.pkt.TTL), unsafe.Sizeof(r.pkt.TTL), needFrame, 0, "ttl")
	at(pkt+unsafe.Offsetof(r.pkt.ICMPType), unsafe.Sizeof(r.pkt.ICMPType), needFrame, 0, "icmp_type")
	at(pkt+unsafe.Offsetof(r.pkt.ICMPCode), unsafe.Sizeof(r.pkt.ICMPCode), needFrame, 0, "icmp_code")
	at(pkt+unsafe.Offsetof(r.pkt.FlowLabel), unsafe.Sizeof(r.pkt.FlowLabel), needFrame, 0, "flow_label")
	at(pkt+unsafe.Offsetof(r.pkt.FragmentID), unsafe.Sizeof(r.pkt.FragmentID), needFrame, 0, "fragment_id")
	at(pkt+unsafe.Offsetof(r.pkt.FragmentOffset), unsafe.Sizeof(r.pkt.FragmentOffset), needFrame, 0, "fragment_offset")
	at(pkt+unsafe.Offsetof(r.pkt.Length), unsafe.Sizeof(r.pkt.Length), needFrame, 0, "packet_length")
	at(pkt+unsafe.Offsetof(r.pkt.SrcMAC), unsafe.Sizeof(r.pkt.SrcMAC), needFrame, 0, "src_mac")
	at(pkt+unsafe.Offsetof(r.pkt.DstMAC), unsafe.Sizeof(r.pkt.DstMAC), needFrame, 0, "dst_mac")
	at(pkt+unsafe.Offsetof(r.pkt.VLAN), unsafe.Sizeof(r.pkt.VLAN), needFrame|needSwitch, 0, "src_vlan")
	at(pkt+unsafe.Offsetof(r.pkt.CustomerVLAN), unsafe.Sizeof(r.pkt.CustomerVLAN), needFrame|needSwitch, 0, "customer_vlan")
	at(pkt+unsafe.Offsetof(r.pkt.TunnelSrc), unsafe.Sizeof(r.pkt.TunnelSrc), needFrame|needTunnel, hasTunnel, "tunnel_src_addr")
	at(pkt+unsafe.Offsetof(r.pkt.TunnelDst), unsafe.Sizeof(r.pkt.TunnelDst), needFrame|needTunnel, hasTunnel, "tunnel_dst_addr")
	at(pkt+unsafe.Offsetof(r.pkt.TunnelID), unsafe.Sizeof(r.pkt.TunnelID), needFrame|needTunnel, hasTunnel, "tunnel_id")

	at(unsafe.Offsetof(r.dstVLAN), unsafe.Sizeof(r.dstVLAN), needSwitch, hasSwitch, "dst_vlan")
	at(unsafe.Offsetof(r.nextHop), unsafe.Sizeof(r.nextHop), needRouter|needMPLS, hasRouter, "next_hop")
	at(unsafe.Offsetof(r.srcMask), unsafe.Sizeof(r.srcMask), needRouter, hasRouter, "src_mask")
	at(unsafe.Offsetof(r.dstMask), unsafe.Sizeof(r.dstMask), needRouter, hasRouter, "dst_mask")

	at(gate+unsafe.Offsetof(r.gate.srcAS), unsafe.Sizeof(r.gate.srcAS), needGateway, hasGateway, "src_as")
	at(gate+unsafe.Offsetof(r.gate.dstAS), unsafe.Sizeof(r.gate.dstAS), needGateway, hasGateway, "dst_as")
	at(gate+unsafe.Offsetof(r.gate.prevAS), unsafe.Sizeof(r.gate.prevAS), needGateway, hasGateway, "prev_as")
	at(gate+unsafe.Offsetof(r.gate.nextAS), unsafe.Sizeof(r.gate.nextAS), needGateway, hasGateway, "next_as")
	at(gate+unsafe.Offsetof(r.gate.localPref), unsafe.Sizeof(r.gate.localPref), needGateway, hasGateway, "local_pref")
	at(gate+unsafe.Offsetof(r.gate.nextHop), unsafe.Sizeof(r.gate.nextHop), needGateway, hasGateway, "bgp_next_hop")
	at(unsafe.Offsetof(r.outer)+unsafe.Offsetof(r.outer.wire), unsafe.Sizeof(r.outer.wire), needWire, hasWire, "pseudo_wire_id")
	at(nat+unsafe.Offsetof(r.nat.src), unsafe.Sizeof(r.nat.src), needNAT, hasNAT, "src_addr_nat")
	at(nat+unsafe.Offsetof(r.nat.dst), unsafe.Sizeof(r.nat.dst), needNAT, hasNAT, "dst_addr_nat")
	at(nat+unsafe.Offsetof(r.nat.srcPort), unsafe.Sizeof(r.nat.srcPort), needNAT, hasNAT, "src_port_nat")
	at(nat+unsafe.Offsetof(r.nat.dstPort), unsafe.Sizeof(r.nat.dstPort), needNAT, hasNAT, "dst_port_nat")
	return m
}()

// compile makes the plan for the columns of out. Columns that sFlow does not tell, or of another type than the table's, are
// not ours to fill.
func compile(out *sdk.Schema) (p plan) {
	for i, c := range out.Fields() {
		col := flow.Index(c.Name)
		if col < 0 || flow.Columns[col].Type != c.Type {
			continue
		}
		switch c.Name {
		case "format":
			p.names = append(p.names, nameOp{i, 0, func(*record) string { return "sflow" }})
		case "tunnel_type":
			p.names = append(p.names, nameOp{i, hasTunnel, func(r *record) string { return r.pkt.Tunnel.String() }})
			p.need |= needFrame | needTunnel
		case "user_name":
			p.texts = append(p.texts, textOp{i, true, hasUser, func(v *view) []byte { return v.user }})
			p.need |= needUser | needViews
		case "http_request_host":
			p.texts = append(p.texts, textOp{i, false, hasURL, func(v *view) []byte { return v.host }})
			p.need |= needURL | needViews
		case "http_request_target":
			p.texts = append(p.texts, textOp{i, false, hasURL, func(v *view) []byte { return v.url }})
			p.need |= needURL | needViews
		case "mpls_labels":
			p.values = append(p.values, valueOp{i, hasLabels, (*Decoder).labels})
			p.need |= needFrame | needMPLS
		case "dst_as_path":
			p.values = append(p.values, valueOp{i, hasGateway, (*Decoder).path})
			p.need |= needGateway | needViews
		case "dst_communities":
			p.values = append(p.values, valueOp{i, hasGateway, (*Decoder).communities})
			p.need |= needGateway | needViews
		case "frame":
			p.values = append(p.values, valueOp{i, 0, func(d *Decoder, i int) []byte { return d.views[i].frame }})
			p.need |= needViews
		default:
			if f, ok := fields[c.Name]; ok {
				p.fixed = append(p.fixed, op{i, int(f.width), f.from, f.group})
				p.need |= f.need
			}
		}
	}
	return p
}

// store moves n records from record from on into the batch, behind its rows.
func (d *Decoder) store(b *sdk.Batch, from, n int) {
	at := b.Rows()
	recs := d.recs[from : from+n]
	var has groups
	for i := range recs {
		has |= recs[i].has
	}
	for i := range d.plan.fixed {
		o := &d.plan.fixed[i]
		if o.group != 0 && o.group&has == 0 {
			continue // the column's zero
		}
		dst := b.Claim(o.col, at, n)
		switch o.width {
		case 1:
			gather[uint8](dst, at, recs, o.from)
		case 2:
			gather[uint16](dst, at, recs, o.from)
		case 4:
			gather[uint32](dst, at, recs, o.from)
		case 8:
			gather[uint64](dst, at, recs, o.from)
		case 16:
			gather[[2]uint64](dst, at, recs, o.from)
		}
	}
	for i := range d.plan.names {
		if o := &d.plan.names[i]; o.group == 0 || o.group&has != 0 {
			d.storeNames(b, o, recs)
		}
	}
	for i := range d.plan.texts {
		if o := &d.plan.texts[i]; o.group&has != 0 {
			d.storeTexts(b, o, from, recs)
		}
	}
	for i := range d.plan.values {
		o := &d.plan.values[i]
		if o.group != 0 && o.group&has == 0 {
			continue
		}
		for j := range recs {
			if v := o.value(d, from+j); len(v) > 0 {
				b.SetBytes(o.col, at+j, v)
			}
		}
	}
}

// gather is the loop that all columns of one width share.
func gather[T any](dst unsafe.Pointer, at int, recs []record, from uintptr) {
	const step = unsafe.Sizeof(record{})
	d := unsafe.Slice((*T)(dst), at+len(recs))[at:]
	base := unsafe.Pointer(unsafe.SliceData(recs))
	for len(d) >= 4 {
		q := (*[4]T)(d)
		q[0] = *(*T)(unsafe.Add(base, from))
		q[1] = *(*T)(unsafe.Add(base, from+step))
		q[2] = *(*T)(unsafe.Add(base, from+2*step))
		q[3] = *(*T)(unsafe.Add(base, from+3*step))
		d, from = d[4:], from+4*step
	}
	for i := range d {
		d[i] = *(*T)(unsafe.Add(base, from))
		from += step
	}
}

func (d *Decoder) storeNames(b *sdk.Batch, o *nameOp, recs []record) {
	dst := sdk.Claim[uint16](b, o.col, b.Rows(), len(recs))
	last, index := "", uint16(0)
	for i := range recs {
		if s := o.name(&recs[i]); s != last {
			n, ok := b.Dict(o.col).Intern(s)
			if !ok {
				d.Tally.NamesFull++
			}
			last, index = s, n
		}
		dst[i] = index
	}
}

func (d *Decoder) storeTexts(b *sdk.Batch, o *textOp, from int, recs []record) {
	at := b.Rows()
	for i := range recs {
		v := o.value(&d.views[from+i])
		if recs[i].has&o.group == 0 || len(v) == 0 {
			continue
		}
		if !o.name {
			if !utf8.Valid(v) {
				v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
			}
			b.SetBytes(o.col, at+i, v)
			continue
		}
		n, ok := flow.Intern(b, o.col, v)
		if !ok {
			d.Tally.NamesFull++
		}
		sdk.Claim[uint16](b, o.col, at+i, 1)[0] = n
	}
}

// labels are the label stack, in the layout of a list column.
func (d *Decoder) labels(i int) []byte {
	f := &d.recs[i].pkt
	d.list = d.list[:0]
	for _, l := range f.Labels[:f.LabelCount] {
		d.list = binary.LittleEndian.AppendUint32(d.list, l)
	}
	return d.list
}

// path are the AS numbers of all segments.
func (d *Decoder) path(i int) []byte {
	d.list = d.list[:0]
	for p := d.views[i].path; len(p) >= 8; {
		n := be.Uint32(p[4:])
		d.swap(p[8 : 8+n*4])
		p = p[8+n*4:]
	}
	return d.list
}

func (d *Decoder) communities(i int) []byte {
	d.list = d.list[:0]
	d.swap(d.views[i].communities)
	return d.list
}

// swap appends a list of numbers on the wire.
func (d *Decoder) swap(p []byte) {
	for ; len(p) >= 4; p = p[4:] {
		d.list = binary.LittleEndian.AppendUint32(d.list, be.Uint32(p))
	}
}
