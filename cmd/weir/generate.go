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
	sinktcp "github.com/weirflow/weir/sinks/tcp"
	"github.com/weirflow/weir/sources/generate"
)

// generateCommand is a pipeline as one line: emulated exporters into the sinks udp and tcp.
func (a *app) generateCommand() *cobra.Command {
	c := generate.Plugin.Spec.Config().(*generate.Config)
	c.Rate = 1000            // without a rate a network is flooded
	c.DistinctDomains = true // all datagrams come from one address
	var to, protocol []string
	var tls sinktcp.TLS
	var duration time.Duration
	drain := 5 * time.Second
	cmd := &cobra.Command{
		Use:   "generate --to HOST:PORT",
		Short: "Send flows of emulated exporters to a collector",
		Long: "Plays a network of exporters that send NetFlow v5, NetFlow v9, IPFIX or sFlow to a collector: templates, sampler tables, sequence\n" +
			"numbers and flows as in real traffic. It is the source `generate` before the sinks `udp` and `tcp`, with the same account at\n" +
			"the end, with -o json on standard output. To tcp://HOST:PORT each exporter makes a connection, encrypted to tls://HOST:PORT, and\n" +
			"sends IPFIX alone.\n\n" +
			"What goes wrong on the way can be asked for: --burst, --loss, --reorder, --template-flood. The account says as emulated_loss how\n" +
			"many flows and datagrams were not sent: a collector that counts right misses exactly those.\n\n" +
			"To find what a collector can take, run this on another machine, or on other cores, and double --rate until the collector misses\n" +
			"something: records in its output and gaps in its sequences against what was sent here. With --rate 0 one core makes and sends some\n" +
			"millions of records a second over loopback, with --gso twice as many, with --ring 4096 more still (but then sequence numbers come\n" +
			"round). If it cannot keep a rate the account shows fewer records than rate and time make: use --readers then. docs/guides/sizing.md\n" +
			"goes through it.",
		Example: "  weir generate --to 127.0.0.1:2055\n" +
			"  weir generate --to 127.0.0.1:2055 --protocol v9,ipfix=2 --exporters 50 --rate 100000 --for 30s\n" +
			"  weir generate --to 127.0.0.1:2055 --rate 100000 --burst 64 --loss 0.01 --reorder 0.05\n" +
			"  weir generate --to 127.0.0.1:2055 --template-flood 100000 --flood-exporters 0.02\n" +
			"  weir generate --to tls://collector.example.net:4740 --ca ca.crt \\\n" +
			"    --cert exporter.crt --key exporter.key --exporters 50",
		Args: cobra.NoArgs,
	}
	summary := choiceFlag(cmd, "summary", "", "how to account for every record at the end, on standard error", "table", "json", "none")
	form := outputFlag(cmd, "text", "json")
	level := choiceFlag(cmd, "log-level", "", "least severity that is logged", "warn", "debug", "info", "error")
	f := cmd.Flags()
	f.StringSliceVar(&to, "to", nil, "collector, host:port, tcp://host:port or tls://host:port; of several each gets every datagram")
	f.StringSliceVar(&protocol, "protocol", []string{"v9"}, "v5, v9, ipfix, sflow; several with weights for their shares of the records: v9,ipfix=2 (over TCP: ipfix)")
	f.IntVar(&c.Exporters, "exporters", c.Exporters, "number of exporters")
	f.IntVar(&c.Rate, "rate", c.Rate, "flow records per second; 0: as fast as possible")
	f.IntVar(&c.Records, "records", c.Records, "flow records to send; 0: endless")
	f.DurationVar(&duration, "for", 0, "stop after this time (30s, 5m)")
	f.DurationVar(&drain, "drain-timeout", drain, "how long collectors may take, at the end, to accept what is still to be sent")
	f.IntVar(&c.DatagramRecords, "datagram-records", c.DatagramRecords, "most flow records in a datagram")
	f.IntVar(&c.DatagramBytes, "datagram-bytes", c.DatagramBytes, "most bytes in a datagram")
	f.IntVar(&c.Seed, "seed", c.Seed, "chooses the hosts and flows")
	f.Float64Var(&c.IPv6, "ipv6", c.IPv6, "share of IPv6 flows, 0 to 1")
	f.IntVar(&c.Domains, "domains", c.Domains, "observation domains of each exporter")
	f.BoolVar(&c.DistinctDomains, "distinct-domains", c.DistinctDomains, "no two exporters have a domain in common: a collector tells them apart though all come from one address")
	source := choiceFlag(cmd, "source", "", "address that datagrams come from: this host's, or keep, each exporter's own (needs Linux and CAP_NET_RAW)", "own", "keep")
	f.IntVar(&c.Sampling, "sampling", c.Sampling, "packets that one sampled packet stands for")
	f.DurationVar(&c.TemplateInterval, "template-interval", c.TemplateInterval, "how often templates are repeated")
	f.IntVar(&c.Ring, "ring", c.Ring, "build so many datagrams first and repeat them; 0: always new ones")
	gso := f.Bool("gso", false, "let the network card cut pieces of many datagrams: two to three times as fast (Linux; see the sink udp)")
	f.IntVar(&c.Burst, "burst", c.Burst, "datagrams of flows that go out back to back, the rate being kept on average; 0: what 5 ms bring")
	f.Float64Var(&c.Loss, "loss", c.Loss, "share of the datagrams of flows, 0 to 0.9, that take a sequence number and are not sent")
	f.Float64Var(&c.Reorder, "reorder", c.Reorder, "share of the datagrams of flows, 0 to 1, that later ones overtake")
	f.IntVar(&c.ReorderWindow, "reorder-window", c.ReorderWindow, "most datagrams that one is overtaken by")
	f.IntVar(&c.TemplateFlood, "template-flood", c.TemplateFlood, "different templates a second that exporters announce beside their own; 0: none")
	f.Float64Var(&c.FloodExporters, "flood-exporters", c.FloodExporters, "share of the exporters that take part in the template flood")
	f.StringVar(&tls.CA, "ca", "", "to tls://: file of the authorities, PEM, that the collector's certificate is checked against; without it the system's")
	f.StringVar(&tls.Cert, "cert", "", "to tls://: file of the certificate that is shown to the collector, PEM")
	f.StringVar(&tls.Key, "key", "", "to tls://: file of that certificate's private key, PEM")
	f.StringVar(&tls.ServerName, "server-name", "", "to tls://: name that the collector's certificate must have; without it the host")
	f.IntVar(&c.Readers, "readers", c.Readers, "threads that make datagrams")
	cmd.RunE = do(func(cmd *cobra.Command, _ []string) error {
		if len(to) == 0 {
			return usage("say where to: --to 127.0.0.1:2055")
		}
		if duration < 0 {
			return usage("--for %v: it is a time from now", duration)
		}
		secure := slices.ContainsFunc(to, func(s string) bool { return strings.HasPrefix(s, overTLS) })
		over := secure || slices.ContainsFunc(to, func(s string) bool { return strings.HasPrefix(s, overTCP) })
		if tls != (sinktcp.TLS{}) && !secure {
			return usage("--ca, --cert, --key and --server-name are for a collector that is reached by TLS: write it as --to tls://host:port")
		}
		if over && !cmd.Flags().Changed("protocol") {
			protocol = []string{"ipfix"}
		}
		if over && slices.ContainsFunc(protocol, func(s string) bool { return s != "ipfix" && !strings.HasPrefix(s, "ipfix=") }) {
			return usage("over TCP only IPFIX can be sent: leave --protocol out or say --protocol ipfix")
		}
		p, err := a.exporters(c, protocol, to, &transport{tls: tls, source: source.value, gso: *gso, drain: drain})
		if err != nil {
			return err
		}
		settings := config.DefaultSettings()
		settings.Admin, settings.LogLevel = config.AdminOff, level.value
		if form.value == "json" {
			settings.LogFormat = "json"
			if !cmd.Flags().Changed("summary") {
				summary.value = "json"
			}
		}
		run := a.process(&settings, duration)
		if form.value == "json" {
			run.account = a.out
		}
		return run.runAll([]*plan.Plan{p}, true, summary.value)
	})
	return cmd
}

