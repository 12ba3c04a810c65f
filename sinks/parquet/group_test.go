package parquet

import (
	"testing"

	"github.com/weirflow/weir/sdk"
)

// Guarantees: a row group that is as large as it may be takes no more memory than the specification says of copies, with room for what a
// full disk does not take of another.
func TestAFullGroupHoldsWhatIsSaid(t *testing.T) {
	p := sdk.NewPool(nil)
	in := sdk.NewSchema(sdk.Field{Name: "a", Type: sdk.Text}, sdk.Field{Name: "b", Type: sdk.Uint64}, sdk.Field{Name: "c", Type: sdk.Addr}, sdk.Field{Name: "d", Type: sdk.Bytes})
	h, err := newShape(in, config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	b := p.Get(in, sdk.MaxRows)
	b.SetRows(sdk.MaxRows)
	value := make([]byte, 450)
	for k := range sdk.MaxRows {
		b.SetBytes(0, k, value)
		b.SetBytes(3, k, value[:k%300])
		sdk.Claim[[2]uint64](b, 2, k, 1)[0] = [2]uint64{1, uint64(k)}
	}
	b.Seal()
	g := newGroup(h)
	for life := range 2 { // the second has the slices of the first
		for g.rows == 0 || g.rows+b.Rows() <= groupRows && g.size() < groupBytes {
			g.add(b)
		}
		if g.size() < groupBytes || g.held() > mostCopies-groupBytes {
			t.Errorf("life %d: a full group of %d bytes holds %d, at most %d are said", life, g.size(), g.held(), mostCopies-groupBytes)
		}
		g.reset()
	}
	b.Done(sdk.Delivered)
	b.Release()
}
