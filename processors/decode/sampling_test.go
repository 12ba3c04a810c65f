package decode

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/sdk"
)

// The narrowest subnet counts, IPv4 and IPv6 apart, and a number alone is everybody's.
func TestRatesBySubnet(t *testing.T) {
	rs, ps := Rates{"10.0.0.0/8": 100, "10.1.0.0/16": 10, "10.1.2.3": 7, "2001:db8::/33": 5, "::/0": 2}.rates("")
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	for addr, want := range map[string]uint64{"10.9.0.1": 100, "10.1.9.9": 10, "10.1.2.3": 7, "192.0.2.1": 2, "2001:db8::1": 5, "2001:db8:8000::1": 2} {
		if got := of(rs, netip.MustParseAddr(addr).As16()); got != want {
			t.Errorf("%s: %d, want %d", addr, got, want)
		}
	}
	var r Rates
	if err := r.UnmarshalText([]byte("1_000")); err != nil || !cmp.Equal(r, Rates{"::/0": 1000}) {
		t.Errorf("1_000 is %v, %v", r, err)
	}
	if err := r.UnmarshalText([]byte("often")); err == nil {
		t.Error("often is a rate")
	}
}

func (c *catch) noted() map[sdk.Reason]uint64 {
	m := map[sdk.Reason]uint64{}
	c.env.Books.Notes(func(r sdk.Reason, n uint64) { m[r] = n })
	return m
}

// What nobody told is 1 and noted; a default is for those who told nothing, an override for all.
func TestSamplingRatesThatAreSet(t *testing.T) {
	told := func(rate uint32) []byte { // by the record itself
		return v9(define(256, 7, 2, 34, 4), formatstest.Set(256, formatstest.Uint16s(7), formatstest.Uint32s(rate)))
	}
	for _, x := range []struct {
		name     string
		change   func(*Config)
		told     uint32
		want     uint64
		unknowns uint64
	}{
		{"nothing", nil, 0, 1, 1},
		{"told", nil, 50, 50, 0},
		{"default", func(c *Config) { c.DefaultSamplingRate = Rates{"::/0": 9} }, 0, 9, 0},
		{"default, told", func(c *Config) { c.DefaultSamplingRate = Rates{"::/0": 9} }, 50, 50, 0},
		{"default of others", func(c *Config) { c.DefaultSamplingRate = Rates{"203.0.113.0/24": 9} }, 0, 1, 1},
		{"override, told", func(c *Config) { c.OverrideSamplingRate = Rates{"::/0": 9} }, 50, 9, 0},
		{"override and default", func(c *Config) {
			c.OverrideSamplingRate, c.DefaultSamplingRate = Rates{"::/0": 9}, Rates{"::/0": 8}
		}, 0, 9, 0},
	} {
		c := lane(t, x.change, columns("src_port", "sampling_rate"))
		c.give(sdk.Range{}, told(x.told))
		c.tick(0)
		if diff := cmp.Diff([]uint64{x.want}, c.rates); diff != "" {
			t.Errorf("%s: sampling_rate (-want +got):\n%s", x.name, diff)
		}
		if n := c.noted()[noteSampling]; n != x.unknowns {
			t.Errorf("%s: %d flows noted as without a rate, want %d", x.name, n, x.unknowns)
		}
	}
}

// The same of sFlow, by the agent's address, whoever sent its datagrams. A discarded packet stands for itself.
func TestSamplingRatesOfAgents(t *testing.T) {
	told := func(rate uint32) []byte {
		p := sample() // of agent 10.0.0.1
		be.PutUint32(p[44:], rate)
		return p
	}
	var discarded []byte
	for _, v := range []uint32{5, 1, 0x0a000001, 0, 1, 1000, 1, 5, 72, 1, 0, 7, 0, 7, 8, 261, 1, 3, 32, 1000, 6, 0x0a010001, 0x0a020002, 1000, 443, 24, 40} {
		discarded = be.AppendUint32(discarded, v)
	}
	for _, x := range []struct {
		name     string
		change   func(*Config)
		payload  []byte
		want     uint64
		unknowns uint64
	}{
		{"nothing", nil, told(0), 1, 1},
		{"told", nil, told(50), 50, 0},
		{"default", func(c *Config) { c.DefaultSamplingRate = Rates{"10.0.0.0/8": 9, "::/0": 8} }, told(0), 9, 0},
		{"default, told", func(c *Config) { c.DefaultSamplingRate = Rates{"::/0": 9} }, told(50), 50, 0},
		{"default of others", func(c *Config) { c.DefaultSamplingRate = Rates{"198.51.100.0/24": 9} }, told(0), 1, 1},
		{"override, told", func(c *Config) { c.OverrideSamplingRate = Rates{"10.0.0.1": 9} }, told(50), 9, 0},
		{"override of others", func(c *Config) { c.OverrideSamplingRate = Rates{"10.0.0.2": 9} }, told(50), 50, 0},
		{"override and default", func(c *Config) {
			c.OverrideSamplingRate, c.DefaultSamplingRate = Rates{"::/0": 9}, Rates{"::/0": 8}
		}, told(0), 9, 0},
		{"discarded", func(c *Config) { c.OverrideSamplingRate = Rates{"::/0": 9} }, discarded, 1, 0},
	} {
		c := lane(t, x.change, columns("src_port", "sampling_rate"))
		c.give(sdk.Range{}, x.payload)
		c.tick(0)
		if diff := cmp.Diff([]uint64{x.want}, c.rates); diff != "" {
			t.Errorf("%s: sampling_rate (-want +got):\n%s", x.name, diff)
		}
		if n := c.noted()[noteSampling]; n != x.unknowns {
			t.Errorf("%s: %d flows noted as without a rate, want %d", x.name, n, x.unknowns)
		}
	}
}
