package expr

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// Guarantees: kernels, and the skeleton of and, or and not around them, give for every row what expr's virtual machine gives for
// the whole expression; a clone gives the same; of a selection of the batch they give those of its rows; and what was learnt of one
// batch does not spoil the next.
func TestKernelsAgreeWithTheMachine(t *testing.T) {
	pool := sdk.NewPool(nil)
	rapid.Check(t, func(t *rapid.T) { agree(t, pool, condition(t, 3)) })
}

// Of 100 random conditions few are, say, a remainder: each kind by itself as well, else a kernel that is wrong is found once in a while.
func TestEachKindAgreesWithTheMachine(t *testing.T) {
	pool := sdk.NewPool(nil)
	for kind := range kinds {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			times := 1
			if kind == 6 || kind == 7 { // arithmetic: of many shapes
				times = 5
			}
			for range times {
				rapid.Check(t, func(t *rapid.T) { agree(t, pool, leaf(t, kind)) })
			}
		})
	}
}

// The virtual machine keeps one constant for 0 and -0: the sign of a zero must not come from another comparison.
func TestAZeroHasNoSign(t *testing.T) {
	pool := sdk.NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		for _, zero := range []string{"(0.0 / -2.25)", "(0 / -2)", "(-0.0)", "(0.0 * -1)", "((1.5 - 1.5) * -2.25)"} {
			agree(t, pool, "score > 0.0 and score - 0.0 > bytes / "+zero)
			agree(t, pool, "score - 0.0 > bytes / "+zero)
			agree(t, pool, "score > bytes / "+zero)
		}
	})
}

// selection draws a part of the rows of a batch: none, all, runs, some here and there.
func selection(t *rapid.T, rows int) (sel []uint16) {
	of := rapid.SampledFrom([]int{0, 3, 50, 97, 100}).Draw(t, "percent selected")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	for i := 0; i < rows; i++ {
		if r.IntN(20) == 0 {
			i += r.IntN(200) // nothing of a few words
		}
		if i < rows && r.IntN(100) < of {
			sel = append(sel, uint16(i))
		}
	}
	return sel
}

func agree(t *rapid.T, pool *sdk.Pool, text string) {
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
		sel := selection(t, b.Rows())
		v := b.Select(sel)
		var both []uint16
		for _, r := range want {
			if _, found := slices.BinarySearch(sel, r); found {
				both = append(both, r)
			}
		}
		for name, p := range programs {
			if diff := cmp.Diff(both, p.Select(v, nil), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s\n%s\n%s: rows of a selection (-want +got):\n%s", text, p.Explain(), name, diff)
			}
		}
		for _, x := range []*sdk.Batch{v, b} {
			x.Done(sdk.Delivered)
			x.Release()
		}
	}
}

// Guarantees: the answer for a name is right however many dictionaries there are, while they grow, and for clones that run at the
// same time.
func TestManyDictionaries(t *testing.T) {
	pool := sdk.NewPool(nil)
	s := sdk.NewSchema(sdk.Field{Name: "name", Type: sdk.Name})
	p, err := Compile(`name endsWith "7" or lower(name) endsWith "x3"`, s, Bool)
	if err != nil {
		t.Fatal(err)
	}
	var batches []*sdk.Batch
	var want [][]uint16
	dicts := make([]*sdk.Dict, maxDicts+5)
	for round := range 4 {
		for d := range dicts {
			if round == 0 {
				dicts[d] = sdk.NewDict()
			}
			b := pool.Get(s, 200)
			b.SetDict(0, dicts[d])
			var rows []uint16
			for i := range 200 {
				k := (i*31 + d) % (50 * (round + 1) * 3)
				x, _ := dicts[d].Intern(fmt.Sprint("X", k))
				sdk.Claim[uint16](b, 0, i, 1)[0] = x
				if k%10 == 7 || k == 3 {
					rows = append(rows, uint16(i))
				}
			}
			b.SetRows(200)
			b.Seal()
			batches, want = append(batches, b), append(want, rows)
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		q := p.Clone()
		wg.Go(func() {
			for i, b := range batches {
				if diff := cmp.Diff(want[i], q.Select(b, nil)); diff != "" {
					t.Errorf("batch %d: (-want +got)\n%s", i, diff)
				}
			}
		})
	}
	wg.Wait()
}
