// Package reason gives the reasons of a codec their words. A codec counts where bytes went under constants of its own, from 0, which
// is no reason; a [Table] holds the name of each, which becomes a metric label, and a sentence for those that are a fault.
package reason

// Table is the words of reasons 0 to len(Names)-1.
type Table[R ~uint8] struct {
	Names     []string // in snake_case
	Sentences []string // as many; empty for what is no fault
}

// Name is the constant of r.
func (t *Table[R]) Name(r R) string {
	if int(r) < len(t.Names) {
		return t.Names[r]
	}
	return "reason(?)"
}

// Sentence says what is wrong; empty if nothing is.
func (t *Table[R]) Sentence(r R) string {
	if int(r) < len(t.Sentences) {
		return t.Sentences[r]
	}
	return ""
}

// All lists the reasons but 0.
func (t *Table[R]) All() []R {
	out := make([]R, 0, len(t.Names)-1)
	for r := 1; r < len(t.Names); r++ {
		out = append(out, R(r))
	}
	return out
}
