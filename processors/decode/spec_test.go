package decode

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Every option that cannot be is named, with what it must be.
func TestValidate(t *testing.T) {
	if err := Plugin.Spec.Config().(*Config).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	c := &Config{DefaultSamplingRate: Rates{everybody: 0, "10.0.0.0/33": 1}, OverrideSamplingRate: Rates{"10.0.0.1": 0}, Protocols: []string{"ipfix", "v9"}, TimeWindow: -1, Park: Park{Bytes: -1, Age: -1}, Templates: Templates{Exporters: 0, PerExporter: -1, Total: 1 << 40, Age: time.Millisecond}}
	var paths []string
	for _, p := range c.Validate().(sdk.Problems) {
		paths = append(paths, p.Path)
	}
	want := []string{"protocols[1]", "default_sampling_rate", "default_sampling_rate[\"10.0.0.0/33\"]", "override_sampling_rate[\"10.0.0.1\"]", "time_window", "park.bytes", "park.age", "templates.exporters", "templates.per_exporter", "templates.total", "templates.age"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// The plan learns what is read, what is offered, and that datagrams are needed.
func TestSpec(t *testing.T) {
	s := &Plugin.Spec
	out, err := s.Output(s.Config(), sdk.Datagram)
	if err != nil || len(out) != 2 || out[0] != flow.Schema || out[1] != flow.CountersSchema {
		t.Errorf("output %v, %v", out, err)
	}
	for _, c := range []struct{ wanted, want []string }{
		{[]string{"bytes"}, []string{"payload", "exporter_addr", "received"}},
		{[]string{"bytes", "exporter_port"}, []string{"payload", "exporter_addr", "received", "exporter_port"}},
		{nil, []string{"payload", "exporter_addr", "received"}},
	} {
		if diff := cmp.Diff(c.want, s.Needs(s.Config(), sdk.Datagram, [][]string{c.wanted})); diff != "" {
			t.Errorf("needs for %v (-want +got):\n%s", c.wanted, diff)
		}
	}
	if err := s.Input(nil, sdk.Datagram); err != nil {
		t.Error(err)
	}
	if err := s.Input(nil, sdk.Packet); err == nil {
		t.Error("packets are taken for datagrams")
	}
}
