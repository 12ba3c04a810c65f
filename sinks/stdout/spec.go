// Package stdout is the sink that writes records to standard output or standard error: as JSON or CSV for programs, as a table
// for people.
package stdout

import "github.com/weirflow/weir/sdk"

// Config of the sink.
type Config struct {
	Format  string   `yaml:"format" doc:"json: one object a line; csv: RFC 4180, lines ended by a line feed; table: aligned columns for people" enum:"json,csv,table"`
	Columns []string `yaml:"columns" doc:"columns to write, in this order; none listed: all" example:"[flow_start, src_addr, dst_addr, bytes]"`
	Header  bool     `yaml:"header" doc:"write the names of the columns above csv and table"`
	Output  string   `yaml:"output" doc:"where to write" enum:"stdout,stderr"`
}

// Validate checks what the tags cannot say.
func (c *Config) Validate() error {
	ps := sdk.CheckColumns(c.Columns)
	if c.Format != "json" && c.Format != "csv" && c.Format != "table" {
		ps = append(ps, &sdk.Problem{Path: "format", Message: "the format is one of json, csv and table"})
	}
	if c.Output != "stdout" && c.Output != "stderr" {
		ps = append(ps, &sdk.Problem{Path: "output", Message: "the output is stdout or stderr"})
	}
	return ps.Err()
}

// Plugin is the sink `stdout`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSink,
		Type: "stdout",
		Doc:  "writes records to standard output as JSON, CSV or a table",
		Long: "`json` writes one object a line and leaves out what is zero: an exporter that did not send a field and one that sent 0 look\n" +
			"the same. Addresses are text, IPv4 as such; MACs are aa:bb:cc:dd:ee:ff; times are RFC 3339 in UTC with as many digits as they\n" +
			"have, up to nanoseconds; bytes are base64; lists are arrays. Text that is no UTF-8 has U+FFFD where it is not, and control\n" +
			"characters are escaped.\n\n" +
			"`csv` writes every column in every line; an unknown address, MAC or time is empty, lists are separated by spaces. Text is\n" +
			"written byte by byte as it is.\n\n" +
			"`table` is for eyes: numbers of bytes are short (1.2M), times are the time of day in UTC, what is zero is empty, control\n" +
			"characters are dots. On a terminal lines are clipped to its width, the header comes again with every screenful, and\n" +
			"columns in which a screenful has nothing are left out unless `columns` lists them.\n\n" +
			"Without a queue it runs in the lanes in front of it, and each of them encodes; behind one (`queue`, several inputs, `ack: optional`)\n" +
			"it has one lane unless `lanes` says more. Lines are whole and each lane's come in its order.\n\n" +
			"Delivered means that the kernel has taken the bytes. When whoever reads the output goes away, the pipeline stops; so it does when\n" +
			"the disk behind it is full, or the terminal is gone: what is half written cannot be written again.\n\n" +
			"Each lane has a buffer of 64 KiB and the longest line, of which up to 512 KiB are kept; a table's, up to 24 MiB.",
		Config: func() any { return &Config{Format: "json", Header: true, Output: "stdout"} },
		Needs:  func(cfg any, in *sdk.Schema, _ [][]string) []string { return sdk.Wanted(cfg.(*Config).Columns, in) },
		Copies: func(cfg any) sdk.Size { return cfg.(*Config).copies() },
		Fuses:  true,
	},
	Sink: func(_ *sdk.Env, cfg any) (sdk.Sink, error) {
		c := cfg.(*Config)
		return newSink(c, standard(c.Output)), nil
	},
}
