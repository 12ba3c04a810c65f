//go:build linux

package udp

import (
	"sync"
	"time"

	"github.com/weirflow/weir/sdk"
)

// A slab has room for a receive of either kind: 64 datagrams in a slot each, which holds what fits into any usual frame, or two
// trains as long as the kernel makes them. 64 datagrams a system call cost 2 to 5 % less than 32, more gain nothing.
const (
	slots     = 64
	slotBytes = 2048
	slabBytes = slots * slotBytes
	slabs     = 16
)

// slab is memory that one recvmmsg fills and one batch looks into.
type slab struct {
	mem  []byte
	home *rack
}

// Freed gives the slab back when the batch that looks into it is released.
func (s *slab) Freed(*sdk.Batch) { s.home.put(s) }

// rack has the slabs of a reader that are not lent. The one that came back last goes out first: where batches are done with before
// the next is read, one slab serves, and stays in the core's own cache.
type rack struct {
	mu    sync.Mutex
	free  []*slab
	back  chan struct{} // one is free that was not
	timer *time.Timer   // of the reader that waits
}

func newRack() *rack {
	k := &rack{free: make([]*slab, slabs), back: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	k.timer.Stop()
	for i := range k.free {
		k.free[i] = &slab{mem: make([]byte, slabBytes), home: k}
	}
	return k
}

func (k *rack) put(s *slab) {
	k.mu.Lock()
	k.free = append(k.free, s)
	k.mu.Unlock()
	select {
	case k.back <- struct{}{}:
	default:
	}
}

func (k *rack) take() (s *slab) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.free); n > 0 {
		s, k.free = k.free[n-1], k.free[:n-1]
	}
	return s
}

// get takes a free slab, waiting for one; nil when the time is over. One goroutine calls it.
func (k *rack) get(wait time.Duration) *slab {
	s := k.take()
	if s != nil || wait <= 0 {
		return s
	}
	k.timer.Reset(wait)
	defer k.timer.Stop()
	for {
		select {
		case <-k.back: // perhaps of one that was taken since
			if s = k.take(); s != nil {
				return s
			}
		case <-k.timer.C:
			return k.take()
		}
	}
}
