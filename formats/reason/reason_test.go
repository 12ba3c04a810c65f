package reason

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A reason outside the table has a name that no reason has, and no sentence.
func TestTable(t *testing.T) {
	table := &Table[uint8]{Names: []string{"none", "padding", "cut"}, Sentences: []string{2: "the record is cut"}}
	type words struct{ Name, Sentence string }
	var got []words
	for _, r := range append(table.All(), 3, 255) {
		got = append(got, words{table.Name(r), table.Sentence(r)})
	}
	want := []words{{"padding", ""}, {"cut", "the record is cut"}, {"reason(?)", ""}, {"reason(?)", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
