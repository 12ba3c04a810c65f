package sflow_test

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk/flow"
)

// common is what all rows of these tests have; with adds or takes away ("").
func with(changes map[string]string) map[string]string {
	m := map[string]string{"received": "1760000000000000000", "exported": "1760000000000000000", "flow_start": "1760000000000000000", "flow_end": "1760000000000000000",
		"sampling_rate": "100", "sequence": "9", "format": "sflow", "exporter_addr": "10.0.0.1", "exporter_port": "6343", "observation_domain": "3",
		"bytes": "1022", "packets": "1", "in_if": "7", "out_if": "8",
		"src_addr": "10.1.0.1", "dst_addr": "10.2.0.2", "src_port": "1000", "dst_port": "443", "protocol": "6", "etype": "2048", "tcp_flags": "24", "tos": "40", "ttl": "64",
		"fragment_id": "4660", "packet_length": "1000", "src_mac": "021122334455", "dst_mac": "02aabbccddee", "src_vlan": "100", "frame": hex.EncodeToString(frame())}
	for k, v := range changes {
		if m[k] = v; v == "" {
			delete(m, k)
		}
	}
	return m
}

var packetColumns = []string{"src_addr", "dst_addr", "src_port", "dst_port", "protocol", "etype", "tcp_flags", "tos", "ttl", "fragment_id", "packet_length", "src_mac", "dst_mac", "src_vlan", "frame"}

// without is with, and nothing of the frame.
func without(changes map[string]string) map[string]string {
	all := map[string]string{}
	for _, c := range packetColumns {
		all[c] = ""
	}
	for k, v := range changes {
		all[k] = v
	}
	return with(all)
}

