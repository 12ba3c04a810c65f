package tcp

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
)

// Numbers of RFC 7011.
const (
	version     = 10
	header      = 16
	setHeader   = 4
	templates   = 2 // set of templates
	options     = 3 // set of options templates
	leastID     = 256
	variable    = 1<<16 - 1 // length of a field whose records each say their own
	mostMessage = 1<<16 - 1
)

// isMessage says whether p is exactly one IPFIX message, by its header.
func isMessage(p []byte) bool {
	return len(p) >= header && binary.BigEndian.Uint16(p) == version && int(binary.BigEndian.Uint16(p[2:])) == len(p)
}

// sets calls f for each set of a message, up to one whose length cannot be.
func sets(p []byte, f func(id uint16, body []byte) (more bool)) {
	for at := header; len(p)-at >= setHeader; {
		id, n := binary.BigEndian.Uint16(p[at:]), int(binary.BigEndian.Uint16(p[at+2:]))
		if n < setHeader || n > len(p)-at || !f(id, p[at+setHeader:at+n]) {
			return
		}
		at += n
	}
}

// tells says whether a message says something of its exporter, who has told the options templates known.
func tells(p []byte, known []templateKey) (does bool) {
	domain := binary.BigEndian.Uint32(p[12:])
	sets(p, func(id uint16, _ []byte) bool {
		does = id == templates || id == options
		for _, k := range known {
			does = does || k.id == id && k.domain == domain
		}
		return !does
	})
	return does
}

// definition is the length of the template definition at the start of b (RFC 7011, 3.4); 0 if there is none. Without fields it is a
// withdrawal (8.1).
func definition(b []byte, set uint16) (id uint16, fields, n int) {
	if len(b) < 4 {
		return 0, 0, 0
	}
	id, fields = binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	n = 4
	switch {
	case fields == 0 && (id == set || id >= leastID):
		return id, 0, n
	case id < leastID || fields == 0:
		return 0, 0, 0
	case set == options:
		n = 6
	}
	for range fields {
		if len(b) < n+4 {
			return 0, 0, 0
		}
		if b[n]&0x80 != 0 { // with an enterprise number
			n += 4
		}
		n += 4
	}
	if len(b) < n {
		return 0, 0, 0
	}
	return id, fields, n
}

// records counts the records of a data set's body by its options template; 0 if that cannot be said.
func records(def, body []byte) (n int) {
	be := binary.BigEndian
	fields := int(be.Uint16(def[2:]))
	if fields > mostFields {
		return 0
	}
	for at := 0; ; n++ {
		begin := at
		for i, f := 0, 6; i < fields; i, f = i+1, f+4 {
			size := int(be.Uint16(def[f+2:]))
			if def[f]&0x80 != 0 {
				f += 4
			}
			if size == variable { // its length stands in front of it, in one byte or three (RFC 7011, 7)
				if at >= len(body) {
					return n
				}
				size = int(body[at])
				if at++; size == 255 {
					if len(body)-at < 2 {
						return n
					}
					size = int(be.Uint16(body[at:]))
					at += 2
				}
			}
			if at += size; at > len(body) {
				return n
			}
		}
		if at == begin {
			return n
		}
	}
}

// Limits of what is remembered. Networks have a few dozen templates of some hundred bytes for each exporter.
const (
	mostExporters = 4096
	mostTemplates = 1024     // of one exporter
	mostBytes     = 16 << 20 // of all
	mostSets      = 16       // of data of one options template
	mostFields    = 64       // of an options template whose data is kept
	entryBytes    = 64       // beside the definition
)

// memory is the templates that exporters have told and not withdrawn, and the data of options templates: samplers, names.
type memory struct {
	mu        sync.Mutex
	exporters map[origin]*teller
	bytes     int
	uses      uint64
}

// teller is one exporter.
type teller struct {
	used  uint64
	told  map[templateKey][]byte // definitions as they were sent
	data  map[templateKey][]dataSet
	bytes int
}

// dataSet is one set of data of an options template, with its header.
type dataSet struct {
	set     []byte
	records int
}

type templateKey struct {
	domain uint32
	id     uint16
	set    uint16 // templates or options
}

func newMemory() *memory { return &memory{exporters: map[origin]*teller{}} }

// Close does nothing: it makes a memory shareable.
func (m *memory) Close() error { return nil }

// learn keeps what a message tells. It returns the options templates of its exporter.
func (m *memory) learn(o origin, p []byte) []templateKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.exporters[o]
	if t == nil {
		if len(m.exporters) >= mostExporters {
			m.forget(nil)
		}
		t = &teller{told: map[templateKey][]byte{}, data: map[templateKey][]dataSet{}}
		m.exporters[o] = t
	}
	m.uses++
	t.used = m.uses
	domain := binary.BigEndian.Uint32(p[12:])
	sets(p, func(set uint16, b []byte) bool {
		for set == templates || set == options {
			id, fields, n := definition(b, set)
			if n == 0 {
				break
			}
			m.take(t, templateKey{domain, id, set}, fields, b[:n])
			b = b[n:]
		}
		if k := (templateKey{domain, set, options}); t.told[k] != nil {
			m.keep(t, k, b)
		}
		return true
	})
	for m.bytes > mostBytes && len(m.exporters) > 1 {
		m.forget(t)
	}
	return t.options()
}

