package udp

import (
	"errors"
	"syscall"

	"golang.org/x/net/ipv4"
)

// With `gso` datagrams of one size that follow each other go to the kernel as one piece with that size beside it (UDP GSO, Linux 4.18): it goes
// through the network stack once and is cut at its end. The order of rows stays, and so does what is on the wire.

const (
	mostSegments = 64    // of a piece (UDP_MAX_SEGMENTS until Linux 6.9)
	mostPiece    = 65507 // bytes of it
)

// pieces makes messages of up to a burst of payloads.
func (w *writer) pieces(vals [][]byte) []ipv4.Message {
	rows := copy(w.bufs[:], vals)
	n := 0
	for i := 0; i < rows; n++ {
		size := len(w.bufs[i])
		total, end := size, i+1
		for size > 0 && end < rows && end-i < mostSegments {
			next := len(w.bufs[end])
			if next > size || next == 0 || total+next > mostPiece {
				break
			}
			total, end = total+next, end+1
			if next < size { // only the last may be shorter
				break
			}
		}
		m := &w.cut[n]
		m.Buffers, m.OOB = w.bufs[i:end:end], nil
		if end-i > 1 {
			m.OOB = segmentControl(w.control[n][:], size)
		}
		w.rows[n] = end - i
		i = end
	}
	return w.cut[:n]
}

// whole says that the kernel does not cut what it was given: datagrams longer than the path takes at once, or a device that cannot
// write their checksums.
func whole(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EMSGSIZE)
}
