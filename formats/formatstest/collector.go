package formatstest

import (
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/formats/sflow"
)

// Collector decodes datagrams of all protocols, told apart as collectors do, and counts what is missing in the exporters' sequences.
type Collector struct {
	Store  *netflow.Store
	Agents *sflow.Agents
	// Rows are the flow records of each exporter, Bad the datagrams of which a part could not be used.
	Rows map[[16]byte]int
	Bad  int

	netflow *netflow.Decoder
	sflow   *sflow.Decoder
}

// NewCollector makes one with limits.
func NewCollector(limits netflow.Limits) *Collector {
	c := &Collector{Store: netflow.NewStore(limits), Agents: sflow.NewAgents(1<<16, time.Hour), Rows: map[[16]byte]int{}}
	t := NewTable(Columns("bytes"))
	t.Keep = false
	c.netflow = netflow.NewDecoder(c.Store, t.Out, netflow.Options{}, t)
	s := NewTable(t.Out)
	s.Keep = false
	c.sflow = sflow.NewDecoder(s.Out, sflow.Options{Agents: c.Agents}, s)
	return c
}

// Take decodes a datagram of exporter addr that came at received (ns since the epoch).
func (c *Collector) Take(payload []byte, addr [16]byte, port uint16, received int64) {
	if payload[0] == 0 && payload[1] == 0 { // sFlow's version has four bytes
		r := c.sflow.Decode(&sflow.Datagram{Payload: payload, Addr: addr, Port: port, Received: received})
		c.sflow.Run()
		c.Rows[addr] += r.Rows
		if r.Why != sflow.None || r.Bad != sflow.None {
			c.Bad++
		}
		return
	}
	r := c.netflow.Decode(&netflow.Datagram{Payload: payload, Addr: addr, Port: port, Received: received})
	c.netflow.Run()
	c.Rows[addr] += r.Rows
	if r.Why != netflow.None || r.Bad != netflow.None || len(r.Unknown) > 0 {
		c.Bad++
	}
}

// Lost is what is missing in all sequences: flows of NetFlow v5 and IPFIX, datagrams of NetFlow v9 and sFlow. It is asked once, behind
// the last datagram.
func (c *Collector) Lost(now int64) (flows, datagrams int) {
	for range 2 {
		now += int64(time.Second)
		l := c.Store.Sequences.Settle(now, false)
		flows += int(l.Flows)
		datagrams += int(l.Messages + c.Agents.Sequences.Settle(now, false).Messages)
	}
	return flows, datagrams
}
