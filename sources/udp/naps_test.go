//go:build linux

package udp

import "testing"

// Naps come with many datagrams a receive, and only when all that waited has been read; they end when they are in vain, and are left
// out for a while when they let the buffer fill.
func TestNaps(t *testing.T) {
	var p naps
	for range 100 {
		if p.read(napAbove, true); p.due() {
			t.Fatal("a nap for a few datagrams at a time")
		}
	}
	for range 20 {
		p.read(20, true)
	}
	if !p.due() {
		t.Error("no nap for many")
	}
	if p.read(64, false); p.due() {
		t.Error("a nap while more waits")
	}
	if p.empty(false); !p.due() {
		t.Error("no nap where the last receive had no more room and now all is read")
	}
	vain := 0
	for p.short = true; p.due(); p.short = true {
		p.empty(true)
		if vain++; p.due() {
			t.Fatal("a nap right after one in vain: it waits for a datagram instead")
		}
	}
	if vain > 5 {
		t.Errorf("%d naps in vain", vain)
	}
	for range 20 {
		p.read(20, true)
	}
	p.slept(1<<20/napFill, 1<<20)
	if !p.due() {
		t.Error("no nap although the buffer has room")
	}
	p.slept(1<<20/napFill+1, 1<<20)
	out := 0
	for ; !p.due(); out++ {
		p.read(20, true)
	}
	if out != napsOut {
		t.Errorf("%d naps left out, want %d", out, napsOut)
	}
}
