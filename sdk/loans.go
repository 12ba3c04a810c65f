package sdk

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A batch that shares another's columns has no columns of its own that it could keep when it is recycled: the next one it shares may be
// of another schema. What it claims is lent to it, and comes back when it is released: buffers in classes of powers of two, for columns
// of fixed width and for values' bytes alike, and slices of values. In a steady stream nothing is allocated.

const (
	minLoan     = 256 // bytes of the smallest class: a column of 256 rows of one byte
	loanClasses = 15  // up to 4 MiB; a column of MaxRows addresses takes 128 KiB
	maxLoan     = minLoan << (loanClasses - 1)
)

// loans are the free buffers of a pool.
type loans struct {
	mem memory.Allocator
	// returned, if the allocator wants to know, hears of each buffer that comes back, before anybody else gets it.
	returned func([]byte)

	mu     sync.Mutex
	bytes  [loanClasses]freeList[unsafe.Pointer]
	values [3]freeList[[][]byte] // of the three sizes of batches
}

// freeList is what is free of one class.
type freeList[T any] struct {
	level
	free []T
}

func (l *freeList[T]) take() (x T, ok bool) {
	l.took()
	n := len(l.free)
	if n == 0 {
		return x, false
	}
	var none T
	x, l.free[n-1] = l.free[n-1], none
	l.free = l.free[:n-1]
	return x, true
}

// give takes x back; gone hears of what is kept no longer.
func (l *freeList[T]) give(x T, window int, gone func(T)) {
	l.free = append(l.free, x)
	l.gave(window)
	for len(l.free) > l.keep {
		n := len(l.free) - 1
		gone(l.free[n])
		var none T
		l.free[n], l.free = none, l.free[:n]
	}
}

// level says how many of something are to be kept for use again: as many as were out at a time lately. So a queue that fills and
// empties costs no allocation, and what a burst needed goes after a while.
type level struct {
	out, peak, keep int
	puts            int
}

// minKeep is kept of everything that was in use once.
const minKeep = 8

func (l *level) took() {
	l.out++
	if l.out > l.peak {
		l.peak = l.out
		l.keep = max(l.keep, l.peak, minKeep)
	}
}

// gave reckons anew what is kept after window calls.
func (l *level) gave(window int) {
	l.out--
	if l.puts++; l.puts >= window {
		l.keep, l.peak, l.puts = max(minKeep, l.peak), l.out, 0
	}
}

// loanWindow is how many buffers of a class come back before what is kept is reckoned anew: a batch brings back one for each column.
const loanWindow = 16 * shelfWindow

// loanClass is the class of buffers that hold n bytes, at most maxLoan.
func loanClass(n int) int {
	if n <= minLoan {
		return 0
	}
	return bits.Len(uint(n-1)) - bits.Len(uint(minLoan-1))
}

// take lends a buffer of at least n bytes: of its class, or if there is none so large, of n bytes that do not come back.
func (l *loans) take(n int) []byte {
	if n > maxLoan {
		return heap{}.Allocate(n)
	}
	class := loanClass(n)
	l.mu.Lock()
	p, ok := l.bytes[class].take()
	l.mu.Unlock()
	if !ok {
		p = unsafe.Pointer(unsafe.SliceData(l.mem.Allocate(minLoan << class)))
	}
	return unsafe.Slice((*byte)(p), minLoan<<class)
}

// takeValues lends a slice of size values, all nil.
func (l *loans) takeValues(size int) [][]byte {
	l.mu.Lock()
	v, ok := l.values[sizeIndex(size)].take()
	l.mu.Unlock()
	if !ok {
		v = make([][]byte, size)
	}
	return v
}

func sizeIndex(size int) int {
	switch size {
	case 256:
		return 0
	case 1024:
		return 1
	}
	return 2
}

// giveBack takes what a batch that shares another's columns has claimed for itself.
func (l *loans) giveBack(b *Batch) {
	for i := range b.cols {
		if c := &b.cols[i]; c.own && c.vals != nil {
			clear(c.vals[:min(c.watermark, len(c.vals))])
		}
	}
	if l.returned != nil {
		b.eachLoan(l.returned)
	}
	l.mu.Lock()
	b.eachLoan(l.give)
	for i := range b.cols {
		if c := &b.cols[i]; c.own && c.vals != nil {
			l.values[sizeIndex(b.size)].give(c.vals, loanWindow, func([][]byte) {})
		}
	}
	l.mu.Unlock()
}

// give takes a buffer back; the caller has the lock.
func (l *loans) give(buf []byte) {
	if len(buf) > maxLoan {
		return
	}
	class := loanClass(len(buf))
	l.bytes[class].give(unsafe.Pointer(unsafe.SliceData(buf)), loanWindow, func(p unsafe.Pointer) {
		l.mem.Free(unsafe.Slice((*byte)(p), minLoan<<class))
	})
}

// eachLoan calls f with the buffers that were lent to b, whole.
func (b *Batch) eachLoan(f func([]byte)) {
	for i := range b.cols {
		if c := &b.cols[i]; c.own && c.data != nil {
			n := minLoan << loanClass(b.size*b.schema.fields[i].Type.Width())
			f(unsafe.Slice((*byte)(c.data), n))
		}
	}
	for _, a := range b.outgrown {
		f(a[:cap(a)])
	}
	if b.arena != nil {
		f(b.arena[:cap(b.arena)])
	}
}
