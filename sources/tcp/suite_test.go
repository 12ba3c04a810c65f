package tcp

import (
	"net"
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	sdktest.Source(t, Plugin, sdktest.SourceCase{
		Config: func(t testing.TB) any {
			l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			return defaults(func(c *Config) { c.Listen = []string{l.Addr().String()} })
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
