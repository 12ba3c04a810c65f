package netflow_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk/sdktest"
)

var be = binary.BigEndian

const (
	exportedAt = 1_760_000_000 // s
	uptimeMs   = 86_400_000
)

// msg9 is a NetFlow v9 message of sets.
func msg9(domain, sequence uint32, sets ...[]byte) []byte {
	b := be.AppendUint16(nil, 9)
	b = be.AppendUint16(b, uint16(len(sets)))
	for _, v := range []uint32{uptimeMs, exportedAt, sequence, domain} {
		b = be.AppendUint32(b, v)
	}
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

// msg10 is an IPFIX message of sets.
func msg10(domain, sequence uint32, sets ...[]byte) []byte {
	b := []byte{0, 10, 0, 0}
	for _, v := range []uint32{exportedAt, sequence, domain} {
		b = be.AppendUint32(b, v)
	}
	for _, s := range sets {
		b = append(b, s...)
	}
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

func set(id uint16, parts ...[]byte) []byte {
	b := be.AppendUint16(nil, id)
	b = append(b, 0, 0)
	for _, p := range parts {
		b = append(b, p...)
	}
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

// tmpl is a definition; fields are id, length pairs.
func tmpl(id uint16, fields ...uint16) []byte {
	return u16s(append([]uint16{id, uint16(len(fields) / 2)}, fields...)...)
}

func u16s(vs ...uint16) (b []byte) {
	for _, v := range vs {
		b = be.AppendUint16(b, v)
	}
	return b
}

func u32s(vs ...uint32) (b []byte) {
	for _, v := range vs {
		b = be.AppendUint32(b, v)
	}
	return b
}

// common is the template of the malformed examples, and a record of it.
var common = []uint16{8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 5, 1, 1, 4, 2, 4}

var commonRecord = []byte{10, 0, 0, 1, 192, 168, 0, 1, 0x80, 1, 0, 53, 17, 0, 0, 0, 4, 0, 0, 0, 0, 2}

var exporter = [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}

// feedAll decodes payloads of one exporter, one batch each.
func feedAll(d *netflow.Decoder, payloads ...[]byte) (rs []netflow.Result) {
	for i, p := range payloads {
		r := d.Decode(&netflow.Datagram{Payload: p, Addr: exporter, Port: 2055, Received: exportedAt*1e9 + int64(i)*1e6})
		d.Run()
		rs = append(rs, r)
	}
	return rs
}

// malformed reads the examples, by case: each is a few datagrams in order.
func malformed(tb testing.TB) map[string][][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(sdktest.TestData(tb, "flows/malformed"), "*.bin"))
	if err != nil || len(files) == 0 {
		tb.Skip("no malformed examples")
	}
	cases := map[string][][]byte{}
	for _, f := range files { // Glob sorts
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".bin")
		name = name[:strings.LastIndexByte(name, '.')]
		cases[name] = append(cases[name], b)
	}
	return cases
}
