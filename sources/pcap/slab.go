package pcap

import (
	"sync"
	"sync/atomic"

	"github.com/weirflow/weir/sdk"
)

// slabBytes is what is read of a file at once. A packet that needs more gets a slab of its own size.
const slabBytes = 256 << 10

// slab is a piece of a file, into which the reader and the batches made of it look.
type slab struct {
	mem  []byte
	refs atomic.Int32
	home *slabs
}

// Freed is one batch less that looks into the slab.
func (s *slab) Freed(*sdk.Batch) { s.release() }

func (s *slab) release() {
	if s.refs.Add(-1) == 0 {
		s.home.put(s)
	}
}

// slabs keeps slabs for use again.
type slabs struct {
	mu   sync.Mutex
	free []*slab
}

const maxFreeSlabs = 32

// get returns a slab of at least n bytes with one holder.
func (h *slabs) get(n int) *slab {
	if n <= slabBytes {
		h.mu.Lock()
		if last := len(h.free) - 1; last >= 0 {
			s := h.free[last]
			h.free = h.free[:last]
			h.mu.Unlock()
			s.refs.Store(1)
			return s
		}
		h.mu.Unlock()
	}
	s := &slab{mem: make([]byte, max(n, slabBytes)), home: h}
	s.refs.Store(1)
	return s
}

func (h *slabs) put(s *slab) {
	if len(s.mem) != slabBytes {
		return // made for one long packet
	}
	h.mu.Lock()
	if len(h.free) < maxFreeSlabs {
		h.free = append(h.free, s)
	}
	h.mu.Unlock()
}
