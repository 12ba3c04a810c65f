package sdk

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A message names all columns of a small schema and the first of a large one.
func TestListing(t *testing.T) {
	for n, want := range map[int]string{
		1:   "[c0]",
		11:  "[c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10]",
		12:  "[c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 ... and 2 more]",
		100: "[c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 ... and 90 more]",
	} {
		var fs []Field
		for i := range n {
			fs = append(fs, Field{Name: fmt.Sprint("c", i), Type: Uint8})
		}
		if diff := cmp.Diff(want, NewSchema(fs...).Listing()); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", n, diff)
		}
	}
}
