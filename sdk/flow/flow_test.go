package flow_test

import (
	"regexp"
	"testing"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Encodings that can fill a column of each type.
var fills = map[flow.Encoding][]sdk.Type{
	flow.Unsigned:   {sdk.Uint8, sdk.Uint16, sdk.Uint32, sdk.Uint64},
	flow.IPv4:       {sdk.Addr},
	flow.IPv6:       {sdk.Addr},
	flow.MACAddress: {sdk.MAC},
	flow.Uptime:     {sdk.Timestamp}, flow.Seconds: {sdk.Timestamp}, flow.Millis: {sdk.Timestamp},
	flow.Micros: {sdk.Timestamp}, flow.Nanos: {sdk.Timestamp}, flow.DeltaMicro: {sdk.Timestamp},
	flow.String:   {sdk.Name, sdk.Text},
	flow.Octets:   {sdk.Bytes},
	flow.Label:    {sdk.Uint32s},
	flow.Frame:    {sdk.Bytes},
	flow.ICMPType: {sdk.Uint8}, flow.ICMPCode: {sdk.Uint8},
}

func TestTableIsSound(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	defaults := 0
	for _, c := range flow.Columns {
		if !name.MatchString(c.Name) {
			t.Errorf("column %q is not snake_case", c.Name)
		}
		if c.Doc == "" {
			t.Errorf("column %s has no doc line", c.Name)
		}
		if !c.Extra {
			defaults++
		}
		for _, e := range c.Elements {
			ok := false
			for _, ty := range fills[e.Enc] {
				ok = ok || ty == c.Type
			}
			if !ok {
				t.Errorf("column %s of type %s cannot be filled by element %d/%d", c.Name, c.Type, e.PEN, e.ID)
			}
		}
	}
	if defaults < 55 || defaults > 65 {
		t.Errorf("%d columns in the default set, want about 60", defaults)
	}
}

// Columns of counters are named and explained as those of flows, and those that both have are of one type: a node may read both.
func TestCountersAreSound(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, f := range flow.Counters {
		if !name.MatchString(f.Name) || f.Doc == "" {
			t.Errorf("column %q: %q", f.Name, f.Doc)
		}
	}
	if _, err := sdk.Union([]*sdk.Schema{flow.Schema, flow.CountersSchema}); err != nil {
		t.Error(err)
	}
}
