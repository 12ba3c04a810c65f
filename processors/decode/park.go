package decode

import (
	"encoding/binary"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
)

// park keeps datagrams with data sets whose template has not come yet. What of a datagram could be decoded has been; what waits
// is a datagram of its own, made of the header and the unknown sets, copied out of the receive buffer. It is tried again when one of
// its templates has come. What is held is bounded in bytes and in age, and what one call does about it in bytes.
type park struct {
	d       *decode
	waiting []*parked // nil: it has come
	n       int       // datagrams held
	bytes   int
	version uint64 // of the store when the look began that is the last
	next    int    // where in waiting it goes on
	left    int    // at how many it has yet to look
	came    []*parked
	stay    *stay // of the input batch at hand
	missing map[absent]since
	misses  []miss // since the last call of tell
}

// absent names a template that data waits for, or has waited for in vain.
type absent struct {
	addr    [16]byte
	session netflow.Session
	version uint16
	id      uint16
	domain  uint32
}

// since is when data was first without the template, and what the exporter had told by then.
type since struct {
	at   int64
	mark netflow.Mark
}

// maxAbsent bounds the templates of which it is known that they do not come: beyond, it is forgotten of all.
const maxAbsent = 1 << 14

// parked is one datagram that waits.
type parked struct {
	stay   *stay
	dg     netflow.Datagram
	mark   netflow.Mark // what the exporter had told at the last look; before the first, nothing: another lane may have heard it meanwhile
	at     int64        // when it was parked, ns
	used   bool         // something of the datagram was used
	bad    netflow.Reason
	whole  []byte // the original, where a part was bad and nothing was used: it may yet be refused as a whole
	bytes  int
	weight uint32
}

// stay is the promise of one input batch that some of its datagrams wait. The input itself, whose payloads are lent, goes.
type stay struct {
	batch *sdk.Batch // without rows
	n     int
	worst sdk.Outcome
}

// overhead of a parked datagram in bytes, beside its payload.
const overhead = 256

func (k *park) init(d *decode) { k.d, k.missing = d, map[absent]since{} }

// vain says whether it is of no use to wait for the templates of a datagram's sets: all of them have been missing for longer than
// data is parked, and their exporter has told nothing new. Behind a source that commits, each wait would hold back a cut for as long
// as data is parked, again and again.
func (k *park) vain(in *sdk.Batch, g *netflow.Datagram, r *netflow.Result) bool {
	if in.Range().Partition == nil {
		return false
	}
	now, mark := k.d.netflow.Now, k.d.store.Mark(g)
	vain := true
	for _, s := range r.Unknown {
		m := absent{g.Addr, g.Session, r.Version, binary.BigEndian.Uint16(g.Payload[s.From:]), r.Domain}
		first, ok := k.missing[m]
		if !ok || first.mark != mark {
			if len(k.missing) >= maxAbsent {
				clear(k.missing)
			}
			first = since{now, mark}
			k.missing[m] = first
		}
		vain = vain && now-first.at >= int64(k.d.cfg.Park.Age)
	}
	return vain
}

// add parks what of a datagram has no template.
func (k *park) add(in *sdk.Batch, g *netflow.Datagram, r *netflow.Result) {
	d := k.d
	p := &parked{dg: *g, used: r.Used, bad: r.Bad, weight: uint32(d.outputs.weight)}
	size := r.Header
	for _, s := range r.Unknown {
		size += s.To - s.From
	}
	p.bytes = size + overhead
	k.misses = append(k.misses, missOf(g, r))
	if r.Used && r.Bad != netflow.None { // the rest will be consumed in any case
		d.refuse(in, g.Received, g.Payload, r.Bad.String(), r.Bad.Sentence(), true)
		p.bad = netflow.None
	} else if r.Bad != netflow.None {
		p.bytes += len(g.Payload)
	}
	if k.vain(in, g, r) || k.bytes+p.bytes > int(d.cfg.Park.Bytes) {
		p.dg.Payload, p.whole = g.Payload, g.Payload
		if k.lost(in, p) == sdk.Dropped {
			d.worst = max(d.worst, sdk.Dropped)
		}
		return
	}
	p.dg.Payload = remains(g.Payload, r)
	if p.bad != netflow.None {
		p.whole = append([]byte(nil), g.Payload...)
	}
	p.dg.Again = true
	p.at = d.netflow.Now
	if k.stay == nil {
		k.stay = &stay{batch: d.env.NewBatch(sdk.Datagram, 1), n: 1} // one more until close
		k.stay.batch.Derive(in)
	}
	p.stay = k.stay
	p.stay.n++
	k.waiting = append(k.waiting, p)
	k.n++
	k.bytes += p.bytes
}

