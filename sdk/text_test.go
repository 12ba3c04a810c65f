package sdk

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendAddr(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a [16]byte
		copy(a[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr"))
		if rapid.Bool().Draw(t, "v4") {
			copy(a[:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff")
		}
		want := netip.AddrFrom16(a).Unmap().String()
		if a == ([16]byte{}) {
			want = ""
		}
		if got := string(AppendAddr(nil, &a)); got != want {
			t.Fatalf("%v is written %q, want %q", a, got, want)
		}
	})
	if got := AppendAddr(nil, new([16]byte)); len(got) != 0 {
		t.Errorf("the unknown address is written %q", got)
	}
}

func TestAppendMAC(t *testing.T) {
	const v = 0x0a0b0c0d0e0f
	if got, want := string(AppendMAC(nil, v)), (net.HardwareAddr{10, 11, 12, 13, 14, 15}).String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A size is written in the largest unit that divides it, and read back as it was.
func TestSizeText(t *testing.T) {
	for want, s := range map[string]Size{"0B": 0, "1B": 1, "1023B": 1023, "1KiB": 1 << 10, "1025B": 1025, "1536KiB": 1536 << 10, "1MiB": 1 << 20, "5GiB": 5 << 30, "1TiB": 1 << 40} {
		if got := s.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(s), got, want)
		}
		var back Size
		if err := back.UnmarshalText([]byte(want)); err != nil || back != s {
			t.Errorf("%s is read as %d, %v", want, int64(back), err)
		}
	}
	for text, says := range map[string]string{"nan": "is not a size", "-1": "is not a size", "lots": "is not a size", "": "is not a size", "1e400": "is too large", "9999999TiB": "is too large", "inf": "is too large"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}