// Every record that some column is for: the whole row.
func TestRecords(t *testing.T) {
	shown := raw(1, 1022, frame())
	path := u32s(2, 3, 64501, 64502, 64503)
	v6 := unhex("20010db8000000000000000000000001")
	for _, c := range []struct {
		name    string
		records [][]byte
		want    map[string]string
	}{
		{"raw header", [][]byte{shown}, with(nil)},
		{"raw header of IPv4", [][]byte{raw(11, 1000, frame()[18:])}, with(map[string]string{"bytes": "1000", "src_mac": "", "dst_mac": "", "src_vlan": "", "frame": hex.EncodeToString(frame()[18:])})},
		{"raw header of MPLS", [][]byte{raw(13, 1004, cat(unhex("000121ff"), frame()[18:]))},
			with(map[string]string{"bytes": "1004", "src_mac": "", "dst_mac": "", "src_vlan": "", "mpls_labels": "18", "frame": "000121ff" + hex.EncodeToString(frame()[18:])})},
		{"raw header of 802.11 is counted", [][]byte{raw(14, 1022, frame())}, without(map[string]string{"frame": hex.EncodeToString(frame())})},
		{"Ethernet", [][]byte{sized(2, u32s(1022, 0x02112233, 0x44550000, 0x02aabbcc, 0xddee0000, 0x0800))},
			without(map[string]string{"src_mac": "021122334455", "dst_mac": "02aabbccddee", "etype": "2048"})},
		{"IPv4", [][]byte{sized(3, u32s(1000, 6, 0x0a010001, 0x0a020002, 1000, 443, 24, 40))},
			without(map[string]string{"bytes": "1000", "packet_length": "1000", "protocol": "6", "src_addr": "10.1.0.1", "dst_addr": "10.2.0.2", "src_port": "1000", "dst_port": "443", "tcp_flags": "24", "tos": "40", "etype": "2048"})},
		{"IPv6", [][]byte{sized(4, u32s(1000, 17), v6, v6, u32s(1000, 53, 24, 40))},
			without(map[string]string{"bytes": "1000", "packet_length": "1000", "protocol": "17", "src_addr": "2001:db8::1", "dst_addr": "2001:db8::1", "src_port": "1000", "dst_port": "53", "tos": "40", "etype": "34525"})},
		{"raw header wins over others, in any order", [][]byte{sized(3, u32s(9, 9, 9, 9, 9, 9, 9, 9)), sized(2, u32s(9, 9, 9, 9, 9, 9)), shown}, with(nil)},
		{"IPv4 fills in where the header shows none", [][]byte{raw(1, 1022, frame()[:20]), sized(3, u32s(1000, 6, 0x0a010001, 0x0a020002, 1000, 443, 24, 40))},
			with(map[string]string{"ttl": "", "fragment_id": "", "frame": hex.EncodeToString(frame()[:20])})},
		{"switch", [][]byte{shown, sized(1001, u32s(200, 1, 300, 2))}, with(map[string]string{"src_vlan": "200", "dst_vlan": "300"})},
		{"switch that does not know", [][]byte{shown, sized(1001, u32s(0xffffffff, 0, 0xffffffff, 0))}, with(nil)},
		{"router", [][]byte{sized(1002, u32s(1, 0x0a090909, 24, 16)), shown}, with(map[string]string{"next_hop": "10.9.9.9", "src_mask": "24", "dst_mask": "16"})},
		{"router, IPv6", [][]byte{sized(1002, u32s(2), v6, u32s(64, 48)), shown}, with(map[string]string{"next_hop": "2001:db8::1", "src_mask": "64", "dst_mask": "48"})},
		{"router, unknown hop", [][]byte{sized(1002, u32s(0, 24, 16)), shown}, with(map[string]string{"src_mask": "24", "dst_mask": "16"})},
		{"gateway", [][]byte{shown, sized(1003, u32s(1, 0x0a080808, 64500, 64510, 64511, 2), path, u32s(1, 2, 64504, 64505), u32s(2, 0xfc000001, 0xfc000002), u32s(150))},
			with(map[string]string{"bgp_next_hop": "10.8.8.8", "src_as": "64510", "prev_as": "64511", "next_as": "64501", "dst_as": "64505", "dst_as_path": "64501 64502 64503 64504 64505",
				"dst_communities": "4227858433 4227858434", "local_pref": "150"})},
		{"gateway without a path", [][]byte{shown, sized(1003, u32s(1, 0x0a080808, 64500, 64510, 64511, 0, 0, 100))},
			with(map[string]string{"bgp_next_hop": "10.8.8.8", "src_as": "64510", "prev_as": "64511", "local_pref": "100"})},
		{"MPLS", [][]byte{shown, sized(1006, u32s(1, 0x0a070707, 2, 18<<12, 19<<12|0x100, 1, 20<<12|0x100))}, with(map[string]string{"mpls_labels": "18 19", "next_hop": "10.7.7.7"})},
		{"NAT", [][]byte{shown, sized(1007, u32s(1, 0xc0000201, 1, 0xc0000202)), sized(1020, u32s(2000, 2443))},
			with(map[string]string{"src_addr_nat": "192.0.2.1", "dst_addr_nat": "192.0.2.2", "src_port_nat": "2000", "dst_port_nat": "2443"})},
		{"one stripped tag", [][]byte{shown, sized(1012, u32s(1, 0x88a8e0c8))}, with(map[string]string{"src_vlan": "200", "customer_vlan": "100"})},
		{"two stripped tags", [][]byte{shown, sized(1012, u32s(2, 0x88a8e0c8, 0x8100e12c))}, with(map[string]string{"src_vlan": "200", "customer_vlan": "300"})},
		{"tunnel that it came by", [][]byte{shown, sized(1024, u32s(1072, 17, 0xc0000201, 0xc0000202, 50000, 4789, 0, 0)), sized(1030, u32s(77))},
			with(map[string]string{"tunnel_type": "vxlan", "tunnel_src_addr": "192.0.2.1", "tunnel_dst_addr": "192.0.2.2", "tunnel_id": "77"})},
		{"tunnel that it leaves by", [][]byte{sized(1025, u32s(1072, 47), v6, v6, u32s(0, 0, 0, 0)), shown},
			with(map[string]string{"tunnel_type": "gre", "tunnel_src_addr": "2001:db8::1", "tunnel_dst_addr": "2001:db8::1"})},
		{"tunnels of both sides", [][]byte{sized(1023, u32s(9, 4, 9, 9, 9, 9, 9, 9)), sized(1029, u32s(9)), sized(1026, u32s(1072, 17), v6, v6, u32s(50000, 6081, 0, 0)), sized(1030, u32s(77)),
			sized(1023, u32s(8, 4, 8, 8, 8, 8, 8, 8)), sized(1029, u32s(8)), shown}, with(map[string]string{"tunnel_type": "geneve", "tunnel_src_addr": "2001:db8::1", "tunnel_dst_addr": "2001:db8::1", "tunnel_id": "77"})},
		{"VNI alone", [][]byte{shown, sized(1029, u32s(77))}, with(map[string]string{"tunnel_id": "77"})},
		{"user", [][]byte{shown, sized(1004, u32s(106), text("alice"), u32s(106), text("bob"))}, with(map[string]string{"user_name": "alice"})},
		{"user of the destination", [][]byte{shown, sized(1004, u32s(106, 0, 106), text("bob"))}, with(map[string]string{"user_name": "bob"})},
		{"URL", [][]byte{shown, sized(1005, u32s(1), text("/index.html"), text("www.example.org"))},
			with(map[string]string{"http_request_target": hex.EncodeToString([]byte("/index.html")), "http_request_host": hex.EncodeToString([]byte("www.example.org"))})},
		{"URL that is no UTF-8", [][]byte{shown, sized(1005, u32s(1), text("/\xff"), text(""))}, with(map[string]string{"http_request_target": hex.EncodeToString([]byte("/\uFFFD"))})},
		{"MPLS VC", [][]byte{shown, sized(1009, text("vll-7"), u32s(4077, 5))}, with(map[string]string{"pseudo_wire_id": "4077"})},
		{"others are stepped over", [][]byte{sized(1008, text("lsp"), u32s(1, 2)), sized(1010, text("ftn"), u32s(1)), sized(1021, make([]byte, 24)), sized(1027, u32s(1)), sized(4300<<12|1, u32s(1, 2, 3)), shown, sized(1036, u32s(4))}, with(nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := formatstest.NewTable(flow.Schema)
			d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
			// The record before leaves nothing behind.
			full := sample(shown, sized(1001, u32s(5, 0, 6, 0)), sized(1002, u32s(1, 1, 2, 3)), sized(1003, u32s(1, 1, 2, 3, 4, 1, 2, 1, 5, 1, 6, 7)), sized(1006, u32s(1, 5, 1, 1<<12, 0)),
				sized(1007, u32s(1, 1, 1, 2)), sized(1020, u32s(3, 4)), sized(1012, u32s(1, 0x81000009)), sized(1004, u32s(0), text("eve"), u32s(0, 0)), sized(1005, u32s(0), text("u"), text("h")),
				sized(1009, text(""), u32s(5, 5)), sized(1024, u32s(5, 5, 5, 5, 5, 5, 5, 5)), sized(1030, u32s(5)))
			for range 33 {
				feed(d, datagram(full))
			}
			tab.Clear()
			p := datagram(sample(c.records...))
			before := d.Tally.Bytes()
			if r := feed(d, p)[0]; (r != sflow.Result{Used: true, Rows: 1}) {
				t.Errorf("%+v", r)
			}
			if n := d.Tally.Bytes() - before; n != uint64(len(p)) {
				t.Errorf("%d bytes accounted for of %d", n, len(p))
			}
			if diff := cmp.Diff([]map[string]string{c.want}, rowsShown(tab)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			// Behind one that nobody knows, no record is where it usually is.
			tab.Clear()
			feed(d, datagram(sample(append([][]byte{sized(4300<<12|2, u32s(1))}, c.records...)...)))
			if diff := cmp.Diff([]map[string]string{c.want}, rowsShown(tab)); diff != "" {
				t.Errorf("behind another record (-want +got):\n%s", diff)
			}
		})
	}
}

// Interfaces in both kinds of samples, and why a packet was dropped.
func TestInterfaces(t *testing.T) {
	compact := func(source, in, out uint32) []byte {
		return sized(1, u32s(1, source, 100, 1000, 0, in, out, 1), raw(1, 1022, frame()))
	}
	expanded := func(class, index, inFormat, in, outFormat, out uint32) []byte {
		return sized(3, u32s(1, class, index, 100, 1000, 0, inFormat, in, outFormat, out, 1), raw(1, 1022, frame()))
	}
	for _, c := range []struct {
		name           string
		sample         []byte
		in, out        uint32
		direction, fwd uint8
		rate           uint64
	}{
		{"ingress", compact(7, 7, 8), 7, 8, 0, 0, 100},
		{"egress", compact(8, 7, 8), 7, 8, 1, 0, 100},
		{"same interface", compact(7, 7, 7), 7, 7, 0, 0, 100},
		{"a VLAN is no interface", compact(1<<24|8, 7, 8), 7, 8, 0, 0, 100},
		{"of the device itself", compact(8, 0x3fffffff, 8), 0, 8, 1, 0, 100},
		{"for the device", compact(7, 7, 0x3fffffff), 7, 0, 0, 0, 100},
		{"multicast", compact(7, 7, 2<<30|5), 7, 0, 0, 0, 100},
		{"discarded by an ACL", compact(7, 7, 1<<30|258), 7, 0, 0, 130, 100},
		{"discarded, net unreachable", compact(7, 7, 1<<30), 7, 0, 0, 131, 100},
		{"discarded, new reason", compact(7, 7, 1<<30|9999), 7, 0, 0, 128, 100},
		{"expanded, large index", expanded(0, 369098852, 0, 369098852, 0, 369098851), 369098852, 369098851, 0, 0, 100},
		{"expanded, egress", expanded(0, 8, 0, 7, 0, 8), 7, 8, 1, 0, 100},
		{"expanded, discarded for TTL", expanded(0, 7, 0, 7, 1, 257), 7, 0, 0, 137, 100},
		{"expanded, multicast", expanded(0, 7, 0, 7, 2, 0), 7, 0, 0, 0, 100},
		{"discarded packet", sized(5, u32s(1, 0, 7, 0, 7, 8, 261, 1), raw(1, 1022, frame())), 7, 8, 0, 138, 1},
		{"rate 0 is the default", sized(1, u32s(1, 7, 0, 1000, 0, 7, 8, 1), raw(1, 1022, frame())), 7, 8, 0, 0, 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := formatstest.NewTable(formatstest.Columns("in_if", "out_if", "direction", "forwarding_status", "sampling_rate"))
			d := sflow.NewDecoder(tab.Out, sflow.Options{Rate: func([16]byte) (fallback, override uint64) { return 512, 0 }}, tab)
			if r := feed(d, datagram(c.sample))[0]; (r != sflow.Result{Used: true, Rows: 1}) {
				t.Fatalf("%+v", r)
			}
			type row struct {
				in, out        uint32
				direction, fwd uint8
				rate           uint64
			}
			got := row{formatstest.Column[uint32](tab, "in_if")[0], formatstest.Column[uint32](tab, "out_if")[0], formatstest.Column[uint8](tab, "direction")[0], formatstest.Column[uint8](tab, "forwarding_status")[0], formatstest.Column[uint64](tab, "sampling_rate")[0]}
			if want := (row{c.in, c.out, c.direction, c.fwd, c.rate}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// A pruned schema gives the values of the full one.
func TestEachColumnAlone(t *testing.T) {
	payload := datagram(
		sample(raw(1, 1022, frame()), sized(1001, u32s(5, 0, 6, 0)), sized(1002, u32s(1, 1, 2, 3)), sized(1003, u32s(1, 1, 2, 3, 4, 1, 2, 1, 5, 1, 6, 7)), sized(1007, u32s(1, 1, 1, 2)), sized(1020, u32s(3, 4))),
		sample(raw(1, 1022, frame()), sized(1024, u32s(1072, 17, 1, 2, 3, 4789, 0, 0)), sized(1030, u32s(77)), sized(1004, u32s(0), text("eve"), u32s(0, 0)), sized(1005, u32s(0), text("u"), text("h")), sized(1009, text(""), u32s(5, 5))),
		sample(raw(1, 70, cat(unhex("02aabbccddee 021122334455 8847 000120ff 000131ff"), frame()[18:])), sized(1012, u32s(2, 0x81000009, 0x8100000a))),
		sample(sized(4, u32s(1000, 17), make([]byte, 32), u32s(1000, 53, 24, 40)), sized(1006, u32s(1, 5, 1, 1<<12, 0))),
		sized(5, u32s(1, 0, 7, 0, 7, 8, 261, 1), raw(12, 90, unhex("60000000 0008 3a ff fe800000000000000000000000000001 fe800000000000000000000000000002 8700 0000 00000000"))))
	all := formatstest.NewTable(flow.Schema)
	feed(sflow.NewDecoder(all.Out, sflow.Options{Decapsulate: packet.All}, all), payload)
	for _, c := range flow.Columns {
		one := formatstest.NewTable(formatstest.Columns(c.Name))
		d := sflow.NewDecoder(one.Out, sflow.Options{Decapsulate: packet.All}, one)
		feed(d, payload)
		want := rowsShown(all)
		for i := range want {
			v, ok := want[i][c.Name]
			if want[i] = map[string]string{}; ok {
				want[i][c.Name] = v
			}
		}
		if diff := cmp.Diff(want, rowsShown(one)); diff != "" {
			t.Errorf("%s (-with all +alone):\n%s", c.Name, diff)
		}
		if d.Tally.Bytes() != uint64(len(payload)) {
			t.Errorf("%s: %d bytes accounted for of %d", c.Name, d.Tally.Bytes(), len(payload))
		}
	}
}

// What tunnels carry is the flow when it is asked for.
func TestDecapsulates(t *testing.T) {
	inner := frame()[18:]
	outer := cat(unhex("02aabbccddee 021122334455 0800 4500 0054 0000 4000 40 2f 0000 c0000201 c0000202 2000 0800 0000002a"), inner)
	tab := formatstest.NewTable(flow.Schema)
	feed(sflow.NewDecoder(tab.Out, sflow.Options{Decapsulate: packet.Decap(packet.GRE)}, tab), datagram(sample(raw(1, 102, outer))))
	want := with(map[string]string{"bytes": "102", "src_vlan": "", "tunnel_type": "gre", "tunnel_src_addr": "192.0.2.1", "tunnel_dst_addr": "192.0.2.2", "tunnel_id": "42", "frame": hex.EncodeToString(outer)})
	if diff := cmp.Diff([]map[string]string{want}, rowsShown(tab)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The agent is the exporter; where it does not say who it is, the sender is.
func TestAgents(t *testing.T) {
	s := sample(raw(1, 1022, frame()))
	v6 := unhex("20010db8000000000000000000000001")
	for _, c := range []struct {
		payload []byte
		want    string
	}{
		{datagram(s), "10.0.0.1"},
		{cat(u32s(5, 2), v6, u32s(3, 9, 1000, 1), s), "2001:db8::1"},
		{cat(u32s(5, 0, 3, 9, 1000, 1), s), "192.0.2.1"},
		{cat(u32s(5, 1, 0, 3, 9, 1000, 1), s), "192.0.2.1"},
	} {
		tab := formatstest.NewTable(formatstest.Columns("exporter_addr", "observation_domain", "sequence"))
		feed(sflow.NewDecoder(tab.Out, sflow.Options{}, tab), c.payload)
		if diff := cmp.Diff([]map[string]string{{"exporter_addr": c.want, "observation_domain": "3", "sequence": "9"}}, rowsShown(tab)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
