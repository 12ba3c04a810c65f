//go:build linux

package main

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// What the sender says it sent arrives and can be decoded, with numbers that have no gap for each exporter, cut by the kernel or not; a
// flood of templates beside it too.
func TestSenderNumbersWithoutGaps(t *testing.T) {
	for _, offload := range []string{"auto", "mmsg"} {
		for _, c := range lab.Cases {
			t.Run(c.Name+" "+offload, func(t *testing.T) {
				t.Parallel()
				conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetReadBuffer(1 << 20); err != nil {
					t.Fatal(err)
				}
				to := netip.MustParseAddrPort(conn.LocalAddr().String())
				s, err := newSender(c, to, offload, 500, false)
				if err != nil {
					t.Fatal(err)
				}
				defer s.close()
				const length, templates = time.Second / 2, 250 // all of it fits the usual buffer, if nobody reads for a while
				if err := s.floodWith(templates, length, to); err != nil {
					t.Fatal(err)
				}
				const end = "end"
				type result struct{ datagrams, records, flows, missing, bad, exporters uint64 }
				done := make(chan result)
				go func() {
					var r result
					d := formatstest.NewCollector(netflow.DefaultLimits)
					buf := make([]byte, 2048)
					for {
						n, from, err := conn.ReadFromUDPAddrPort(buf)
						if err != nil || n == len(end) { // what was sent before it lies before it
							break
						}
						d.Take(buf[:n], from.Addr().As16(), from.Port(), time.Now().UnixNano())
						r.datagrams++
					}
					for _, n := range d.Rows { // of those who flood: none
						if r.records += uint64(n); n > 0 {
							r.exporters++
						}
					}
					flows, datagrams := d.Lost(time.Now().UnixNano())
					r.flows, r.missing, r.bad = uint64(flows), uint64(datagrams), uint64(d.Bad)
					done <- r
				}()
				if err := s.run(500, length); err != nil {
					t.Fatal(err)
				}
				if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.WriteToUDPAddrPort([]byte(end), to); err != nil {
					t.Fatal(err)
				}
				r := <-done
				want := result{datagrams: s.out.Datagrams, records: s.out.Records, exporters: min(r.exporters, lab.Exporters)} // on a busy machine not all
				if r != want || r.records == 0 || s.out.Templates < templates {
					t.Errorf("sent %+v; arrived %+v, want %+v", s.out, r, want)
				}
			})
		}
	}
}
