package tshark

import (
	"maps"
	"strings"
	"time"
)

// fill puts a record's fields into the columns, and says which columns there are elements for.
func (r *reader) fill(h *header, from *exporter, row Row, fields map[string]*node) (has map[string]bool) {
	has = map[string]bool{}
	for _, c := range columns {
		for _, name := range c.from {
			f := fields[name]
			if f == nil {
				continue
			}
			has[c.name] = true
			switch c.kind {
			case number:
				if row[c.name] == "" {
					row.number(c.name, hexNumber(f.Value))
				}
			case address:
				if zero(f.Value) && (row[c.name] != "" || len(f.Value) == 32) {
					continue // nothing, which in IPv4 is still seen to be that
				}
				if row[c.name] == "" || row[c.name] == "0.0.0.0" {
					row.addr(c.name, f.Value)
				}
			case mac:
				if row[c.name] == "" {
					row.mac(c.name, f.Value)
				}
			case moment:
				if row[c.name] == "" {
					r.when(h, from, row, c.name, name, f, fields["timedelta"])
				}
			}
		}
	}
	if f := fields["forwarding_status"]; f != nil {
		row.number("forwarding_status", hexNumber(f.Value))
		has["forwarding_status"] = true
	}
	icmp(row, fields, has)
	etype(row, fields, has)
	if row["sampling_rate"] == "" {
		row.number("sampling_rate", from.rate(h, fields))
	}
	return has
}

func zero(digits string) bool {
	for _, c := range digits {
		if c != '0' {
			return false
		}
	}
	return true
}

// when reads a time of a record.
func (r *reader) when(h *header, from *exporter, row Row, column, name string, f, delta *node) {
	const since1900 = 2208988800
	if len(f.Value) == 32 { // pmacct's: seconds and microseconds in 8 bytes each, which tshark takes for one number
		row.time(column, time.Unix(int64(hexNumber(f.Value[:16])), int64(hexNumber(f.Value[16:]))*1000))
		return
	}
	v := hexNumber(f.Value)
	switch {
	case name == "timestart" || name == "timeend":
		if at, ok := from.uptime(h, uint32(v)); ok {
			row.time(column, at)
		}
	case len(f.Value) == 16 && v>>32 >= since1900: // NTP's format: tshark cuts what is below its unit, and a time is what is nearest
		unit := uint64(1)
		if name == "observation_time_microseconds" || delta != nil && strings.Contains(delta.ShowName, "(microseconds)") {
			unit = 1000
		}
		ns := (v&0xffffffff*(1e9/unit) + 1<<31) >> 32 * unit
		at := time.Unix(int64(v>>32)-since1900, int64(ns))
		if d := at.Sub(r.moment(f)); d < 0 || d > time.Duration(unit) {
			r.t.Errorf("%s is %v, and tshark reads %s", name, at.UTC(), f.Show)
		}
		row.time(column, at)
	case v != 0:
		row.time(column, r.moment(f))
	}
}

// icmp is what elements for it say; exporters without them put type and code into the destination port.
func icmp(row Row, fields map[string]*node, has map[string]bool) {
	put := func(v uint64) {
		if row["icmp_type"] == "" {
			row.number("icmp_type", v>>8)
		}
		if row["icmp_code"] == "" {
			row.number("icmp_code", v&0xff)
		}
	}
	if f := fields["icmp_type_code_ipv4"]; f != nil {
		put(hexNumber(f.Value))
		has["icmp_type"], has["icmp_code"] = true, true
	}
	if p := row["protocol"]; !has["icmp_type"] && fields["dstport"] != nil && (p == "1" || p == "58") {
		put(row.get("dst_port"))
	}
}

// etype is that of the IP version, or of the addresses' family.
func etype(row Row, fields map[string]*node, has map[string]bool) {
	is := func(names ...string) (there, some bool) {
		for _, n := range names {
			if f := fields[n]; f != nil {
				there, some = true, some || !zero(f.Value)
			}
		}
		return there, some
	}
	version, v4, v6 := fields["ip_version"], uint64(0x0800), uint64(0x86dd)
	four, some4 := is("srcaddr", "dstaddr")
	six, some6 := is("srcaddrv6", "dstaddrv6")
	has["etype"] = version != nil || four || six
	switch {
	case version != nil && hexNumber(version.Value) == 4, four && (!six || some4):
		row.number("etype", v4)
	case version != nil && hexNumber(version.Value) == 6, six && (!four || some6):
		row.number("etype", v6)
	}
}

// turned is the record of the other direction: the ends are exchanged, and what was counted is what was counted there.
func turned(forward, reverse map[string]*node) map[string]*node {
	m := maps.Clone(forward)
	for _, n := range []string{"octets", "packets", "tcpflags", "flows", "data_link_frame_section"} {
		delete(m, n)
	}
	for _, p := range [][2]string{{"srcaddr", "dstaddr"}, {"srcaddrv6", "dstaddrv6"}, {"srcport", "dstport"}, {"inputint", "outputint"}, {"srcas", "dstas"},
		{"srcmask", "dstmask"}, {"srcmaskv6", "dstmaskv6"}, {"srcmac", "dstmac"}, {"post_srcmac", "post_dstmac"}, {"vlanid", "post_vlanid"},
		{"dot1q_vlan_id", "post_dot1q_vlan_id"}} {
		delete(m, p[0])
		delete(m, p[1])
		for i := range p {
			if f := forward[p[i]]; f != nil {
				m[p[1-i]] = f
			}
		}
	}
	maps.Copy(m, reverse)
	return m
}

// frame fills in what the bytes of a packet in the record say.
func (r *reader) frame(row Row, has map[string]bool, f *node) {
	s := section{row: row, has: has, bytes: unhex(f.Value)}
	row["frame"] = f.Value
	protos := protocols(f)
	if protos == nil || r.hinted(s.bytes) >= 0 {
		r.sections = append(r.sections, s) // later, all at once
		return
	}
	r.within(&s, protos)
}