// remains is a datagram of the header and the unknown sets.
func remains(payload []byte, r *netflow.Result) []byte {
	size := r.Header
	for _, s := range r.Unknown {
		size += s.To - s.From
	}
	b := append(make([]byte, 0, size), payload[:r.Header]...)
	for _, s := range r.Unknown {
		b = append(b, payload[s.From:s.To]...)
	}
	if r.Version == netflow.IPFIX {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	return b
}

// close ends an input batch: nothing more of it will be parked.
func (k *park) close() {
	if s := k.stay; s != nil {
		k.stay = nil
		s.leave()
	}
}

func (s *stay) leave() {
	if s.n--; s.n == 0 {
		s.batch.Done(s.worst)
		s.batch.Release()
	}
}

const (
	// lookBytes bounds what one look reads of payloads, so that nobody makes each batch as expensive as all that waits: who tells one
	// template a batch, or as many as data waits for. The next call goes on.
	lookBytes = 1 << 20
	lookCost  = 64 // bytes that it is worth to see that an exporter has told nothing new
)

// retry decodes what waits for templates that have come: all of it, or as much as one call may.
func (k *park) retry(all bool) {
	if v := k.d.store.Version(); v != k.version {
		k.version, k.left = v, len(k.waiting)
	}
	if k.left == 0 {
		return
	}
	decoded := false
	for room := lookBytes; k.left > 0 && (all || room > 0); k.left-- {
		if k.next >= len(k.waiting) {
			k.next = 0
		}
		p := k.waiting[k.next]
		k.next++
		if p == nil {
			continue
		}
		room -= lookCost
		m := k.d.store.Mark(&p.dg)
		if m == p.mark {
			continue
		}
		p.mark = m
		room -= len(p.dg.Payload)
		if !m.Knows(&p.dg) {
			continue
		}
		decoded = true
		if k.decode(p) {
			k.waiting[k.next-1] = nil
			k.came = append(k.came, p)
		}
	}
	if !decoded {
		return
	}
	k.d.run()
	k.d.weigh(1)
	for _, p := range k.came {
		payload := p.dg.Payload
		if p.whole != nil {
			payload = p.whole
		}
		k.d.used(p.stay.batch, p.dg.Received, payload, p.used, p.bad)
		k.release(p)
	}
	clear(k.came)
	k.came = k.came[:0]
	if len(k.waiting) > 2*k.n+64 {
		k.sweep(func(*parked) bool { return false })
	}
	k.d.parent = nil // a promise that comes back from the pool may have the same address
}

// decode decodes what of a datagram has a template now, and says whether that is all.
func (k *park) decode(p *parked) bool {
	k.d.of(p.stay.batch)
	k.d.weigh(p.weight)
	r := k.d.netflow.Decode(&p.dg)
	p.used = p.used || r.Used
	if p.bad == netflow.None {
		p.bad = r.Bad
	}
	if len(r.Unknown) == 0 {
		return true
	}
	// The group may look into the old payload until it has run, so the rest is a new one.
	rest := remains(p.dg.Payload, r)
	k.bytes -= len(p.dg.Payload) - len(rest)
	p.bytes -= len(p.dg.Payload) - len(rest)
	p.dg.Payload = rest
	return false
}

// expire drops what has waited too long at now.
func (k *park) expire(now int64) {
	if k.n == 0 {
		return
	}
	k.sweep(func(p *parked) bool {
		old := now-p.at >= int64(k.d.cfg.Park.Age)
		if old && k.left > 0 && k.d.store.Mark(&p.dg).Knows(&p.dg) { // it is only not its turn yet
			return false
		}
		if old {
			p.stay.worst = max(p.stay.worst, k.lost(p.stay.batch, p))
		}
		return old
	})
}

// drop drops what waits: of partition p, or of all; all false and p nil: what has no partition.
func (k *park) drop(p *sdk.Partition, all bool) {
	k.sweep(func(x *parked) bool {
		if !all && x.stay.batch.Range().Partition != p {
			return false
		}
		x.stay.worst = max(x.stay.worst, k.lost(x.stay.batch, x))
		return true
	})
}

// lost ends a datagram whose template did not come.
func (k *park) lost(of *sdk.Batch, p *parked) sdk.Outcome {
	d := k.d
	k.misses = append(k.misses, miss{addr: p.dg.Addr, lost: true})
	switch {
	case p.used:
		d.books.Consumed.Add(1)
		d.refuse(of, p.dg.Received, p.dg.Payload, string(reasonNoTemplate), "the template of these data sets did not come", true)
	case p.bad != netflow.None:
		d.refuse(of, p.dg.Received, p.whole, p.bad.String(), p.bad.Sentence(), false)
	default:
		d.books.Drop(reasonNoTemplate, 1)
		return sdk.Dropped
	}
	return sdk.Delivered
}

// sweep takes out those for which gone says yes, and lets their input batches go.
func (k *park) sweep(gone func(*parked) bool) {
	kept, next := k.waiting[:0], k.next
	for i, p := range k.waiting {
		if p != nil && !gone(p) {
			kept = append(kept, p)
			continue
		}
		if i < k.next {
			next--
		}
		if p != nil {
			k.release(p)
		}
	}
	clear(k.waiting[len(kept):])
	k.waiting, k.next, k.left = kept, next, min(k.left, len(kept))
}

// release lets go of what does not wait any more.
func (k *park) release(p *parked) {
	k.n--
	k.bytes -= p.bytes
	p.stay.leave()
}

// of is how many datagrams of a partition wait; of all, if it is nil.
func (k *park) of(p *sdk.Partition) (n int) {
	if p == nil {
		return k.n
	}
	for _, x := range k.waiting {
		if x != nil && x.stay.batch.Range().Partition == p {
			n++
		}
	}
	return n
}
