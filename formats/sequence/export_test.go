package sequence

// Open is how many gaps are open, by the account's count and by its lines'.
func (a *Account) Open(lines ...*Line) (counted, held int) {
	for _, l := range lines {
		for _, t := range l.tracks {
			held += t.holes.len()
			if t.again != nil {
				held += t.again.holes.len()
			}
		}
	}
	return a.holes, held
}
