package sequence

// limit is what was dropped on purpose, by the exporter's address, and has not yet explained a gap. Which of an exporter's lines a
// dropped datagram was of is not known, so all of them draw on the same.
type limit struct {
	by  map[[16]byte]*credit
	age uint32 // periods since what is old was thrown away
}

// credit is how many dropped datagrams of one address may still show as gaps: those of late, and those of before.
type credit struct{ late, old uint64 }

const (
	// maxLimited is of how many addresses it is known; of more, all that is missing is lost.
	maxLimited = 1 << 16
	// creditPeriods is how many periods a dropped datagram may take to show as a gap, at least: a domain shows its own when it speaks again.
	creditPeriods = 64
)

// Limited says that n datagrams of an address were dropped on purpose.
func (a *Account) Limited(addr [16]byte, n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.limit.by[addr]
	if c == nil {
		if len(a.limit.by) >= maxLimited {
			return
		}
		if a.limit.by == nil {
			a.limit.by = map[[16]byte]*credit{}
		}
		c = &credit{}
		a.limit.by[addr] = c
	}
	c.late += n
}

// turn ends a period.
func (x *limit) turn() {
	if x.age++; x.age < creditPeriods {
		return
	}
	x.age = 0
	for addr, c := range x.by {
		if c.old, c.late = c.late, 0; c.old == 0 {
			delete(x.by, addr)
		}
	}
}

// explain says how many of n missing numbers of a line may be those of datagrams that were dropped on purpose, and takes as many datagrams
// as those are at least.
func (a *Account) explain(l *Line, n uint64) uint64 {
	c := a.limit.by[l.addr]
	if c == nil {
		return 0
	}
	each := uint64(1)
	if l.unit == Flows {
		each = uint64(max(l.most, 1))
	}
	n = min(n, (c.old+c.late)*each)
	took := (n + each - 1) / each
	old := min(took, c.old)
	c.old -= old
	c.late -= took - old
	return n
}
