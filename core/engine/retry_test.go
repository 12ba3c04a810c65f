package engine

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A sink that waits in front of a store that is down says so at each try, with or without a queue in front of it, and the pauses
// begin with retry.initial.
func TestEveryRetryIsTold(t *testing.T) {
	for _, sink := range []string{"mem", "memfused"} {
		t.Run(sink, func(t *testing.T) {
			s := newStores()
			var said bytes.Buffer
			text := `
sources:
  in: {type: count, with: {rows: 10}}
sinks:
  out: {type: ` + sink + `, on_error: drop, retry: {initial: 10ms, max: 20ms, attempts: 4}, with: {fail: 1}}
`
			r, err := New(planned(t, text, countPlugin, workPlugin, s.plugin(false), s.plugin(true)),
				Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatal(err)
			}
			rep := ends(t, r)
			var pauses []string
			for _, m := range regexp.MustCompile(`trying again" .*node=out .*after=(\S+) `).FindAllStringSubmatch(said.String(), -1) {
				pauses = append(pauses, m[1])
			}
			if diff := cmp.Diff([]string{"10ms", "20ms", "20ms"}, pauses); diff != "" {
				t.Errorf("pauses that were told (-want +got):\n%s\n%s", diff, said.String())
			}
			if n := nodeDropped(rep, "out"); n != 10 {
				t.Errorf("%d records were dropped after the last try, want 10", n)
			}
		})
	}
}