// How a collector is reached, before its host and port; by UDP without.
const (
	overTCP = "tcp://"
	overTLS = "tls://"
)

// transport is how datagrams and messages go out.
type transport struct {
	tls    sinktcp.TLS
	source string
	gso    bool
	drain  time.Duration
}

// collectors are the sinks: one for all that take datagrams, and one for each that takes connections.
func collectors(to []string, by *transport) (sinks yaml.MapSlice) {
	sink := func(id, kind string, with yaml.MapSlice) {
		sinks = append(sinks, yaml.MapItem{Key: id, Value: yaml.MapSlice{{Key: "type", Value: kind}, {Key: "with", Value: with}}})
	}
	var datagrams []string
	for i, address := range to {
		id := fmt.Sprintf("collector_tcp_%d", i+1)
		if host, ok := strings.CutPrefix(address, overTCP); ok {
			sink(id, "tcp", yaml.MapSlice{{Key: "to", Value: host}})
		} else if host, ok := strings.CutPrefix(address, overTLS); ok {
			sink(id, "tcp", yaml.MapSlice{{Key: "to", Value: host}, {Key: "tls", Value: yaml.MapSlice{{Key: "enabled", Value: true}, {Key: "ca", Value: by.tls.CA},
				{Key: "cert", Value: by.tls.Cert}, {Key: "key", Value: by.tls.Key}, {Key: "server_name", Value: by.tls.ServerName}}}})
		} else {
			datagrams = append(datagrams, address)
		}
	}
	if datagrams != nil {
		sink("collector", "udp", yaml.MapSlice{{Key: "to", Value: datagrams}, {Key: "source", Value: by.source}, {Key: "gso", Value: by.gso}})
	}
	return sinks
}

