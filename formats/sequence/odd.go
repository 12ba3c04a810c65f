package sequence

// Some exporters count what they should not: messages in IPFIX, where the standard wants records, or records in NetFlow v9. Taken by the
// standard, each datagram of the one would be late, and each of the other behind a gap. They are told by their steps: each is what
// the datagram before it held by the other way of counting, and those are not all the same, as steps between lanes may be.

// odd is how many steps in a row were of the other way of counting.
type odd struct {
	row     uint8
	mixed   bool
	records int32  // of the datagrams before each
	last    uint32 // the number behind the last such step
}

// enough steps of the other way of counting.
const enough = 6

// odds looks at a step that is not what was expected, and says whether there were enough to count the other way.
func (t *track) odds(l *Line, at uint32) bool {
	other := uint32(1)
	if l.unit == Messages {
		other = uint32(t.records)
	}
	if t.records < 2 || at-t.last != other {
		return false
	}
	o := &t.odd
	if o.row == 0 || o.last != t.last {
		*o = odd{records: t.records}
	}
	o.row++
	o.mixed = o.mixed || o.records != t.records
	o.last = at
	if o.row > enough {
		o.row = enough
	}
	return o.row == enough && o.mixed
}

// recount begins the line anew, counting the other way. What seemed to be missing was not.
func (l *Line) recount(at uint32, records int32, a *Account) {
	for _, t := range l.tracks {
		t.end(a)
	}
	step := int32(1)
	if l.unit ^= Flows ^ Messages; l.unit == Flows {
		step = records
	}
	l.tracks = l.tracks[:0]
	t := l.begin(at, step, a)
	t.last, t.records = at, records
}
