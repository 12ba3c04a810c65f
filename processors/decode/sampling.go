package decode

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weirflow/weir/formats/sequence"
	"github.com/weirflow/weir/sdk"
)

// Rates are sampling rates by the subnet of the exporter. Written as a number alone it is the rate of all of them.
type Rates map[string]uint32

// UnmarshalText takes a rate for all exporters.
func (r *Rates) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(strings.ReplaceAll(string(text), "_", ""), 10, 32)
	if err != nil {
		return fmt.Errorf("%q is neither a sampling rate such as 1000 nor a map of subnets to rates", text)
	}
	*r = Rates{everybody: uint32(n)}
	return nil
}

// everybody is the subnet of all addresses, IPv4 ones among them.
const everybody = "::/0"

// rate is one subnet's; its prefix is one of IPv6 addresses, IPv4 ones being mapped into them.
type rate struct {
	subnet netip.Prefix
	rate   uint64
}

// rates are the subnets, the narrower ones first.
func (r Rates) rates(path string) (rs []rate, ps sdk.Problems) {
	for text, n := range r {
		p, err := netip.ParsePrefix(text)
		if addr, err2 := netip.ParseAddr(text); err2 == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		at := path + "[" + strconv.Quote(text) + "]"
		if text == everybody {
			at = path
		}
		switch {
		case err != nil:
			ps = append(ps, &sdk.Problem{Path: at, Message: fmt.Sprintf("%q is no subnet of exporters", text), Help: "write 10.0.0.0/8, 2001:db8::/32 or an address"})
			continue
		case n < 1:
			ps = append(ps, &sdk.Problem{Path: at, Message: "a sampling rate is 1 or more", Help: "1 means that every packet was looked at"})
			continue
		}
		if p.Addr().Is4() {
			p = netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), p.Bits()+96)
		}
		rs = append(rs, rate{p.Masked(), uint64(n)})
	}
	slices.SortFunc(rs, func(a, b rate) int {
		return cmp.Or(cmp.Compare(b.subnet.Bits(), a.subnet.Bits()), a.subnet.Addr().Compare(b.subnet.Addr()))
	})
	slices.SortFunc(ps, func(a, b *sdk.Problem) int { return cmp.Compare(a.Path, b.Path) })
	return rs, ps
}

// of is the rate for an exporter; 0 if no subnet has it.
func of(rs []rate, exporter [16]byte) uint64 {
	addr := netip.AddrFrom16(exporter)
	for i := range rs {
		if contains(rs[i].subnet, addr) {
			return rs[i].rate
		}
	}
	return 0
}

// contains is Prefix.Contains for addresses of 16 bytes: that one never takes a mapped address for one of IPv6.
func contains(p netip.Prefix, a netip.Addr) bool {
	x, y := p.Addr().As16(), a.As16()
	bits := p.Bits()
	for i := 0; bits > 0; i, bits = i+1, bits-8 {
		mask := byte(math.MaxUint8)
		if bits < 8 {
			mask <<= 8 - bits
		}
		if (x[i]^y[i])&mask != 0 {
			return false
		}
	}
	return true
}

// thinning is the column that says how many datagrams of its exporter a datagram stands for, of sources that have to leave some out;
// 0 is 1. The flows of one stand for so many times as many as its exporter says.
const thinning = "thinning"

// weigh says what the datagrams that follow stand for. Those of one weight are decoded together.
func (d *decode) weigh(weight uint32) {
	w := uint64(max(weight, 1))
	if w == d.outputs.weight {
		return
	}
	d.run()
	d.outputs.settle()
	d.outputs.weight = w
}

// limited is what the weights of datagrams say of the gaps to come: so many of the exporter's were dropped on purpose. It is told for runs of
// one exporter.
type limited struct {
	addr [16]byte
	n    uint64
}

func (l *limited) add(a *sequence.Account, addr [16]byte, weight uint32) {
	if weight < 2 {
		return
	}
	if addr != l.addr {
		l.tell(a)
		l.addr = addr
	}
	l.n += uint64(weight - 1)
}

// tell ends a run.
func (l *limited) tell(a *sequence.Account) {
	if l.n > 0 {
		a.Limited(l.addr, l.n)
		l.n = 0
	}
}

// settle gives the rows that the codecs have made their weight. It follows each run before which the weight, the batch or the partition
// changes.
func (o *outputs) settle() {
	from := o.weighted
	o.weighted = -1
	if o.weight == 1 || from < 0 || o.rate < 0 || o.last == nil || o.last.batch == nil {
		return
	}
	b := o.last.batch
	if n := b.Rows() - from; n > 0 && !b.IsZero(o.rate) {
		rates := sdk.Claim[uint64](b, o.rate, from, n)
		for i, r := range rates {
			high, low := bits.Mul64(r, o.weight)
			if high > 0 {
				low = math.MaxUint64
			}
			rates[i] = low
		}
	}
}

// rateOf makes what the decoder asks for each exporter; nil if nothing is set.
func (c *Config) rateOf() func([16]byte) (fallback, override uint64) {
	defaults, _ := c.DefaultSamplingRate.rates("") // Validate has told what is wrong
	overrides, _ := c.OverrideSamplingRate.rates("")
	if defaults == nil && overrides == nil {
		return nil
	}
	return func(exporter [16]byte) (uint64, uint64) { return of(defaults, exporter), of(overrides, exporter) }
}
