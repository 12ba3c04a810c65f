package netflow_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirflow/weir/formats/formatstest"
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
	return formatstest.NetFlow9(uptimeMs, exportedAt, domain, sequence, sets...)
}

// msg10 is an IPFIX message of sets.
func msg10(domain, sequence uint32, sets ...[]byte) []byte {
	return formatstest.IPFIX(exportedAt, domain, sequence, sets...)
}

var set, u16s, u32s = formatstest.Set, formatstest.Uint16s, formatstest.Uint32s

// tmpl is a definition; fields are id, length pairs.
func tmpl(id uint16, fields ...uint16) []byte {
	return u16s(append([]uint16{id, uint16(len(fields) / 2)}, fields...)...)
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
		rs = append(rs, *r)
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