// options are the keys of the options templates.
func (t *teller) options() (keys []templateKey) {
	for k := range t.told {
		if k.set == options {
			keys = append(keys, k)
		}
	}
	return keys
}

// grow counts memory.
func (m *memory) grow(t *teller, n int) {
	t.bytes += n
	m.bytes += n
}

// keep keeps a set of data of an options template as the newest; one that is the same is repeated and goes.
func (m *memory) keep(t *teller, k templateKey, body []byte) {
	n := records(t.told[k], body)
	if n == 0 || t.bytes+len(body) > mostBytes {
		return
	}
	kept := t.data[k]
	i := slices.IndexFunc(kept, func(x dataSet) bool { return slices.Equal(x.set[setHeader:], body) })
	if i < 0 && len(kept) >= mostSets {
		i = 0
	}
	if i >= 0 {
		m.grow(t, -len(kept[i].set)-entryBytes)
		kept = slices.Delete(kept, i, i+1)
	}
	set := binary.BigEndian.AppendUint16(make([]byte, 0, setHeader+len(body)), k.id)
	set = binary.BigEndian.AppendUint16(set, uint16(setHeader+len(body)))
	t.data[k] = append(kept, dataSet{append(set, body...), n})
	m.grow(t, setHeader+len(body)+entryBytes)
}

// take keeps one definition, or ends what it withdraws.
func (m *memory) take(t *teller, k templateKey, fields int, def []byte) {
	drop := func(k templateKey) {
		if was, ok := t.told[k]; ok {
			delete(t.told, k)
			m.grow(t, -len(was)-entryBytes)
			for _, x := range t.data[k] {
				m.grow(t, -len(x.set)-entryBytes)
			}
			delete(t.data, k)
		}
	}
	if fields == 0 && k.id < leastID { // all of the set's kind
		for x := range t.told {
			if x.domain == k.domain && x.set == k.set {
				drop(x)
			}
		}
		return
	}
	if was := t.told[k]; fields > 0 && slices.Equal(was, def) {
		return
	}
	drop(templateKey{k.domain, k.id, templates}) // an id is a template's or an options template's
	drop(templateKey{k.domain, k.id, options})
	if fields == 0 || len(t.told) >= mostTemplates || t.bytes+len(def) > mostBytes {
		return
	}
	t.told[k] = slices.Clone(def)
	m.grow(t, len(def)+entryBytes)
}

// forget forgets the exporter that was met longest ago, but not keep.
func (m *memory) forget(keep *teller) {
	var oldest *teller
	var who origin
	for o, t := range m.exporters {
		if t != keep && (oldest == nil || t.used < oldest.used) {
			oldest, who = t, o
		}
	}
	if oldest != nil {
		m.bytes -= oldest.bytes
		delete(m.exporters, who)
	}
}

// prelude appends to b messages of all that the exporter has told for the domain of message p, which comes next. They have its
// export time, and sequence numbers that lead up to its own: data of options counts, templates do not (RFC 7011, 3.1). It returns
// the exporter's options templates.
func (m *memory) prelude(b []byte, o origin, p []byte) ([]byte, []templateKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.exporters[o]
	if t == nil {
		return b, nil
	}
	m.uses++
	t.used = m.uses
	domain := binary.BigEndian.Uint32(p[12:])
	keys := slices.SortedFunc(maps.Keys(t.told), func(a, b templateKey) int { return cmp.Or(cmp.Compare(a.set, b.set), cmp.Compare(a.id, b.id)) })
	be := binary.BigEndian
	sequence := be.Uint32(p[8:])
	for k, sets := range t.data {
		for _, x := range sets {
			if k.domain == domain {
				sequence -= uint32(x.records)
			}
		}
	}
	begin := func() {
		b = append(b, p[:header]...)
		be.PutUint32(b[len(b)-8:], sequence)
	}
	message, set := -1, -1 // where the open ones begin in b
	var kind uint16
	end := func() {
		if message >= 0 {
			be.PutUint16(b[set+2:], uint16(len(b)-set))
			be.PutUint16(b[message+2:], uint16(len(b)-message))
		}
	}
	for _, k := range keys {
		if k.domain != domain {
			continue
		}
		def := t.told[k]
		switch {
		case message < 0 || len(b)-message+setHeader+len(def) > mostMessage:
			end()
			message = len(b)
			begin()
		case kind == k.set:
			b = append(b, def...)
			continue
		default:
			be.PutUint16(b[set+2:], uint16(len(b)-set))
		}
		set, kind = len(b), k.set
		b = be.AppendUint16(b, k.set)
		b = append(b, 0, 0)
		b = append(b, def...)
	}
	end()
	for _, k := range keys {
		if k.domain != domain {
			continue
		}
		for _, x := range t.data[k] { // a message each: sets can be as long as messages
			message = len(b)
			begin()
			b = append(b, x.set...)
			be.PutUint16(b[message+2:], uint16(len(b)-message))
			sequence += uint32(x.records)
		}
	}
	return b, t.options()
}
