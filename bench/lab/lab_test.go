package lab

import (
	"strings"
	"testing"
	"time"
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
