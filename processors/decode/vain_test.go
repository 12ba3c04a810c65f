package decode

import (
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Behind a source that commits, data waits for its template once; when that has not come in time, what follows is dropped at once,
// until the exporter tells something new. Elsewhere it waits each time.
func TestWaitingInVain(t *testing.T) {
	for _, part := range []*sdk.Partition{{Source: "s", Name: "p"}, nil} {
		c := lane(t, nil, ports)
		held := func() int64 { return c.env.Books.Held.Load() }
		give := func(at int64, payload []byte) {
			t.Helper()
			r := sdk.Range{Partition: part, First: at, Last: at}
			c.give(r, payload)
		}
		give(1, v9(data(256, 1)))
		c.want("held at first", int64(1), held())
		c.tick(3 * time.Second)
		c.want("held after the time to park", int64(0), held())
		give(2, v9(data(256, 2)))
		if part == nil {
			c.want("held again", int64(1), held())
			continue
		}
		c.want("held in vain", int64(0), held())
		c.want("dropped", map[sdk.Reason]uint64{"no_template": 2}, c.dropped())
		give(3, v9(data(257, 2)))
		c.want("another template is waited for", int64(1), held())
		give(4, v9(template(300))) // the exporter tells something: perhaps it has started anew
		give(5, v9(data(256, 5)))
		c.want("held once more", int64(2), held())
		give(6, v9(template(256)))
		give(7, v9(data(256, 7)))
		c.flush(part, false)
		c.want("flows", []uint16{5, 7}, c.ports)
	}
}
