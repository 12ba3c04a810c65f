//go:build linux

package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
	"github.com/weirflow/weir/sdk"
)

const (
	dropsEvery = time.Second
	tries      = 64                     // a second; each costs a system call
	pollSlice  = 100 * time.Millisecond // between looks at a cancelled context
	// stuck is how long a socket that could not leave is read: it may never run dry.
	stuck = 2 * time.Second
)

// reader reads one socket. With all its slabs lent it does not read: the kernel's buffer takes the burst and drops what it must,
// which costs less than reading what would be thrown away.
type reader struct {
	src    *source
	sock   *socket
	worker int
	hold   sdk.Shared // of the group
	part   *sdk.Partition
	addr   netip.AddrPort
	next   int64
	depth  *bpf.Depth // nil if nobody asks how far it is
	frame  *frame
	rack   *rack
	polls  [2]unix.PollFd // the socket and wake
	wakeMu sync.Mutex     // Stop comes from another goroutine, perhaps after Close
	wake   int            // an eventfd; -1 once it is closed, for its number may be another file's then
	looked time.Time      // at the drops and the buffer
	seen   atomic.Int64   // the same, ns since made, for the watch
	made   time.Time
	missed atomic.Uint64 // messages dropped that the watch has counted and depth does not know of
	quit   chan struct{} // ends the watch
	over   chan struct{} // closed when it has ended
	tries  int           // left in this second to find out what trains among the drops had
	charge int           // bytes of it for a message, lately
	buffer int           // bytes that the kernel may charge for what waits
	naps

	stopped atomic.Bool
	ended   bool
	leaving bool
	left    time.Time     // when the socket left its group
	limit   time.Duration // how long it is read from then on, at most; 0: until it is empty
}

func newReader(s *source, sock *socket, worker int, hold sdk.Shared) (*reader, error) {
	f, err := newFrame()
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), f.close())
	}
	addr := sock.group.address()
	r := &reader{src: s, sock: sock, worker: worker, hold: hold, part: s.partition(addr, worker), addr: addr, depth: sock.group.depth(sock.worker), frame: f, rack: newRack(), wake: wake,
		made: time.Now(), quit: make(chan struct{}), over: make(chan struct{})}
	r.polls = [2]unix.PollFd{{Fd: int32(sock.fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	go r.watch()
	return r, nil
}

// watch counts what the kernel drops while nobody calls Read: the pipeline is full then, and that is when most is dropped. Without it the
// metrics would show that when it is over.
func (r *reader) watch() {
	defer close(r.over)
	t := time.NewTicker(dropsEvery)
	defer t.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-t.C:
		}
		if time.Since(r.made)-time.Duration(r.seen.Load()) < 2*dropsEvery {
			continue
		}
		n, more, _ := r.sock.newDrops()
		r.src.lost(n + more)
		r.missed.Add(n)
	}
}

func (r *reader) Partition() *sdk.Partition { return r.part }
func (r *reader) Ready() <-chan struct{}    { return nil }
func (r *reader) local() netip.AddrPort     { return r.addr }

