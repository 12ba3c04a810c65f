package decode

import (
	"testing"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

// read is how many bytes of payloads have been decoded.
func (c *catch) read() uint64 { return c.proc.(*decode).netflow.Tally.Bytes() }

// An exporter that tells one template after the other that nothing waits for makes nobody read what waits again.
func TestWhatWaitsIsReadWhenItsTemplateComes(t *testing.T) {
	c := lane(t, nil, ports)
	for i := range 1000 {
		c.give(none, v9(data(256, uint16(i))))
	}
	before, given := c.read(), 0
	for i := range 200 {
		p := v9(template(uint16(400 + i)))
		given += len(p)
		c.give(none, p)
	}
	if n := c.read() - before; n != uint64(given) {
		t.Errorf("%d bytes were read of %d that came", n, given)
	}
	c.want("held", int64(1000), c.env.Books.Held.Load())
	c.give(none, v9(template(256)))
	c.tick(0)
	c.want("flows", 1000, len(c.ports))
	c.want("held", int64(0), c.env.Books.Held.Load())
	c.want("bytes", 0, c.proc.(*decode).parked.bytes)
}

// However much waits for what one datagram tells, each call reads a bounded part of it, and none of it grows too old meanwhile.
func TestLookIsBounded(t *testing.T) {
	c := lane(t, func(cfg *Config) { cfg.Park.Bytes = 64 << 20 }, ports)
	const datagrams, records = 300, 2000
	flows := make([]uint16, records)
	for range datagrams {
		c.give(none, v9(data(256, flows...), data(300, flows...)))
	}
	bound := uint64(lookBytes + 2*2*(records+100)*8)
	for _, id := range []uint16{256, 300} {
		c.give(none, v9(template(id)))
		age := time.Duration(0)
		if id == 300 {
			age = 3 * time.Second // then all is older than data is parked
		}
		for n := 0; ; n++ {
			before := c.read()
			c.clock.Advance(age)
			if _, err := c.proc.Tick(c.clock.Now(), false, c); err != nil {
				t.Fatal(err)
			}
			if got := c.read() - before; got > bound {
				t.Fatalf("one call read %d bytes, the bound is %d", got, bound)
			} else if got == 0 {
				if n < 2 {
					t.Errorf("all was read in %d calls", n)
				}
				break
			}
		}
	}
	c.flush(nil, true)
	c.want("flows", 2*datagrams*records, len(c.ports))
	c.want("held", int64(0), c.env.Books.Held.Load())
	c.want("dropped", map[sdk.Reason]uint64{}, c.dropped())
}

// A template that another lane hears between the decoding of data and its parking is not missed.
func TestTemplateHeardMeanwhile(t *testing.T) {
	c := lane(t, nil, ports)
	env := sdktest.Env(t, sdktest.WithIn(sdk.Datagram), sdktest.WithOut(ports), sdktest.WithSharesOf(c.env))
	other := &catch{t: t, env: env, clock: c.clock}
	var err error
	if other.proc, err = Plugin.Processor(env, Plugin.Spec.Config()); err != nil {
		t.Fatal(err)
	}
	d := c.proc.(*decode)
	d.begin(c)
	c.in++
	in := sdk.NewPool(nil).Get(sdk.Datagram, 1)
	in.SetRows(0)
	in.Seal()
	in.Root(sdk.Range{})
	d.of(in)
	g := &netflow.Datagram{Payload: v9(data(256, 7)), Addr: router, Received: base.UnixNano()}
	r := d.netflow.Decode(g)
	other.give(none, v9(template(256)))
	d.parked.add(in, g, r)
	d.parked.close()
	d.run()
	d.end(noLimit)
	c.tick(0)
	c.want("flows", []uint16{7}, c.ports)
	in.Done(sdk.Delivered)
	in.Release()
	if err := other.proc.Close(); err != nil {
		t.Error(err)
	}
}
