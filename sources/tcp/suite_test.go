package tcp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	sdktest.Source(t, Plugin, sdktest.SourceCase{
		Config: func(t testing.TB) any {
			for range 1000 { // a port that is free, and none of those that connections of tests beside are given
				addr := fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))
				if l, err := net.Listen("tcp", addr); err == nil {
					l.Close()
					return defaults(func(c *Config) { c.Listen = []string{addr} })
				}
			}
			t.Fatal("no port is free")
			return nil
		},
		Feed: func(t testing.TB, cfg any) int {
			const conns, n = 3, 100
			for range conns {
				c, err := net.Dial("tcp", cfg.(*Config).Listen[0])
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				for i := range n {
					if _, err := c.Write(message(uint32(i), 16+37*i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			return conns * n
		},
	})
}
