package sflow

import "testing"

// Every reason of discard is told as dropped, with IANA's reason where it has one.
func TestForwardingStatus(t *testing.T) {
	for reason := range uint32(400) {
		if s := forwardingStatus(reason); s>>6 != 2 || s > 143 {
			t.Errorf("reason %d has status %d, which is not one of dropped", reason, s)
		}
	}
	for reason, want := range map[uint32]uint8{0: 131, 4: 133, 13: 129, 256: 128, 257: 137, 258: 130, 259: 128, 260: 139, 261: 138, 262: 133, 269: 131, 279: 132, 302: 140, 1 << 30: 128} {
		if got := forwardingStatus(reason); got != want {
			t.Errorf("reason %d has status %d, want %d", reason, got, want)
		}
	}
}
