package pcap

import (
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	b, want, books := sample(1500)
	config := func(cfg Config) func(testing.TB) any {
		return func(t testing.TB) any {
			c := cfg
			c.Path = []string{write(t, "a.pcap", b), write(t, "b.pcap", b)}
			return &c
		}
	}
	sdktest.Source(t, Plugin,
		sdktest.SourceCase{Name: "udp", Config: config(Config{Payload: payloadUDP, Port: []int{2055}}), Rows: 2 * len(want)},
		sdktest.SourceCase{Name: "packets", Config: config(Config{Payload: payloadPackets}), Rows: 2 * int(books.Received)})
}