func (r *reader) Stop() {
	r.stopped.Store(true)
	r.wakeMu.Lock()
	defer r.wakeMu.Unlock()
	if r.wake >= 0 {
		// A write to an eventfd fails only when the counter is full.
		_, _ = unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (r *reader) Close(context.Context) error {
	close(r.quit)
	<-r.over
	r.drops()
	r.drops() // what is missing twice counts
	r.wakeMu.Lock()
	wake := r.wake
	r.wake = -1
	r.wakeMu.Unlock()
	return errors.Join(r.sock.release(), unix.Close(wake), r.frame.close(), r.hold.Close())
}

func (r *reader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	now := time.Now()
	if now.Sub(r.looked) >= dropsEvery {
		r.looked, r.tries = now, 0
		r.seen.Store(int64(now.Sub(r.made)))
		if r.drops() {
			r.tries = tries
		}
		r.buffer = 2 * receiveBuffer(r.sock.fd)
	}
	for until := now.Add(wait); ; now = time.Now() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.ended || r.stopped.Load() && !r.leaving && !r.leave(now) || r.limit > 0 && now.Sub(r.left) > r.limit {
			r.ended = true
			return nil, io.EOF
		}
		if r.frame.slab == nil {
			s := r.rack.get(until.Sub(now))
			if s == nil {
				return nil, nil
			}
			r.frame.use(s)
		}
		napped := until.Sub(now) > nap && !r.leaving && r.due()
		if napped {
			time.Sleep(nap)
			r.slept(r.sock.waiting(), r.buffer)
		}
		n, e := r.frame.receive(r.sock.fd)
		switch {
		case e == 0:
			if b := r.batch(n); b != nil {
				return b, nil
			}
			// Nothing passed. Who floods with that does not keep the lane from its other work.
			if now = time.Now(); !now.Before(until) {
				return nil, nil
			}
			continue
		case e == unix.EINTR:
			continue
		case e != unix.EAGAIN:
			return nil, fmt.Errorf("reading UDP on %s: %w", r.addr, e)
		}
		if r.depth != nil {
			r.depth.Empty()
		}
		if r.tries > 0 {
			if r.tries--; !r.drops() {
				r.tries = 0
			}
		}
		if r.leaving && now.Sub(r.left) >= grace {
			r.ended = true
			return nil, io.EOF
		}
		if now = time.Now(); !now.Before(until) {
			return nil, nil
		}
		if r.empty(napped); r.due() && until.Sub(now) > nap && !r.leaving {
			continue
		}
		if err := r.poll(until.Sub(now)); err != nil {
			return nil, err
		}
	}
}

// leave begins the end: the socket leaves its group, or if another generation holds it, it is left to that one.
func (r *reader) leave(now time.Time) bool {
	other, err := r.sock.leave()
	if other {
		return false
	}
	if err != nil {
		r.limit = stuck
		r.src.env.Log.Warn("a socket could not leave its port before it closes; datagrams that come now may be lost", "listen", r.addr, "error", err)
	}
	if r.sock.group.passed != nil {
		r.limit = stuck
	}
	r.leaving, r.left = true, now
	return true
}

// poll waits until a datagram is there, the reader is stopped, or the time is over.
func (r *reader) poll(wait time.Duration) error {
	fds := r.polls[:]
	if r.leaving { // wake stays set
		fds, wait = fds[:1], min(wait, grace)
	}
	ts := unix.NsecToTimespec(int64(min(wait, pollSlice)))
	if _, err := unix.Ppoll(fds, &ts, nil); err != nil && err != unix.EINTR {
		return fmt.Errorf("waiting for UDP on %s: %w", r.addr, err)
	}
	return nil
}

// batch makes a batch of those of the datagrams in the n messages just received that pass; nil if none does.
func (r *reader) batch(n int) (b *sdk.Batch) {
	f, now := r.frame, r.src.env.Now().UnixNano()
	p := f.judge(r.src.gate, n, now)
	if p.kept > 0 {
		b = r.src.env.NewBatch(r.src.cols.schema, p.kept)
		f.fill(b, &r.src.cols, now)
		b.Root(sdk.Range{Partition: r.part, First: r.next, Last: r.next + int64(p.kept) - 1})
		r.next += int64(p.kept)
	}
	r.read(len(f.got), n < f.room())
	r.src.received(&p)
	r.sock.took(n, len(f.got))
	r.charge = bpf.Charge(n, f.bytes) / n
	if r.depth != nil {
		r.depth.Took(r.charge * n)
	}
	return b
}

// drops counts what the kernel has dropped since the last time. With owing more may show when nothing is left to read.
func (r *reader) drops() (owing bool) {
	n, more, owing := r.sock.newDrops()
	r.src.lost(n + more)
	if r.depth != nil {
		r.depth.Took(int(n+r.missed.Swap(0)) * r.charge)
	}
	return owing
}
