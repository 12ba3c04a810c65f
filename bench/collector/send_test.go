//go:build linux

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weirflow/weir/bench/lab"
)

// What the sender says it sent arrives, with numbers that have no gap for each exporter, cut by the kernel or not.
func TestSenderNumbersWithoutGaps(t *testing.T) {
	for _, offload := range []string{"auto", "mmsg"} {
		for _, c := range []lab.Case{lab.Cases[0], lab.Cases[3]} {
			t.Run(c.Name+" "+offload, func(t *testing.T) {
				conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				s, err := newSender(c, netip.MustParseAddrPort(conn.LocalAddr().String()), offload, 5000)
				if err != nil {
					t.Fatal(err)
				}
				defer s.close()
				type result struct {
					datagrams, records uint64
					gaps               int
				}
				done := make(chan result)
				go func() {
					var r result
					next := map[netip.Addr]uint32{}
					buf := make([]byte, 2048)
					for {
						n, from, err := conn.ReadFromUDPAddrPort(buf)
						if err != nil {
							done <- r
							return
						}
						seq, step, at := binary.BigEndian.Uint32(buf[s.seqAt:]), uint32(1), from.Addr()
						records := 24
						if buf[1] == 5 {
							records = int(binary.BigEndian.Uint16(buf[2:]))
							step = uint32(records)
						} else if n != s.size {
							records = 0 // templates
						}
						if want, ok := next[at]; ok && seq != want {
							r.gaps++
						}
						next[at] = seq + step
						r.datagrams++
						r.records += uint64(records)
					}
				}()
				if err := s.run(5000, 200*time.Millisecond); err != nil {
					t.Fatal(err)
				}
				if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				r := <-done
				if r.datagrams != s.out.Datagrams || r.records != s.out.Records || r.gaps > 0 || r.records == 0 {
					t.Errorf("sent %+v; arrived %+v", s.out, r)
				}
			})
		}
	}
}
