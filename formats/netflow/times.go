package netflow

// Kernels of times, in ns since the epoch, and their bounds.

import "unsafe"

// uptime: exported + int32(first - uptime) ms is right as long as the flow began within 24 days of the export, also when the
// exporter's 32 bits of milliseconds have wrapped between the two (every 49.7 days).
//
// Times outside the window are rare: the loops of uptimes and of milliseconds only keep how far behind the window's beginning the
// furthest is. A branch for each that is never taken costs more. They have no pairs either: two at once need more registers than there
// are. What is asked of the runs is always so, and shows the compiler that it need not ask of each record.
func uptime(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	far, i := uint64(0), 0
	for _, r := range x.runs {
		end := i + r.n
		if i < 0 || end > len(ps) {
			break
		}
		uptime, low, ahead, ms := r.k.uptime, r.k.low, r.k.clock-r.k.low, int64(1e6)
		if !r.k.hasUptime {
			low, ahead, ms = 0, 0, 0
		}
		for ; i < end; i++ {
			v := ahead + int64(int32(be32(ps[i], at)-uptime))*ms
			far = max(far, uint64(v))
			d[i] = v + low
		}
	}
	if far > x.width {
		x.clamp(d)
	}
}

// since makes a kernel of times that are a count of units of ns nanoseconds since the epoch. What passes the year 2262 becomes
// the largest time.
func since(ns uint64) kernel {
	return func(x *span) {
		ps, at, n := x.ps, x.to[0].off, x.len
		d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
		for i, p := range ps {
			d[i] = int64(min(beN(p, at, n), maxTime/ns) * ns)
		}
		x.clamp(d)
	}
}

// millis is since of the length that nearly all have.
func millis(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	far, i := uint64(0), 0
	for _, r := range x.runs {
		end := i + r.n
		if i < 0 || end > len(ps) {
			break
		}
		for low := r.k.low; i < end; i++ {
			v := int64(min(be64(ps[i], at), maxTime/1e6) * 1e6)
			d[i] = v
			far = max(far, uint64(v-low))
		}
	}
	if far > x.width {
		x.clamp(d)
	}
}

const maxTime uint64 = 1<<63 - 1

// ntp makes a kernel of NTP times (RFC 5905, 6): seconds since 1900 and a fraction of 2^-32, rounded to units of unit ns. What
// lies before 1970 is of the era that begins in 2036. Zero is not known.
func ntp(unit uint64) kernel {
	const epoch = 2208988800
	return func(x *span) {
		ps, at := x.ps, x.to[0].off
		d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
		for i, p := range ps {
			v := be64(p, at)
			if v == 0 {
				d[i] = 0
				continue
			}
			s := int64(v>>32) - epoch
			if s < 0 {
				s += 1 << 32
			}
			// The fraction was cut when it was made (microseconds: its low 11 bits mean nothing), so round.
			d[i] = s*1e9 + int64(((v&0xffffffff)*(1e9/unit)+1<<31)>>32*unit)
		}
		x.clamp(d)
	}
}

func deltaMicro(x *span) {
	d, at, n, i := rowsOf[int64](x), x.to[0].off, x.len, 0
	for _, r := range x.runs {
		exported := r.k.clock
		for end := i + r.n; i < end; i++ {
			d[i] = exported - int64(min(beN(x.ps[i], at, n), uint64(max(exported, 0))/1e3)*1e3)
		}
	}
	x.clamp(d)
}

// clamp bounds the times that a kernel has written to each datagram's window; zero (not known) stays.
func (x *span) clamp(d []int64) {
	if x.any {
		return
	}
	i := 0
	for _, r := range x.runs {
		for end := i + r.n; i < end; i++ {
			if v := d[i]; uint64(v-r.k.low) > x.width && v != 0 && !r.k.anyTime {
				d[i] = bound(v, r.k.low, x.width)
				x.clamped++
			}
		}
	}
}

func bound(v, low int64, width uint64) int64 {
	if v < low {
		return low
	}
	return low + int64(width)
}
