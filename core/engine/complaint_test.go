package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// However many records a sink refuses and however often, there are a few lines of it for each code: at once, after 10 s, 20 s, and so on up to
// every 10 minutes, and the rest at the end. No record is told twice and none is left out.
func TestRefusalsAreToldLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		r := &Run{log: slog.New(slog.NewTextHandler(&said, nil))}
		st := &stage{run: r}
		n := &plan.Node{Node: &config.Node{ID: "out", OnError: config.DeadLetter}}
		bad := &sdk.Error{Class: sdk.Permanent, Code: "bad", Err: errors.New("it is bad")}
		worse := &sdk.Error{Class: sdk.Permanent, Code: "worse", Err: errors.New("it is worse")}
		start, at, told := time.Now(), []int(nil), 0
		for second := range 3600 {
			st.complaint(n).refused(r, 3, bad)
			if lines := strings.Count(said.String(), "it is bad"); lines > told {
				told = lines
				at = append(at, second)
			}
			if second == 5 {
				st.complaint(n).refused(r, 1, worse)
				st.complaint(n).refused(r, 1, worse)
			}
			time.Sleep(time.Second)
		}
		if time.Since(start) != time.Hour {
			t.Fatal("the clock is not the test's")
		}
		if diff := cmp.Diff([]int{0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030}, at); diff != "" {
			t.Errorf("seconds at which it was told (-want +got):\n%s", diff)
		}
		st.complaint(n).ended(r)
		st.complaint(n).ended(r)
		sum := map[string]int{}
		for _, m := range regexp.MustCompile(`they are dropped, for nobody reads .errors.*node=out records=(\d+) in_all=(\d+) error="(\w+): it is`).FindAllStringSubmatch(said.String(), -1) {
			records, err := strconv.Atoi(m[1])
			all, err2 := strconv.Atoi(m[2])
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			sum[m[3]] += records
			sum["last "+m[3]] = all
			sum["lines "+m[3]]++
		}
		want := map[string]int{"bad": 10800, "last bad": 10800, "lines bad": 12, "worse": 2, "last worse": 2, "lines worse": 2}
		if diff := cmp.Diff(want, sum); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, said.String())
		}
	})
}

// A sink that refuses all it gets says so in one line, with or without a queue in front of it, whatever becomes of the records.
func TestARefusalIsToldOnce(t *testing.T) {
	for _, sink := range []string{"mem", "memfused"} {
		for options, says := range map[string]string{
			"":                 "they are dropped, for nobody reads `errors`",
			", on_error: drop": "they are dropped, as on_error says",
			"}\n  dead: {type: letters, from: errors": "they go to `errors`",
		} {
			s, got := newStores(), &letters{}
			var said bytes.Buffer
			r, err := New(planned(t, `
sources:
  in: {type: count, with: {rows: 10}}
sinks:
  out: {type: `+sink+`, retry: {initial: 1ms, max: 1ms, attempts: 2}, with: {fail: 1}`+options+`}
`, countPlugin, workPlugin, s.plugin("mem", false, false), s.plugin("memfused", true, false), got.plugin()), Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatal(err)
			}
			ends(t, r)
			if text := said.String(); strings.Count(text, says) != 1 || strings.Count(text, "refuses records") != 1 || !strings.Contains(text, `records=10 in_all=10 error="retries_exhausted: `) {
				t.Errorf("%s%s: %q is not said once:\n%s", sink, options, says, text)
			}
		}
	}
}
