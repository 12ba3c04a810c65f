package discard

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

var in = sdk.NewSchema(sdk.Field{Name: "bytes", Type: sdk.Uint64}, sdk.Field{Name: "packets", Type: sdk.Uint64},
	sdk.Field{Name: "rare", Type: sdk.Uint8, Extra: true})

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		columns, want []string
	}{
		{nil, []string{"bytes", "packets"}},
		{[]string{"rare"}, []string{"rare"}},
	} {
		if d := cmp.Diff(c.want, Plugin.Spec.Needs(&Config{Columns: c.columns}, in, nil)); d != "" {
			t.Errorf("columns %v (-want +got): %s", c.columns, d)
		}
	}
	if err := (&Config{Columns: []string{"a", "a"}}).Validate(); err == nil {
		t.Error("a column listed twice is accepted")
	}
}

// A block is settled once, before Write returns, and costs no allocation.
func TestWrite(t *testing.T) {
	s, err := Plugin.Sink(nil, Plugin.Spec.Config())
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	block := &sdk.Block{Rows: 3}
	n := 0
	done := func(err error) {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	if a := testing.AllocsPerRun(10, func() {
		if err := w.Write(context.Background(), block, done); err != nil {
			t.Error(err)
		}
	}); a > 0 {
		t.Errorf("a block allocates %v times", a)
	}
	if n != 11 || w.Held() != 0 {
		t.Errorf("11 blocks were settled %d times, %d bytes are held", n, w.Held())
	}
}
