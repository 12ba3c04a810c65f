package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// What nodes note is summed over their lanes and over the pipeline, and no equation knows of it.
func TestNotesStandBesideTheEquations(t *testing.T) {
	l := New()
	n := l.Node("decode", sdk.KindProcessor)
	for range 2 {
		n.Lane().Books.Note("times_clamped", 3)
	}
	l.Node("other", sdk.KindProcessor).Lane().Books.Note("times_clamped", 1)
	r := l.Report("p")
	if diff := cmp.Diff([]map[string]uint64{{"times_clamped": 7}, {"times_clamped": 6}}, []map[string]uint64{r.Noted, r.Nodes[0].Noted}); diff != "" || !r.Balanced {
		t.Errorf("balanced %v, noted (-want +got):\n%s", r.Balanced, diff)
	}
}
