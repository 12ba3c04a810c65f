package netflow

import "unsafe"

// lenTimeval is the length in which pmacct sends microseconds (elements 154 and 155, with nfprobe_tstamp_usec): not NTP's format, but
// a count of seconds since the Unix epoch and one of microseconds, 8 bytes each.
const lenTimeval = 16

// timeval is the kernel for it. What passes the year 2262 becomes the last second before, and what is no fraction of a second its
// largest.
func timeval(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	for i, p := range ps {
		seconds, micros := min(be64(p, at), maxTime/1e9-1), min(be64(p, at+8), 1e6-1)
		d[i] = int64(seconds*1e9 + micros*1e3)
	}
	x.clamp(d)
}
