package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	collectors := map[any]*collector{}
	sdktest.Sink(t, Plugin, sdktest.SinkCase{
		Name: "messages", In: sdk.Datagram,
		Config: func(t testing.TB) any {
			k := collect(t, "127.0.0.1:0")
			c := defaults(k.addr())
			c.MaxConnections = 3 // of 5 exporters
			collectors[c] = k
			return c
		},
		Input: func(r *rand.Rand, b *sdk.Batch) {
			n := 1 + r.IntN(200)
			b.SetRows(n)
			addrs := sdk.Claim[[16]byte](b, sdk.DatagramExporterAddr, 0, n)
			for i := range n {
				b.SetBytes(sdk.DatagramPayload, i, message(uint32(r.IntN(3)), r.Uint32(), set(300, make([]byte, r.IntN(1000)))))
				addrs[i] = [16]byte{15: byte(r.IntN(5))}
			}
		},
		Stored: func(t testing.TB, cfg any) int {
			k := collectors[cfg]
			k.stop() // it has read all: the sink's Close waits for it
			return k.total()
		},
	}, sdktest.SinkCase{
		Name: "refused", In: sdk.Datagram, Refuses: true,
		Config: func(t testing.TB) any { return defaults(collect(t, "127.0.0.1:0").addr()) },
	})
}
