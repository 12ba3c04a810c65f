package udp

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// mixed makes payloads of all sizes: runs of one size with shorter and longer ones between, and empty ones. They fit a socket's usual
// buffer.
func mixed(r *rand.Rand, n int) (rows []string) {
	room := 100_000
	for len(rows) < n {
		size := []int{0, 1, 10, 1344, 1400, 9000}[r.IntN(6)]
		for range min(1+r.IntN(100), n-len(rows)) {
			k := max(0, size-r.IntN(2)*r.IntN(3))
			if room -= k; room < 0 {
				size, k = 1, 1
			}
			rows = append(rows, strings.Repeat(string(rune('a'+r.IntN(26))), k))
		}
	}
	return rows
}

// Whatever the sizes, each payload arrives as it is and in its place, cut by the kernel or sent one by one; and no more of them are sent
// one by one than have to.
func TestPieces(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		to := listen(t, address)
		w, _ := openWith(t, &Config{To: []string{to.LocalAddr().String()}, Source: SourceOwn, GSO: true})
		if !w.dests[0].cuts {
			t.Skip("this kernel has no UDP GSO")
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			rows := mixed(r, 60)
			if err := w.Write(context.Background(), block("", rows[:17], rows[17:]), func(error) {}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rows, receive(t, to, len(rows))); diff != "" {
				t.Fatalf("%s (-sent +received):\n%.2000s", address, diff)
			}
		}
		nothing(t, to)
		same := make([][]byte, burst)
		for i := range same {
			same[i] = make([]byte, 1000)
		}
		if n := len(w.pieces(same)); n != (burst+mostSegments-1)/mostSegments {
			t.Errorf("%d datagrams of one size make %d pieces", burst, n)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !w.dests[0].cuts {
			t.Error("the kernel refused to cut")
		}
	}
}

// A piece is what the kernel cuts: datagrams of one size, the last of them perhaps shorter and not empty, no longer together than a
// datagram may be. They follow each other without a gap, and each begins only where the one before could not go on.
func TestPiecesAreAllowed(t *testing.T) {
	w := &writer{}
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		vals := make([][]byte, 1+r.IntN(2*burst))
		usual := []int{1, 100, 1344, 1472, 9000, 21835, 32753, 65507}[r.IntN(8)]
		for i := range vals {
			size := usual
			if r.IntN(20) == 0 {
				size = r.IntN(usual + 2)
			}
			vals[i] = make([]byte, size)
		}
		sizes, next := make([]int, len(vals)), 0
		for i := range vals {
			sizes[i] = len(vals[i])
		}
		for i, m := range w.pieces(vals) {
			if w.rows[i] != len(m.Buffers) || w.rows[i] == 0 || w.rows[i] > mostSegments {
				t.Fatalf("piece %d has %d datagrams, and is said to have %d", i, len(m.Buffers), w.rows[i])
			}
			first, bytes := sizes[next], 0
			for k, b := range m.Buffers {
				if len(b) != sizes[next+k] {
					t.Fatalf("piece %d has %d bytes where %d come next", i, len(b), sizes[next+k])
				}
				if last := k == len(m.Buffers)-1; len(b) > first || k > 0 && len(b) == 0 || !last && len(b) != first {
					t.Fatalf("datagram %d of %d of a piece has %d bytes, the first %d", k, len(m.Buffers), len(b), first)
				}
				bytes += len(b)
			}
			if bytes > 65507 {
				t.Fatalf("a piece of %d bytes", bytes)
			}
			if (m.OOB != nil) != (len(m.Buffers) > 1) {
				t.Fatalf("a piece of %d datagrams has the control message %x", len(m.Buffers), m.OOB)
			}
			next += len(m.Buffers)
			if next < min(len(vals), burst) { // it had to end here
				last, after := sizes[next-1], sizes[next]
				if last == first && after > 0 && after <= first && bytes+after <= 65507 && len(m.Buffers) < mostSegments {
					t.Fatalf("a piece of %d datagrams of %d bytes ends before one of %d", len(m.Buffers), first, after)
				}
			}
		}
		if next != min(len(vals), burst) {
			t.Fatalf("the pieces hold %d datagrams of %d", next, len(vals))
		}
	}
}

// Where the kernel does not cut what it is given, all of it goes one by one, once.
func TestPiecesRefused(t *testing.T) {
	to := listen(t, "127.0.0.1:0")
	w, _ := openWith(t, &Config{To: []string{to.LocalAddr().String()}, Source: SourceOwn, GSO: true})
	defer w.Close(context.Background())
	if !w.dests[0].cuts {
		t.Skip("this kernel has no UDP GSO")
	}
	raw, err := w.dests[0].conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// A socket without checksums does not cut (udp_send_skb).
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	rows := mixed(rand.New(rand.NewPCG(3, 4)), 40)
	if err := w.Write(context.Background(), block("", rows), func(error) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, receive(t, to, len(rows))); diff != "" {
		t.Fatalf("(-sent +received):\n%.2000s", diff)
	}
	nothing(t, to)
	if w.dests[0].cuts {
		t.Error("pieces were not refused: the test shows nothing")
	}
}

// Pieces are made only where they are asked for.
func TestPiecesAreAskedFor(t *testing.T) {
	w, _ := open(t, listen(t, "127.0.0.1:0").LocalAddr().String())
	defer w.Close(context.Background())
	if w.dests[0].cuts {
		t.Error("pieces are made, and nobody asked for them")
	}
	if err := (&Config{To: []string{"127.0.0.1:9"}, Source: SourceKeep, GSO: true}).Validate(); err == nil {
		t.Error("gso and source: keep are accepted together")
	}
}
