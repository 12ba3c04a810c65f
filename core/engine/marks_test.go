package engine

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// Behind a queue there is nothing that a mark would have to force out: the planner refuses every pipeline in which a node that parks
// stands there, whatever put the queue in front of it.
func TestNothingIsHeldBehindAQueue(t *testing.T) {
	world := delivery.NewMemory(delivery.Config{Records: 1})
	for what, text := range map[string]string{
		"it asks for a queue": `
processors:
  - {id: stamp, type: stamp}
  - {id: park, type: park, queue: {batches: 8}}
sinks:
  a: {type: keyed_store}`,
		"one before it asks for a queue": `
processors:
  - {id: stamp, type: stamp, queue: {batches: 8}}
  - {id: park, type: park}
sinks:
  a: {type: keyed_store}`,
		"it asks for lanes": `
processors:
  - {id: stamp, type: stamp}
  - {id: park, type: park, lanes: 3}
sinks:
  a: {type: keyed_store}`,
		"it joins branches over queues": `
processors:
  - {id: route, type: numbered_route}
  - {id: left, type: slow, from: route.a, queue: {batches: 8}}
  - {id: park, type: park, from: [left, route.b]}
sinks:
  a: {type: keyed_store, from: park}`,
		"it leads to optional sinks alone": `
processors:
  - {id: stamp, type: stamp}
  - {id: park, type: park}
sinks:
  a: {type: keyed_store, from: stamp}
  b: {type: keyed_store, from: park, ack: optional}`,
	} {
		_, err := tryPlan("sources:\n  in: {type: numbered}"+text, delivery.Source(world), delivery.Stamp, delivery.Park(nil), delivery.Route,
			delivery.Store(world), slowPlugin)
		if err == nil || !strings.Contains(err.Error(), "E312") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Marks go over the required edges up to keyed sinks and to nodes that do not keep ranges, where they end.
func TestWhereMarksGo(t *testing.T) {
	world := delivery.NewMemory(delivery.Config{Records: 1})
	r := numberedRun(t, world, `
sources:
  in: {type: numbered}
processors:
  - {id: route, type: numbered_route}
  - {id: left, type: slow, from: route.a, queue: {batches: 8}}
  - {id: right, type: slow, from: route.b, queue: {batches: 8}}
  - {id: join, type: stamp, from: [left, right]}
  - {id: lose, type: lose, from: join, queue: {batches: 8}}
sinks:
  a: {type: keyed_store, from: [join, route.a]}
  sums: {type: mem, from: lose, with: {name: sums}}
  files: {type: late_files, from: join}
  down: {type: keyed_store, from: join, ack: optional}
`, Options{CPUs: 1})
	defer func() {
		r.Start()
		r.Stop()
		<-r.Done()
	}()
	got := map[string][]string{}
	for _, s := range r.sources {
		for _, to := range s.marks {
			got["in"] = append(got["in"], to.st.plan.Head().ID)
		}
	}
	awaited := map[string]int{}
	for _, st := range r.stages {
		head := st.plan.Head().ID
		for _, to := range st.markTo {
			got[head] = append(got[head], to.st.plan.Head().ID)
		}
		if n := st.expects[r.sources[0]]; n > 0 {
			awaited[head] = n
		}
	}
	for _, ids := range got {
		slices.Sort(ids)
	}
	want := map[string][]string{"in": {"a", "left", "right"}, "left": {"join"}, "right": {"join"}, "join": {"a"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("marks (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]int{"left": 1, "right": 1, "join": 2, "a": 2}, awaited); d != "" {
		t.Errorf("marks awaited (-want +got):\n%s", d)
	}
	var flushed []string
	for _, st := range r.stages {
		for n := range maps.Keys(st.marks) {
			flushed = append(flushed, n.ID)
		}
	}
	slices.Sort(flushed)
	if d := cmp.Diff([]string{"join", "left", "right", "route"}, flushed); d != "" {
		t.Errorf("nodes that cuts flush (-want +got):\n%s", d)
	}
}
