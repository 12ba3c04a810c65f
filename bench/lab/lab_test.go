package lab

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Weir and the floor make every record of every case that they decode; Compare notices the ones that are missing.
func TestContendersMakeEveryRecord(t *testing.T) {
	for _, c := range Cases {
		ring, err := c.Ring(Base)
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWeir(ring, "20 columns", Columns20)
		if err != nil {
			t.Fatal(err)
		}
		lame := &Contender{Name: "lame", Datagrams: 512, Next: func() (int, error) { return 1, nil }}
		cs := []*Contender{w, lame}
		if f := NewFloor(c, ring); f != nil {
			cs = append(cs, f)
		}
		fs, err := Compare(ring, cs, 1, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			switch {
			case f.Name == "lame":
				if f.Err == nil {
					t.Errorf("%s: a contender that makes one record of a chunk has figures", c.Name)
				}
			case f.Err != nil || f.Best <= 0:
				t.Errorf("%s, %s: %v ns/record, %v", c.Name, f.Name, f.Best, f.Err)
			}
		}
	}
}

func TestGoals(t *testing.T) {
	var b strings.Builder
	err := Goals(&b, []Goal{{What: "cost", Figure: 40, Bound: 50, Unit: "ns"}, {What: "rate", Figure: 1.5, Bound: 1.7, Least: true}, {What: "other", Bound: 1, Why: "no peer"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "PASS", "short", "not measured"} {
		if line := strings.Split(b.String(), "\n")[i]; !strings.HasSuffix(strings.TrimSpace(line), want) {
			t.Errorf("line %q does not end with %q", line, want)
		}
	}
}

// A goal says the same to programs: what was not measured is null. A column for figures from elsewhere is there if one has any.
func TestGoalsOfAllForms(t *testing.T) {
	gs := []Goal{{What: "rate", Figure: 800_000, Bound: 500_000, Unit: "datagrams/s", Least: true}, {What: "cost", Bound: 0.18, Unit: "us", Why: "no peer", Elsewhere: "other: 0.21"}}
	var text strings.Builder
	if err := Goals(&text, gs); err != nil {
		t.Fatal(err)
	}
	const want = "goal  bound                  measured                          elsewhere\nrate  >= 500000 datagrams/s  800000 datagrams/s  PASS\ncost  <= 0.18 us             no peer             not measured  other: 0.21\n"
	if d := cmp.Diff(want, text.String()); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	var out strings.Builder
	o := &Output{json: true}
	if err := o.End(&out, gs); err != nil {
		t.Fatal(err)
	}
	var got, parsed any
	const object = `[{"goal": "rate", "bound": 500000, "bound_is_least": true, "unit": "datagrams/s", "measured": 800000, "verdict": "PASS"},
		{"goal": "cost", "bound": 0.18, "bound_is_least": false, "unit": "us", "measured": null, "verdict": "not measured", "why": "no peer", "elsewhere": "other: 0.21"}]`
	if err := errors.Join(json.Unmarshal([]byte(out.String()), &got), json.Unmarshal([]byte(object), &parsed)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(parsed, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}

// Tables are for people, one object for programs, and nothing else for either.
func TestOutputIsOfOneForm(t *testing.T) {
	for form, fails := range map[string]bool{"text": false, "json": false, "yaml": true} {
		f := flag.NewFlagSet("bench", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		o := NewOutput(f)
		if err := f.Parse([]string{"-o", form}); (err != nil) != fails {
			t.Errorf("-o %s: %v", form, err)
		}
		if fails {
			continue
		}
		var out strings.Builder
		if err := o.End(&out, 7); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"json": "7\n"}[form]; out.String() != want || (o.Text == io.Discard) != (form == "json") {
			t.Errorf("-o %s: %q, tables go to %v", form, out.String(), o.Text)
		}
	}
}

func TestLanes(t *testing.T) {
	for _, c := range []struct {
		one, two, cores float64
		want            string
	}{{10, 19, 1.95, "PASS"}, {10, 19, 1.7, "PASS"}, {10, 15, 1.95, "short"}, {10, 15, 1.5, "not measured"}, {0, 15, 2, "not measured"}} {
		if got := Lanes("lanes", 1.8, c.one, c.two, c.cores).Verdict(); got != c.want {
			t.Errorf("%v: %s, want %s", c, got, c.want)
		}
	}
}
