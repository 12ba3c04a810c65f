package decode

import (
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// row writes a datagram as the next row of a batch of sdk.Datagram.
func row(b *sdk.Batch, payload []byte, addr [16]byte, port uint16, received int64) {
	n := b.Rows()
	b.SetRows(n + 1)
	b.SetBytes(sdk.DatagramPayload, n, payload)
	sdk.Claim[[16]byte](b, sdk.DatagramExporterAddr, n, 1)[0] = addr
	sdk.Claim[uint16](b, sdk.DatagramExporterPort, n, 1)[0] = port
	sdk.Claim[int64](b, sdk.DatagramReceived, n, 1)[0] = received
}

// traffic is what exporters of all protocols send, with datagrams among it that are cut, of nothing known, or without a template.
func traffic(r *rand.Rand, b *sdk.Batch) {
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}, {Protocol: emulate.NetFlowV9, Weight: 2}, {Protocol: emulate.IPFIX, Weight: 1}},
		Exporters: 6, Seed: r.Uint64(), Base: base, Records: 5, Sampling: 10, Samplers: 1})
	if err != nil {
		panic(err)
	}
	for i := range 20 + r.IntN(200) {
		p, d := e.Append(nil, base.UnixNano()+int64(i)*1e6, 0)
		switch r.IntN(20) {
		case 0:
			p = p[:len(p)*2/3]
		case 1:
			p = []byte("GET / HTTP/1.1")
		case 2:
			if len(p) > 20 && p[1] == 9 {
				p[17]++ // a domain that tells no templates
				if d.Records == 0 {
					continue
				}
			}
		}
		row(b, p, d.Exporter, d.Port, d.Sent)
	}
}

func TestConformance(t *testing.T) {
	small := Plugin.Spec.Config().(*Config)
	small.Park = Park{Bytes: 4 << 10, Age: 50 * time.Millisecond}
	small.Templates.PerExporter = 2
	only := Plugin.Spec.Config().(*Config)
	only.Protocols = []string{"netflow5"}
	check := func(least int) func(testing.TB, map[int]sdktest.Rows, []string) {
		return func(t testing.TB, out map[int]sdktest.Rows, refused []string) {
			if n := len(out[0]); n < least {
				t.Errorf("%d flows, want %d at least", n, least)
			}
		}
	}
	sdktest.Processor(t, Plugin,
		sdktest.ProcessorCase{Name: "defaults", In: sdk.Datagram, Input: traffic, Check: check(1000)},
		sdktest.ProcessorCase{Name: "little room", Config: small, In: sdk.Datagram, Input: traffic, Check: check(200)},
		sdktest.ProcessorCase{Name: "one protocol", Config: only, In: sdk.Datagram, Input: traffic, Check: check(100)},
		sdktest.ProcessorCase{Name: "noise", In: sdk.Datagram},
	)
}
