package sflow_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

var be = binary.BigEndian

// rowsShown are all rows, each as its columns that are not zero.
func rowsShown(t *formatstest.Table) (rows []map[string]string) {
	for _, b := range t.Batches() {
		for j := range b.Rows() {
			m := map[string]string{}
			for i, f := range t.Out.Fields() {
				if s := show(b, i, f, j); s != "" {
					m[f.Name] = s
				}
			}
			rows = append(rows, m)
		}
	}
	return rows
}

// show is a value as people write it, empty if it is zero.
func show(b *sdk.Batch, i int, f sdk.Field, row int) string {
	switch f.Type {
	case sdk.Addr:
		if a := sdk.Values[[16]byte](b, i)[row]; a != [16]byte{} {
			return netip.AddrFrom16(a).Unmap().String()
		}
		return ""
	case sdk.Name:
		idx, d := b.Names(i)
		return d.Values()[idx[row]]
	case sdk.Uint32s:
		var s []string
		for v := b.Bytes(i)[row]; len(v) >= 4; v = v[4:] {
			s = append(s, fmt.Sprint(binary.LittleEndian.Uint32(v)))
		}
		return strings.Join(s, " ")
	case sdk.Bytes, sdk.Text:
		return hex.EncodeToString(b.Bytes(i)[row])
	}
	if f.Type == sdk.Float64 {
		if x := sdk.Values[float64](b, i)[row]; x != 0 {
			return fmt.Sprint(x)
		}
		return ""
	}
	v := uint64(0)
	switch f.Type.Width() {
	case 1:
		v = uint64(sdk.Values[uint8](b, i)[row])
	case 2:
		v = uint64(sdk.Values[uint16](b, i)[row])
	case 4:
		v = uint64(sdk.Values[uint32](b, i)[row])
	case 8:
		v = sdk.Values[uint64](b, i)[row]
	}
	switch {
	case v == 0:
		return ""
	case f.Type == sdk.MAC:
		return fmt.Sprintf("%012x", v)
	}
	return fmt.Sprint(v)
}

var u32s = formatstest.Uint32s

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// datagram of agent 10.0.0.1, sub-agent 3, sequence 9.
func datagram(samples ...[]byte) []byte {
	return cat(u32s(5, 1, 0x0a000001, 3, 9, 1000, uint32(len(samples))), cat(samples...))
}

// sized is a sample or a record: format, length, body padded.
func sized(format uint32, parts ...[]byte) []byte {
	body := cat(parts...)
	b := append(u32s(format, uint32(len(body))), body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// sample is a flow sample of data source 7 at 1 in 100, from interface 7 to 8.
func sample(records ...[]byte) []byte {
	return sized(1, u32s(1, 7, 100, 1000, 0, 7, 8, uint32(len(records))), cat(records...))
}

func raw(protocol, length uint32, header []byte) []byte {
	return sized(1, u32s(protocol, length, 4, uint32(len(header))), header)
}

// frame is TCP of 10.1.0.1:1000 to 10.2.0.2:443 in VLAN 100, in IPv4 of 1,000 bytes.
func frame() []byte {
	return unhex("02aabbccddee 021122334455 8100 0064 0800 4528 03e8 1234 4000 40 06 0000 0a010001 0a020002 03e8 01bb 00000001 00000002 5018 ffff 0000 0000")
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

var sender = [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}

const arrived = 1_760_000_000_000_000_000

// feed decodes payloads of one sender, one batch each.
func feed(d *sflow.Decoder, payloads ...[]byte) (rs []sflow.Result) {
	d.Now = arrived
	for _, p := range payloads {
		r := d.Decode(&sflow.Datagram{Payload: p, Addr: sender, Port: 6343, Received: arrived})
		d.Run()
		rs = append(rs, r)
	}
	return rs
}

// malformed reads the examples by name.
func malformed(tb testing.TB) map[string][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(sdktest.TestData(tb, "flows/malformed"), "sf-*.bin"))
	if err != nil || len(files) == 0 {
		tb.Skip("no malformed examples")
	}
	cases := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		cases[strings.TrimSuffix(filepath.Base(f), ".0.bin")] = b
	}
	return cases
}
