package udp

import (
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	sdktest.Source(t, Plugin, sdktest.SourceCase{
		Config: func(t testing.TB) any {
			c, err := net.ListenPacket("udp", "127.0.0.1:0") // a port that is free
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			return &Config{Listen: []string{c.LocalAddr().String()}, Workers: 2, Balance: BalancePacket, ReceiveBuffer: 1 << 20}
		},
		Feed: func(t testing.TB, cfg any) int {
			conn := dial(t, netip.MustParseAddrPort(cfg.(*Config).Listen[0]))
			const n = 100
			for i := range n {
				if _, err := conn.Write([]byte(strconv.Itoa(i))); err != nil {
					t.Fatal(err)
				}
			}
			return n
		},
	})
}
