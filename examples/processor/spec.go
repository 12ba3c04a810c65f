// Package processor is an example: a processor plugin as a stranger would write one, with all that it needs and no more.
//
// It adds the column `service_port`: the port of a flow that names the service, which is the lower one of the two unless only the
// other is among those listed. The guide docs/guides/plugin.md walks through the package.
package processor

import (
	"fmt"

	"github.com/weirflow/weir/sdk"
)

// Config of the processor, as users write it under `with:`.
type Config struct {
	Known []int `yaml:"known" doc:"ports of services, also above the client's port" example:"[8080, 8443]"`
}

// Validate finds what the field tags cannot say.
func (c *Config) Validate() error {
	var ps sdk.Problems
	for i, p := range c.Known {
		if p < 1 || p > 65535 {
			ps = append(ps, &sdk.Problem{Path: fmt.Sprintf("known[%d]", i), Message: fmt.Sprintf("%d is not a port", p), Help: "ports are 1 to 65535"})
		}
	}
	return ps.Err()
}

const column = "service_port"

// Plugin declares the processor: pure data and pure functions. Validation, planning and the reference read nothing else.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind:   sdk.KindProcessor,
		Type:   "service_port",
		Doc:    "adds the port of a flow that names its service",
		Config: func() any { return &Config{Known: []int{5060, 8080, 8443}} },
		Output: output,
		Needs:  needs,
		// Records leave in the batch they came in, and the same records give the same output in every life: a sink behind this node
		// may store its blocks under keys.
		KeepsRange:    true,
		Deterministic: true,
	},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) { return newProcessor(env, cfg.(*Config)), nil },
}

// output is the input's columns and one more.
func output(_ any, in *sdk.Schema) ([]*sdk.Schema, error) {
	return sdk.Added(in, sdk.Field{Name: column, Type: sdk.Uint16, Doc: "port that names the service"})
}

// needs says which input columns must be there when those wanted are: what is passed through, and the two ports if somebody wants
// what is made of them.
func needs(_ any, _ *sdk.Schema, wanted [][]string) []string {
	return sdk.AddedNeeds(wanted[0], map[string][]string{column: {"src_port", "dst_port"}})
}
