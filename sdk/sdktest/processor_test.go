package sdktest

import (
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

func TestRelayPasses(t *testing.T) {
	Processor(t, relay(""), ProcessorCase{In: relaySchema})
}

// Each way to be wrong fails the suite, with a message that says what is wrong.
func TestBrokenProcessorsFail(t *testing.T) {
	relayQuit = make(chan struct{})
	defer close(relayQuit)
	defer func(d time.Duration) { patience = d }(patience)
	for fault, want := range map[string]string{
		"filtered not counted":    "the books do not balance",
		"done before derive":      "derive before Done",
		"never derived":           "no range",
		"never done":              "before Done",
		"done twice":              "settled twice",
		"done as failed":          "nothing that came of it failed",
		"not sealed":              "not sealed",
		"wrong schema":            "the very schema",
		"wrong port":              "the specification names 1",
		"five at once":            "at most 4 a call",
		"gives out while blocked": "at most 0 a call",
		"held after a forced cut": "forced Flush left",
		"left open":               "Drain left",
		"parks in secret":         "does not say that it parks",
		"more for ever":           "says more after",
		"random":                  "says deterministic",
		"partitions mixed":        "no range",
		"lent memory kept":        "Own what is kept",
		"released memory read":    "says deterministic",
		"input changed":           "another held it",
		"zero column written":     "the zero column",
		"changed after sent":      "changed after it was emitted",
		"emitted twice":           "one batch twice",
		"refused after done":      "call Error before Done",
		"code not constant":       "metric label",
		"held after a return":     "Return left",
		"reason not declared":     "Spec.Reasons does not name",
		"loss not declared":       "Spec.Losses does not name",
		"panic":                   "panicked: seven",
		"goroutine left":          "found unexpected goroutines",
		"share left open":         "still held",
		"batch leaked":            "never released",
		"needs more than it says": "pruned: ",
		"selection not read":      "selected: ",
		"blocks":                  "Process has not returned after 250ms",
		"released before done":    "before Done",
		"released twice":          "released twice",
		"drains five at once":     "Drain gave out",
		"claimed after sent":      "changed after it was emitted",
	} {
		t.Run(fault, func(t *testing.T) {
			patience = 20 * time.Second
			if fault == "blocks" {
				patience = 250 * time.Millisecond
			}
			said := witnessed(t, func(t testing.TB) {
				processorWays(t, relay(fault), []ProcessorCase{{In: relaySchema}}, false)
			})
			wantFailure(t, said, want)
		})
	}
}

// What a test double of a promise or a schema cannot show through bytes aside, the loop-back shows the same.
func TestBrokenProcessorsFailThroughTheLoopback(t *testing.T) {
	for fault, want := range map[string]string{
		"filtered not counted": "the books do not balance", "never done": "before Done", "five at once": "at most 4 a call",
		"panic": "panicked: seven", "left open": "Drain left", "batch leaked": "never released in the guest",
	} {
		t.Run(fault, func(t *testing.T) {
			said := witnessed(t, func(t testing.TB) {
				processorWays(t, relay(fault), []ProcessorCase{{In: relaySchema}}, true)
			})
			wantFailure(t, said, want)
		})
	}
}

func TestSpecificationIsChecked(t *testing.T) {
	shared := &struct{}{}
	for want, spec := range map[string]sdk.Spec{
		"Spec.Kind is":         {Kind: sdk.KindSink, Type: "x", Doc: "d"},
		"Spec.Type is":         {Kind: sdk.KindProcessor, Type: "X Y", Doc: "d"},
		"Spec.Doc is empty":    {Kind: sdk.KindProcessor, Type: "x"},
		"not a constant":       {Kind: sdk.KindProcessor, Type: "x", Doc: "d", Reasons: []sdk.Reason{"a b"}},
		"one pointer twice":    {Kind: sdk.KindProcessor, Type: "x", Doc: "d", Config: func() any { return shared }},
		"no Processor constru": {Kind: sdk.KindProcessor, Type: "x", Doc: "d"},
	} {
		wantFailure(t, witnessed(t, func(t testing.TB) { processor(t, sdk.Plugin{Spec: spec}, nil) }), want)
	}
}
