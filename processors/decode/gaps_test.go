package decode

import (
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// What is missing when the input has ended is lost, however short the run was: a capture is read in less than the time for which a
// datagram may be late. Only the last lane can know.
func TestGapsAtTheEnd(t *testing.T) {
	numberedSample := func(n byte) []byte {
		p := sample()
		p[19] = n
		return p
	}
	flows := func(n uint32) []byte { // v5, without records
		p := make([]byte, 24)
		p[1] = 5
		be.PutUint32(p[8:], uint32(base.Unix()))
		be.PutUint32(p[16:], n)
		return p
	}
	for _, c := range []struct {
		why  sdk.Why
		last bool
		want map[sdk.Reason]uint64
	}{
		{sdk.InputEnded, true, map[sdk.Reason]uint64{lostDatagrams: 2 + 3, lostFlows: 30}},
		{sdk.Stopping, true, map[sdk.Reason]uint64{lostDatagrams: 2 + 3, lostFlows: 30}},
		{sdk.InputEnded, false, map[sdk.Reason]uint64{}},
		{sdk.LaneRetired, false, map[sdk.Reason]uint64{}},
		{sdk.Replaced, true, map[sdk.Reason]uint64{}},
	} {
		x := lane(t, nil, ports)
		x.give(none, numbered(1, template(256)), numbered(4, template(256)), numberedSample(1), numberedSample(2), numberedSample(6), flows(7), flows(37))
		x.tick(time.Millisecond)
		for more := true; more; {
			var err error
			if more, err = x.proc.Drain(c.why, c.last, x); err != nil {
				t.Fatal(err)
			}
		}
		lost := map[sdk.Reason]uint64{}
		x.env.Books.Losses(func(r sdk.Reason, n uint64) { lost[r] = n })
		x.want(c.why.String(), c.want, lost)
	}
}
