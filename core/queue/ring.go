package queue

// ring is a growing circular buffer.
type ring struct {
	items   []Item
	head, n int
}

func (r *ring) push(it Item) {
	if r.n == len(r.items) {
		next := make([]Item, max(16, 2*r.n))
		for i := range r.n {
			next[i] = r.items[(r.head+i)%len(r.items)]
		}
		r.items, r.head = next, 0
	}
	r.items[(r.head+r.n)%len(r.items)] = it
	r.n++
}

func (r *ring) pop() Item {
	it := r.items[r.head]
	r.items[r.head] = Item{}
	r.head = (r.head + 1) % len(r.items)
	r.n--
	return it
}

// oldest is the number of the oldest batch's push.
func (r *ring) oldest() (at uint64, ok bool) {
	for i := range r.n {
		if it := &r.items[(r.head+i)%len(r.items)]; it.Batch != nil {
			return it.at, true
		}
	}
	return 0, false
}

// takeBatch takes the oldest batch out, leaving controls in their order.
func (r *ring) takeBatch() (Item, bool) {
	for i := range r.n {
		at := (r.head + i) % len(r.items)
		if it := r.items[at]; it.Batch != nil {
			for j := i; j > 0; j-- {
				r.items[(r.head+j)%len(r.items)] = r.items[(r.head+j-1)%len(r.items)]
			}
			r.items[r.head] = Item{}
			r.head = (r.head + 1) % len(r.items)
			r.n--
			return it, true
		}
	}
	return Item{}, false
}
