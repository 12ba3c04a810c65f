package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sources/generate"
)

// generateCommand is a pipeline as one line: emulated exporters into the sinks udp and tcp.
func (a *app) generateCommand() *cobra.Command {
	c := generate.Plugin.Spec.Config().(*generate.Config)
	c.Rate = 1000 // without a rate a network is flooded
	var to, protocol []string
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "generate --to HOST:PORT",
		Short: "Send flows of emulated exporters to a collector",
		Long: "Plays a network of exporters that send NetFlow v5, NetFlow v9, IPFIX or sFlow to a collector: templates, sampler tables, sequence\n" +
			"numbers and flows as in real traffic. It is the source `generate` before the sinks `udp` and `tcp`, with the same account at\n" +
			"the end. To tcp://HOST:PORT each exporter makes a connection, and sends IPFIX alone.",
		Example: "  weir generate --to 127.0.0.1:2055\n  weir generate --to 127.0.0.1:2055 --protocol v9,ipfix=2 --exporters 50 --rate 100000 --for 30s\n  weir generate --to tcp://127.0.0.1:4739 --exporters 50",
		Args:    cobra.NoArgs,
	}
	summary := choiceFlag(cmd, "summary", "", "how to account for every record at the end, on standard error", "table", "json", "none")
	level := choiceFlag(cmd, "log-level", "", "least severity that is logged", "warn", "debug", "info", "error")
	f := cmd.Flags()
	f.StringSliceVar(&to, "to", nil, "collector, host:port or tcp://host:port; of several each gets every datagram")
	f.StringSliceVar(&protocol, "protocol", []string{"v9"}, "v5, v9, ipfix, sflow; several with weights for their shares of the records: v9,ipfix=2 (over TCP: ipfix)")
	f.IntVar(&c.Exporters, "exporters", c.Exporters, "number of exporters")
	f.IntVar(&c.Rate, "rate", c.Rate, "flow records per second; 0: as fast as possible")
	f.IntVar(&c.Records, "records", c.Records, "flow records to send; 0: endless")
	f.DurationVar(&duration, "for", 0, "stop after this time (30s, 5m)")
	f.IntVar(&c.DatagramRecords, "datagram-records", c.DatagramRecords, "most flow records in a datagram")
	f.IntVar(&c.DatagramBytes, "datagram-bytes", c.DatagramBytes, "most bytes in a datagram")
	f.IntVar(&c.Seed, "seed", c.Seed, "chooses the hosts and flows")
	f.Float64Var(&c.IPv6, "ipv6", c.IPv6, "share of IPv6 flows, 0 to 1")
	f.IntVar(&c.Domains, "domains", c.Domains, "observation domains of each exporter")
	f.IntVar(&c.Sampling, "sampling", c.Sampling, "packets that one sampled packet stands for")
	f.DurationVar(&c.TemplateInterval, "template-interval", c.TemplateInterval, "how often templates are repeated")
	f.IntVar(&c.Ring, "ring", c.Ring, "build so many datagrams first and repeat them; 0: always new ones")
	f.IntVar(&c.Readers, "readers", c.Readers, "threads that make datagrams")
	cmd.RunE = do(func(cmd *cobra.Command, _ []string) error {
		if len(to) == 0 {
			return usage("say where to: --to 127.0.0.1:2055")
		}
		over := slices.ContainsFunc(to, func(s string) bool { return strings.HasPrefix(s, overTCP) })
		if over && !cmd.Flags().Changed("protocol") {
			protocol = []string{"ipfix"}
		}
		if over && slices.ContainsFunc(protocol, func(s string) bool { return s != "ipfix" && !strings.HasPrefix(s, "ipfix=") }) {
			return usage("over TCP only IPFIX can be sent: leave --protocol out or say --protocol ipfix")
		}
		p, err := a.exporters(c, protocol, to)
		if err != nil {
			return err
		}
		settings := config.DefaultSettings()
		settings.Admin, settings.LogLevel = config.AdminOff, level.value
		return a.process(&settings, duration).runAll([]*plan.Plan{p}, true, summary.value)
	})
	return cmd
}

const overTCP = "tcp://"

// collectors are the sinks: one for all that take datagrams, and one for each that takes connections.
func collectors(to []string) (sinks yaml.MapSlice) {
	sink := func(id, kind string, to any) {
		sinks = append(sinks, yaml.MapItem{Key: id, Value: yaml.MapSlice{{Key: "type", Value: kind}, {Key: "with", Value: yaml.MapSlice{{Key: "to", Value: to}}}}})
	}
	var datagrams []string
	for i, address := range to {
		if host, ok := strings.CutPrefix(address, overTCP); ok {
			sink(fmt.Sprintf("collector_tcp_%d", i+1), "tcp", host)
		} else {
			datagrams = append(datagrams, address)
		}
	}
	if datagrams != nil {
		sink("collector", "udp", datagrams)
	}
	return sinks
}

// exporters writes the pipeline and lays it out. What is wrong with it is wrong with a flag.
func (a *app) exporters(c *generate.Config, protocol, to []string) (*plan.Plan, error) {
	text, err := yaml.Marshal(yaml.MapSlice{
		{Key: "drain_timeout", Value: "5s"},
		{Key: "sources", Value: yaml.MapSlice{{Key: "exporters", Value: yaml.MapSlice{{Key: "type", Value: "generate"}, {Key: "with", Value: yaml.MapSlice{
			{Key: "protocol", Value: protocol}, {Key: "exporters", Value: c.Exporters}, {Key: "rate", Value: c.Rate}, {Key: "records", Value: c.Records},
			{Key: "datagram_records", Value: c.DatagramRecords}, {Key: "datagram_bytes", Value: c.DatagramBytes}, {Key: "seed", Value: c.Seed},
			{Key: "ipv6", Value: c.IPv6}, {Key: "domains", Value: c.Domains}, {Key: "sampling", Value: c.Sampling},
			{Key: "template_interval", Value: c.TemplateInterval.String()}, {Key: "ring", Value: c.Ring}, {Key: "readers", Value: c.Readers},
		}}}}}},
		{Key: "sinks", Value: collectors(to)},
	})
	if err != nil {
		return nil, err
	}
	p, d := resolve(config.Parse("generate.yaml", text, config.Options{Plugins: a.plugins}))
	if p != nil {
		return p, nil
	}
	var lines []string
	for _, one := range d.List {
		line := flagOf(one.Path) + ": " + one.Message
		if one.Help != "" {
			line += " (" + one.Help + ")"
		}
		lines = append(lines, line)
	}
	return nil, usage("%s", strings.Join(lines, "\nweir: "))
}

// flagOf is the flag that gave the option at a path: sources.exporters.with.datagram_records.
func flagOf(path string) string {
	_, option, _ := strings.Cut(path, ".with.")
	option, _, _ = strings.Cut(option, "[")
	if option == "" {
		return path
	}
	return "--" + strings.ReplaceAll(option, "_", "-")
}
