package expr

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// Guarantees: kernels, and the skeleton of and, or and not around them, give for every row what expr's virtual machine gives for
// the whole expression; a clone gives the same; and what was learnt of one batch does not spoil the next.
func TestKernelsAgreeWithTheMachine(t *testing.T) {
	pool := sdk.NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		text := condition(t, 3)
		programs := map[string]*Program{}
		for name, m := range map[string]mode{"kernels": kernels, "leaves": leavesVM, "whole": wholeVM} {
			p, err := compile(text, flows, m)
			if err != nil {
				t.Fatalf("%s: %s: %v", text, name, err)
			}
			programs[name] = p
		}
		programs["clone"] = programs["kernels"].Clone()
		var d dicts
		for range 3 {
			b := randomBatch(t, pool, flows, &d)
			want := programs["whole"].Select(b, nil)
			for name, p := range programs {
				if diff := cmp.Diff(want, p.Select(b, nil)); diff != "" {
					t.Fatalf("%s\n%s\n%s: rows (-want +got):\n%s", text, p.Explain(), name, diff)
				}
			}
			b.Done(sdk.Delivered)
			b.Release()
		}
	})
}
