package udp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	sdktest.Source(t, Plugin, sdktest.SourceCase{
		Config: func(t testing.TB) any {
			for range 1000 { // a port that is free, and none of those that sockets of tests beside are given
				addr := fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))
				if c, err := net.ListenPacket("udp", addr); err == nil {
					c.Close()
					return &Config{Listen: []string{addr}, Workers: 2, Balance: BalancePacket, ReceiveBuffer: 1 << 20}
				}
			}
			t.Fatal("no port is free")
			return nil
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
