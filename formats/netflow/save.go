package netflow

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// What a store knows can be kept over a restart. The form, numbers in big-endian order:
//
//	"weir exporters\n", u8 version
//	u32 n, then n templates: u8 protocol version, u8 1 for options, u16 fields, each u32 enterprise, u16 id, u16 length, u8 1 for scope
//	u32 n, then n exporters: address, i64 last seen (ns since the epoch), u8 1 if it has sent data,
//	    u16 n entries: u64 key, u32 template, i64 last seen, u8 1 if used
//	    u16 n samplers: u32 domain, u8 1 if named, u64 id, u64 rate
//	    u16 n start times: u32 domain, u64 ms
//	u32 CRC-32C of all before it
const (
	saveMagic   = "weir exporters\n"
	saveVersion = 1
	// MaxSave is the most bytes that Save writes and Load reads. What limits allow by default fits twice.
	MaxSave = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Changes counts the changes of what Save writes, ages apart.
func (s *Store) Changes() uint64 { return s.changes.Load() }

// Save appends what is known, for [Store.Load]. If it is more than MaxSave, the exporters that have been silent for longest are left
// out.
func (s *Store) Save(b []byte) []byte {
	s.mu.RLock()
	all := make([]*Exporter, 0, len(s.exporters))
	for _, e := range s.exporters {
		all = append(all, e)
	}
	s.mu.RUnlock()
	// Snapshots are immutable, so lanes are not held up while they are written.
	seen := make(map[*Exporter]int64, len(all))
	for _, e := range all {
		seen[e] = e.seen.Load()
	}
	slices.SortFunc(all, func(x, y *Exporter) int {
		return cmp.Or(cmp.Compare(seen[y], seen[x]), slices.Compare(x.Addr[:], y.Addr[:]))
	})
	be := binary.BigEndian
	index := map[*Template]uint32{}
	var templates, exporters []byte
	var n, different uint32
	for _, e := range all {
		snap := e.snap.Load()
		// What is told over TCP ends with the connection (RFC 7011, 8 and 10.4), and no connection outlives the process.
		if e.Session != 0 || len(snap.entries)+len(snap.all)+len(snap.inits) == 0 {
			continue
		}
		t0, x0 := len(templates), len(exporters)
		exporters = append(exporters, e.Addr[:]...)
		exporters = be.AppendUint64(exporters, uint64(seen[e]))
		exporters = append(exporters, b2u(e.used.Load()))
		exporters = be.AppendUint16(exporters, uint16(min(len(snap.entries), 1<<16-1)))
		for _, x := range snap.entries[:min(len(snap.entries), 1<<16-1)] {
			i, ok := index[x.t]
			if !ok {
				i = uint32(len(index))
				index[x.t] = i
				templates = appendTemplate(templates, x.t)
			}
			exporters = be.AppendUint64(exporters, x.key)
			exporters = be.AppendUint32(exporters, i)
			exporters = be.AppendUint64(exporters, uint64(x.seen.Load()))
			exporters = append(exporters, b2u(x.used.Load()))
		}
		exporters = be.AppendUint16(exporters, uint16(min(len(snap.all), 1<<16-1)))
		for _, x := range snap.all[:min(len(snap.all), 1<<16-1)] {
			exporters = be.AppendUint32(exporters, x.Domain)
			exporters = append(exporters, b2u(x.Named))
			exporters = be.AppendUint64(be.AppendUint64(exporters, x.ID), x.Rate)
		}
		exporters = be.AppendUint16(exporters, uint16(len(snap.inits)))
		for _, x := range snap.inits {
			exporters = be.AppendUint64(be.AppendUint32(exporters, x.domain), x.ms)
		}
		if len(templates)+len(exporters) > MaxSave-64 {
			templates, exporters = templates[:t0], exporters[:x0]
			break
		}
		n, different = n+1, uint32(len(index))
	}
	begin := len(b)
	b = append(append(b, saveMagic...), saveVersion)
	b = append(be.AppendUint32(b, different), templates...)
	b = append(be.AppendUint32(b, n), exporters...)
	return be.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
}

func appendTemplate(b []byte, t *Template) []byte {
	be := binary.BigEndian
	b = append(b, byte(t.Version), b2u(t.Options))
	b = be.AppendUint16(b, uint16(len(t.Fields)))
	for _, f := range t.Fields {
		b = be.AppendUint32(b, f.PEN)
		b = be.AppendUint16(be.AppendUint16(b, f.ID), f.Len)
		b = append(b, b2u(f.Scope))
	}
	return b
}

// ErrSaved is what Load answers to bytes that Save has not written, or that have been damaged since.
var ErrSaved = errors.New("not a record of exporters, or a damaged one")

// Load takes what another store's Save wrote: what is too old at now (ns since the epoch), or more than the limits, is left out. With
// an error nothing has been taken. What is read is judged as if an exporter had sent it.
func (s *Store) Load(b []byte, now int64) error {
	be := binary.BigEndian
	head := len(saveMagic) + 1
	switch {
	case len(b) < head+12 || string(b[:len(saveMagic)]) != saveMagic:
		return ErrSaved
	case b[head-1] != saveVersion:
		return fmt.Errorf("%w: version %d, and this is %d", ErrSaved, b[head-1], saveVersion)
	case crc32.Checksum(b[:len(b)-4], castagnoli) != be.Uint32(b[len(b)-4:]):
		return fmt.Errorf("%w: the checksum is wrong", ErrSaved)
	}
	r := &reader{b: b[head : len(b)-4]}
	var defs []definition
	var versions []uint16
	for range r.u32() {
		d := definition{id: 256}
		version := uint16(r.u8())
		d.options = r.u8() != 0
		n, scopes := int(r.u16()), 0
		if n > MaxFields {
			return ErrSaved
		}
		for range n {
			f := Field{PEN: r.u32(), ID: r.u16(), Len: r.u16(), Scope: r.u8() != 0}
			scopes += int(b2u(f.Scope))
			d.add(f, version)
		}
		if r.bad {
			return ErrSaved
		}
		d.judge(version, n, scopes)
		defs, versions = append(defs, d), append(versions, version)
	}
	var known []saved
	for range r.u32() {
		x := saved{addr: r.addr(), seen: int64(r.u64()), used: r.u8() != 0}
		for range r.u16() {
			e := savedEntry{key: r.u64(), def: r.u32(), seen: int64(r.u64()), used: r.u8() != 0}
			if r.bad || int(e.def) >= len(defs) {
				return ErrSaved
			}
			x.entries = append(x.entries, e)
		}
		for range r.u16() {
			x.samplers = append(x.samplers, Sampler{Domain: r.u32(), Named: r.u8() != 0, ID: r.u64(), Rate: max(r.u64(), 1)})
			if r.bad {
				return ErrSaved
			}
		}
		for range r.u16() {
			x.inits = append(x.inits, initTime{r.u32(), r.u64()})
			if r.bad {
				return ErrSaved
			}
		}
		if r.bad {
			return ErrSaved
		}
		known = append(known, x)
	}
	if r.at != len(r.b) {
		return ErrSaved
	}
	slices.Reverse(known) // those heard of last come last, as they did
	for i := range known {
		s.restore(&known[i], defs, versions, now)
	}
	return nil
}

type saved struct {
	addr     [16]byte
	seen     int64
	used     bool
	entries  []savedEntry
	samplers []Sampler
	inits    []initTime
}

type savedEntry struct {
	key  uint64
	def  uint32
	seen int64
	used bool
}

func (s *Store) restore(x *saved, defs []definition, versions []uint16, now int64) {
	old := func(seen int64) bool { return now-seen > int64(s.limits.Age) }
	if old(x.seen) {
		return
	}
	e := s.exporter(origin{addr: x.addr}, telling, now)
	if e == nil {
		return
	}
	// A clock that has been put back since makes nothing younger than now.
	e.seen.Store(min(x.seen, now))
	for _, y := range x.entries {
		d := &defs[y.def]
		if old(y.seen) || d.why != None || uint16(y.key>>16&0xff) != versions[y.def] || uint16(y.key) < 256 {
			continue
		}
		s.apply(e, versions[y.def], []change{{key: y.key, def: d}}, now)
		if i, ok := e.snap.Load().find(y.key); ok {
			l := e.snap.Load().entries[i].life
			l.seen.Store(min(y.seen, now))
			l.used.Store(y.used)
		}
	}
	for lo := 0; lo < len(x.samplers); {
		hi := lo + 1
		for hi < len(x.samplers) && x.samplers[hi].Domain == x.samplers[lo].Domain {
			hi++
		}
		s.tell(e, x.samplers[lo].Domain, x.samplers[lo:hi], 0)
		lo = hi
	}
	for _, y := range x.inits {
		s.tell(e, y.domain, nil, y.ms)
	}
	if x.used {
		e.used.Store(true)
	}
}

// reader reads numbers until they end; from then on all are zero and bad is set.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.b)-r.at < n {
		r.bad = true
		return make([]byte, n)
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) addr() (a [16]byte) {
	copy(a[:], r.take(16))
	return a
}
