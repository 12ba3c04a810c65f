package packet_test

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
)

var be = binary.BigEndian

// bytesOf joins hexadecimal digits, of which blanks are left out.
func bytesOf(parts ...string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(strings.Join(parts, "")))
	if err != nil {
		panic(err)
	}
	return b
}

func addr(s string) [16]byte { return netip.MustParseAddr(s).As16() }

const macs = "02aabbccddee 021122334455 "

// ip4 is an IPv4 packet of 10.0.0.1 to 10.0.0.2 with ttl 64.
func ip4(proto byte, payload ...byte) []byte {
	b := bytesOf("4528 0000 1234 4000 40", hex.EncodeToString([]byte{proto}), "0000 0a000001 0a000002")
	b = append(b, payload...)
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

// ip6 is an IPv6 packet of 2001:db8::1 to 2001:db8::2.
func ip6(next byte, payload ...byte) []byte {
	b := bytesOf("62812345 0000", hex.EncodeToString([]byte{next}), "3f 20010db8000000000000000000000001 20010db8000000000000000000000002")
	b = append(b, payload...)
	be.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// tcpSegment of port 1000 to 443 with flags.
func tcpSegment(flags uint16) []byte {
	b := bytesOf("03e8 01bb 00000001 00000002 5000 ffff 0000 0000")
	be.PutUint16(b[12:], 0x5000|flags)
	return b
}

func udpDatagram(dst uint16, payload ...byte) []byte {
	b := bytesOf("03e8 0000 0000 0000")
	be.PutUint16(b[2:], dst)
	be.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// frames of a little-endian classic capture of Ethernet.
func frames(tb testing.TB, file string) (fs [][]byte) {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b2c3d4 || le.Uint32(b[20:]) != 1 {
		tb.Fatalf("%s is not a little-endian capture of Ethernet with microseconds", file)
	}
	for b = b[24:]; len(b) >= 16; {
		n := le.Uint32(b[8:])
		fs = append(fs, b[16:16+n])
		b = b[16+n:]
	}
	return fs
}
