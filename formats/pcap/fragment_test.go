package pcap

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// split cuts the IP payload of a packet into fragments of at most size bytes.
func split(packet []byte, id uint32, size int) (out [][]byte) {
	head := 20
	if packet[0]>>4 == 6 {
		head = 40
	}
	body := packet[head:]
	for at := 0; at < len(body); at += size {
		part := body[at:min(at+size, len(body))]
		more := uint16(0)
		if at+size < len(body) {
			more = 1
		}
		p := append([]byte(nil), packet[:head]...)
		if head == 20 {
			binary.BigEndian.PutUint16(p[2:], uint16(20+len(part)))
			binary.BigEndian.PutUint16(p[4:], uint16(id))
			binary.BigEndian.PutUint16(p[6:], more<<13|uint16(at/8))
		} else {
			binary.BigEndian.PutUint16(p[4:], uint16(8+len(part)))
			p[6] = 44
			p = append(p, protoUDP, 0)
			p = binary.BigEndian.AppendUint16(p, uint16(at)|more)
			p = binary.BigEndian.AppendUint32(p, id)
		}
		out = append(out, append(p, part...))
	}
	return out
}

// Fragments of many datagrams, in any order, some twice, some missing: what is complete comes out whole, and each frame is
// counted once.
func TestAssembler(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		type frame struct {
			b  []byte
			id uint32
		}
		var frames []frame
		want, got := map[string]bool{}, map[string]bool{}
		for id := range uint32(1 + r.IntN(20)) {
			payload := make([]byte, r.IntN(9000))
			for i := range payload {
				payload[i] = byte(r.Uint32())
			}
			packet := udp4(a1, b1, payload)
			if r.IntN(2) == 0 {
				packet = ip6(a6, b6, protoUDP, udpPart(40000, 2055, payload))
			}
			parts := [][]byte{packet}
			if len(payload) > 1480 {
				parts = split(packet, id, 8*(100+r.IntN(85)))
			}
			whole := true
			for _, p := range parts {
				switch r.IntN(40) {
				case 0:
					whole = false
					continue
				case 1:
					frames = append(frames, frame{p, id})
				}
				frames = append(frames, frame{p, id})
			}
			if whole {
				want[string(payload)] = true
			}
		}
		r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		var a Assembler
		counted := 0
		for i, f := range frames {
			var d Datagram
			res, joined, lost := a.UDP(LinkRaw, f.b, int64(i), &d)
			counted += joined + lost
			switch res {
			case OK:
				if joined == 0 {
					counted++
				}
				got[string(d.Payload)] = true
				if d.SrcPort != 40000 || d.DstPort != 2055 || d.Src != a1.Addr().As16() && d.Src != a6.As16() {
					t.Fatalf("%+v", d)
				}
			case Fragment:
			default:
				t.Fatal(res)
			}
		}
		counted += a.Flush()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		if counted != len(frames) {
			t.Fatalf("seed %d: %d frames counted, %d given", seed, counted, len(frames))
		}
	}
}

func TestAssemblerIsBounded(t *testing.T) {
	parts := func(id uint32) [][]byte { return split(udp4(a1, b1, make([]byte, 3000)), id, 1480) }
	var a Assembler
	var d Datagram
	lost := 0
	for id := range uint32(1000) {
		_, _, n := a.UDP(LinkRaw, parts(id)[0], 0, &d)
		lost += n
	}
	if lost != 1000-MaxOpen || len(a.open) != MaxOpen {
		t.Errorf("%d given up, %d open", lost, len(a.open))
	}
	if r, _, n := a.UDP(LinkRaw, parts(2000)[0], MaxAge+1, &d); r != Fragment || n != MaxOpen {
		t.Errorf("%s, %d given up after the time for them", r, n)
	}
	// Overlap: RFC 5722.
	twice := split(udp4(a1, b1, make([]byte, 3000)), 2000, 1400)
	if r, joined, n := a.UDP(LinkRaw, twice[1], MaxAge+1, &d); r != Fragment || joined != 0 || n != 2 || len(a.open) != 0 {
		t.Errorf("%s, %d joined, %d given up for an overlap", r, joined, n)
	}
	for id := range uint32(10) { // memory is used again
		for i, p := range parts(id) {
			if r, joined, _ := a.UDP(LinkRaw, p, 0, &d); i == 2 && (r != OK || joined != 3 || len(d.Payload) != 3000) {
				t.Errorf("%s, %d joined", r, joined)
			}
		}
	}
	if len(a.free)+1 > MaxOpen+1 {
		t.Errorf("%d pieces of memory kept", len(a.free))
	}
}

// Of a datagram with parts that contradict each other nothing is used (RFC 5722), and each of its frames is counted.
func TestContradictions(t *testing.T) {
	type part struct {
		at, n int
		more  bool
	}
	var many []part
	for i := range MaxParts + 1 {
		many = append(many, part{16 * i, 8, true}) // with a gap between
	}
	for name, parts := range map[string][]part{
		"two ends":                {{16, 8, false}, {24, 8, false}},
		"an end within":           {{8, 8, false}, {24, 8, true}},
		"beyond the end":          {{16, 8, false}, {24, 8, true}},
		"an end before":           {{24, 8, true}, {8, 8, false}},
		"the same place, longer":  {{0, 8, true}, {0, 16, true}},
		"the same place, shorter": {{0, 16, true}, {0, 8, true}},
		"half of another":         {{8, 16, true}, {0, 16, true}},
		"too many parts":          many,
	} {
		t.Run(name, func(t *testing.T) {
			var a Assembler
			var d Datagram
			for i, x := range parts {
				packet := split(udp4(a1, b1, make([]byte, 3000)), 1, 1480)[0]
				p := append(packet[:20:20], make([]byte, x.n)...)
				flags := uint16(x.at / 8)
				if x.more {
					flags |= 0x2000
				}
				binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
				binary.BigEndian.PutUint16(p[6:], flags)
				want := 0
				if i == len(parts)-1 {
					want = len(parts)
				}
				if r, joined, lost := a.UDP(LinkRaw, p, 0, &d); r != Fragment || joined != 0 || lost != want {
					t.Fatalf("part %d: %s, %d joined, %d lost; want none joined and %d lost", i, r, joined, lost, want)
				}
			}
			if n := a.Flush(); n != 0 || len(a.open) != 0 {
				t.Errorf("%d frames are left of it", n)
			}
		})
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 0, 2, 0, 1, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		var a Assembler
		frames, counted := 0, 0
		for i := 0; i+5 <= len(script); i += 5 {
			s := script[i : i+5]
			body := udpPart(1, 2, make([]byte, 8+int(s[0])))
			p := udp4(a1, b1, body[8:])
			binary.BigEndian.PutUint16(p[4:], uint16(s[1]%4))
			binary.BigEndian.PutUint16(p[6:], binary.BigEndian.Uint16(s[2:])&0x3fff)
			var d Datagram
			r, joined, lost := a.UDP(LinkRaw, p, int64(s[4])*1e9, &d)
			frames++
			counted += joined + lost
			if joined == 0 && r != Fragment {
				counted++
			}
			if n := len(d.Payload); r == OK && (n > maxIP-8 || joined > MaxParts) {
				t.Fatalf("%d bytes of %d parts", n, joined)
			}
			if len(a.open) > MaxOpen {
				t.Fatal("open without bound")
			}
		}
		if counted += a.Flush(); counted != frames {
			t.Fatalf("%d frames counted, %d given", counted, frames)
		}
	})
}
