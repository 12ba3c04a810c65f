package netflow

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// A record may carry the first bytes of a packet (RFC 7133; NetFlow v9's layer 2 section) instead of what they say, or beside it. They
// are dissected for those columns that no element of the template fills.

// sections are the elements that carry bytes of packets, and what these begin with.
var sections = []struct {
	id   uint16
	link packet.Link
}{{315, packet.Ethernet}, {104, packet.Ethernet}, {313, packet.IP}}

// frameType is dataLinkFrameType (RFC 7133): what kind of frame dataLinkFrameSection is of. Its values are bits; without it, and with
// that of Ethernet alone, the frame is one of Ethernet.
const (
	frameType     = 408
	frameEthernet = 1
)

// dissected is a column that a dissected packet fills.
type dissected struct {
	col, width int
	put        func(dst unsafe.Pointer, fs []packet.Fields)
}

// chunk is how many packets are dissected before their columns are written.
const chunk = 32

// taker makes the function that writes one column of a chunk.
func taker[D sdk.Fixed](take func(f *packet.Fields) D) func(unsafe.Pointer, []packet.Fields) {
	return func(dst unsafe.Pointer, fs []packet.Fields) {
		d := unsafe.Slice((*D)(dst), len(fs))
		for i := range fs {
			d[i] = take(&fs[i])
		}
	}
}

// takers are the columns of fixed width that a packet fills.
var takers = map[string]func(unsafe.Pointer, []packet.Fields){
	"src_addr":        taker(func(f *packet.Fields) [16]byte { return f.SrcAddr }),
	"dst_addr":        taker(func(f *packet.Fields) [16]byte { return f.DstAddr }),
	"src_port":        taker(func(f *packet.Fields) uint16 { return f.SrcPort }),
	"dst_port":        taker(func(f *packet.Fields) uint16 { return f.DstPort }),
	"protocol":        taker(func(f *packet.Fields) uint8 { return f.Protocol }),
	"etype":           taker(func(f *packet.Fields) uint16 { return f.Etype }),
	"tcp_flags":       taker(func(f *packet.Fields) uint16 { return f.TCPFlags }),
	"tos":             taker(func(f *packet.Fields) uint8 { return f.TOS }),
	"ttl":             taker(func(f *packet.Fields) uint8 { return f.TTL }),
	"icmp_type":       taker(func(f *packet.Fields) uint8 { return f.ICMPType }),
	"icmp_code":       taker(func(f *packet.Fields) uint8 { return f.ICMPCode }),
	"src_mac":         taker(func(f *packet.Fields) uint64 { return f.SrcMAC }),
	"dst_mac":         taker(func(f *packet.Fields) uint64 { return f.DstMAC }),
	"src_vlan":        taker(func(f *packet.Fields) uint16 { return f.VLAN }),
	"customer_vlan":   taker(func(f *packet.Fields) uint16 { return f.CustomerVLAN }),
	"flow_label":      taker(func(f *packet.Fields) uint32 { return f.FlowLabel }),
	"fragment_id":     taker(func(f *packet.Fields) uint32 { return f.FragmentID }),
	"fragment_offset": taker(func(f *packet.Fields) uint16 { return f.FragmentOffset }),
	"packet_length":   taker(func(f *packet.Fields) uint32 { return f.Length }),
	"tunnel_src_addr": taker(func(f *packet.Fields) [16]byte { return f.TunnelSrc }),
	"tunnel_dst_addr": taker(func(f *packet.Fields) [16]byte { return f.TunnelDst }),
	"tunnel_id":       taker(func(f *packet.Fields) uint64 { return f.TunnelID }),
	"bytes":           taker(func(f *packet.Fields) uint64 { return uint64(f.Length) }),
	"packets": taker(func(f *packet.Fields) uint64 {
		if f.Has&packet.HasIP != 0 {
			return 1
		}
		return 0
	}),
}

// section adds the operation that dissects packets, if the template has their bytes and a column needs them.
func (c *compiler) section() {
	if c.direction == reverseInitiator {
		return // the packet went the other way
	}
	for _, s := range sections {
		pl, ok := c.has(s.id)
		if !ok {
			continue
		}
		o := op{seg: pl.seg, off: uintptr(pl.off), len: pl.len, values: dissect, link: s.link, labels: -1, tunnel: -1}
		if t, ok := c.has(frameType); ok && s.id == 315 && t.fits(flow.Unsigned) {
			o.frameType = part{t.seg, uintptr(t.off), t.len}
		}
		for i, f := range c.out.Fields() {
			if slices.ContainsFunc(c.p.ops, func(o op) bool { return o.cols[0] == i }) {
				continue
			}
			if col := flow.Index(f.Name); col < 0 || flow.Columns[col].Type != f.Type {
				continue
			}
			switch f.Name {
			case "mpls_labels":
				o.labels = i
			case "tunnel_type":
				o.tunnel = i
			default:
				if put := takers[f.Name]; put != nil {
					o.seen = append(o.seen, dissected{i, f.Type.Width(), put})
				}
			}
		}
		if len(o.seen) > 0 || o.labels >= 0 || o.tunnel >= 0 {
			c.add(o)
		}
		return
	}
}

// dissect fills the columns of o from the bytes of packets. Frames that are not of Ethernet leave them zero, and are counted.
func dissect(d *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	if d.packets == nil {
		d.packets = make([]packet.Fields, chunk)
	}
	row, n := at, 0
	flush := func() {
		fs := d.packets[:n]
		for i := range o.seen {
			s := &o.seen[i]
			s.put(unsafe.Add(b.Claim(s.col, row, n), row*s.width), fs)
		}
		for i := range fs {
			if o.labels >= 0 {
				var list [4 * packet.MaxLabels]byte
				k := int(fs[i].LabelCount)
				for l := range k {
					binary.LittleEndian.PutUint32(list[4*l:], fs[i].Labels[l])
				}
				b.SetBytes(o.labels, row+i, list[:4*k])
			}
			if o.tunnel >= 0 {
				name, ok := uint16(0), true
				if fs[i].Has&packet.HasTunnel != 0 {
					name, ok = flow.Intern(b, o.tunnel, []byte(fs[i].Tunnel.String()))
				}
				if !ok {
					d.Tally.NamesFull++
				}
				sdk.Claim[uint16](b, o.tunnel, row+i, 1)[0] = name
			}
		}
		row, n = row+n, 0
	}
	for i := range x.ps {
		if t := &o.frameType; t.len > 0 && beN(x.g.segs[t.seg].ps[i], t.off, t.len) != frameEthernet {
			d.packets[n] = packet.Fields{}
			d.Tally.NotEthernet++
		} else {
			packet.Dissect(&d.packets[n], o.link, o.value(x, i), d.opt.Decapsulate)
		}
		if n++; n == chunk {
			flush()
		}
	}
	flush()
}
