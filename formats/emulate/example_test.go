package emulate_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weirflow/weir/formats/emulate"
)

// Two exporters, one of NetFlow v9 and one of sFlow: the first datagrams and a flow.
func Example() {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e, err := emulate.New(emulate.Options{
		Mix: emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 4}, {Protocol: emulate.SFlow, Weight: 1}}, Exporters: 2, Base: base, Sampling: 1000,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var buf []byte
	var d emulate.Datagram
	for i := range 5 {
		buf, d = e.Append(buf[:0], base.UnixNano()+int64(i)*1e6, 0)
		fmt.Printf("%v %-5v #%d %d records in %d bytes\n", netip.AddrFrom16(d.Exporter).Unmap(), d.Protocol, d.Sequence, d.Records, len(buf))
	}
	f := e.Flows()[0]
	fmt.Println(f.Protocol, netip.AddrFrom16(f.Src).Unmap(), f.SrcPort, netip.AddrFrom16(f.Dst).Unmap(), f.DstPort, f.SamplingRate)
	// Output:
	// 192.0.2.1 v9    #0 0 records in 236 bytes
	// 192.0.2.1 v9    #1 24 records in 1344 bytes
	// 192.0.2.2 sflow #0 0 records in 144 bytes
	// 192.0.2.2 sflow #1 6 records in 1344 bytes
	// 192.0.2.1 v9    #2 24 records in 1344 bytes
	// 6 138.36.3.76 443 10.0.0.21 49497 1000
}