// exporters writes the pipeline and lays it out. What is wrong with it is wrong with a flag.
func (a *app) exporters(c *generate.Config, protocol, to []string, by *transport) (*plan.Plan, error) {
	text, err := yaml.Marshal(yaml.MapSlice{
		{Key: "drain_timeout", Value: by.drain.String()},
		{Key: "sources", Value: yaml.MapSlice{{Key: "exporters", Value: yaml.MapSlice{{Key: "type", Value: "generate"}, {Key: "with", Value: yaml.MapSlice{
			{Key: "protocol", Value: protocol}, {Key: "exporters", Value: c.Exporters}, {Key: "rate", Value: c.Rate}, {Key: "records", Value: c.Records},
			{Key: "datagram_records", Value: c.DatagramRecords}, {Key: "datagram_bytes", Value: c.DatagramBytes}, {Key: "seed", Value: c.Seed},
			{Key: "ipv6", Value: c.IPv6}, {Key: "domains", Value: c.Domains}, {Key: "distinct_domains", Value: c.DistinctDomains}, {Key: "sampling", Value: c.Sampling},
			{Key: "template_interval", Value: c.TemplateInterval.String()}, {Key: "ring", Value: c.Ring}, {Key: "readers", Value: c.Readers},
			{Key: "burst", Value: c.Burst}, {Key: "loss", Value: c.Loss}, {Key: "reorder", Value: c.Reorder}, {Key: "reorder_window", Value: c.ReorderWindow},
			{Key: "template_flood", Value: c.TemplateFlood}, {Key: "flood_exporters", Value: c.FloodExporters},
		}}}}}},
		{Key: "sinks", Value: collectors(to, by)},
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
	_, option, of := strings.Cut(path, ".with.")
	if !of {
		option = path
	}
	option, _, _ = strings.Cut(strings.TrimPrefix(option, "tls."), "[")
	return "--" + strings.ReplaceAll(option, "_", "-")
}
