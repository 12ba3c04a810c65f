package netflow

import "unsafe"

// lenTimeval is the length in which pmacct sends microseconds (elements 154 and 155, with nfprobe_tstamp_usec): not NTP's format, but
// a count of seconds since the Unix epoch and one of microseconds, 8 bytes each.
const lenTimeval = 16

// timeval is the kernel for it. What passes the year 2262 becomes the last second before, and what is no fraction of a second its
// largest.
func timeval(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*int64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			seconds, micros := min(be64(p, at), maxTime/1e9-1), min(be64(p, at+8), 1e6-1)
			d[j] = int64(seconds*1e9 + micros*1e3)
			at += rec
		}
		d = d[r.n:]
	}
}
