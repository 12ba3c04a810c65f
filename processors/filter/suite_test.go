package filter

import (
	"math/rand/v2"
	"testing"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	ports := func(keep int) func(r *rand.Rand, b *sdk.Batch) {
		return func(r *rand.Rand, b *sdk.Batch) {
			n := 1 + r.IntN(200)
			sdktest.Fill(r, b, n)
			for i := range n {
				sdk.Claim[uint16](b, 1, i, 1)[0] = uint16(100 + r.IntN(100))
				if r.IntN(100) < keep {
					sdk.Claim[uint16](b, 1, i, 1)[0] = 53
				}
			}
		}
	}
	when := &Config{When: "dst_port == 53"}
	sdktest.Processor(t, Plugin,
		sdktest.ProcessorCase{Name: "some", Config: when, In: input, Input: ports(30), Batches: 40},
		sdktest.ProcessorCase{Name: "all", Config: when, In: input, Input: ports(100)},
		sdktest.ProcessorCase{Name: "none", Config: when, In: input, Input: ports(0), Check: func(t testing.TB, out map[int]sdktest.Rows, _ []string) {
			if n := len(out[0]); n != 0 {
				t.Errorf("%d rows of none", n)
			}
		}},
		sdktest.ProcessorCase{Name: "payloads", Config: &Config{When: "exporter_port > 30000 and len(payload) > 10"}, In: sdk.Datagram},
	)
}
