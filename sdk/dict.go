package sdk

import "sync/atomic"

// MaxNames is the largest number of different strings one Dict holds, the empty string included.
const MaxNames = 1 << 16

// Dict maps the indices of a Name column to their strings. It only grows: an index once given out keeps its string for ever, so
// batches made at different times share one Dict. One goroutine adds to it; any number read it.
type Dict struct {
	values atomic.Pointer[[]string]
	index  map[string]uint16 // of the goroutine that adds
	arrow  dictArrow
}

// NewDict makes a dictionary that holds the empty string at index 0.
func NewDict() *Dict {
	d := &Dict{index: map[string]uint16{"": 0}}
	v := []string{""}
	d.values.Store(&v)
	return d
}

// Values are the strings by index. The slice must not be changed.
func (d *Dict) Values() []string {
	if d == nil {
		return emptyNames
	}
	return *d.values.Load()
}

var emptyNames = []string{""}

// Intern returns the index of s, adding it if it is new; ok is false when the dictionary is full: start another then.
func (d *Dict) Intern(s string) (i uint16, ok bool) {
	if i, ok := d.index[s]; ok {
		return i, true
	}
	old := *d.values.Load()
	if len(old) == MaxNames {
		return 0, false
	}
	i = uint16(len(old))
	// Appending in place is safe: readers hold a slice header with the old length.
	v := append(old, s)
	d.values.Store(&v)
	d.index[s] = i
	return i, true
}

// InternBytes is Intern of the string b holds; it allocates only for a new one.
func (d *Dict) InternBytes(b []byte) (i uint16, ok bool) {
	if i, ok := d.index[string(b)]; ok {
		return i, true
	}
	return d.Intern(string(b))
}
