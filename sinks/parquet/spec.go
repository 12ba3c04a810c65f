// Package parquet is the sink that writes records to Parquet files in a directory, each complete when it appears.
package parquet

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weirflow/weir/sdk"
)

// Config of the sink.
type Config struct {
	Dir         string   `yaml:"dir" doc:"directory of the files; it must exist" required:"true" example:"./archive"`
	Prefix      string   `yaml:"prefix" doc:"what the files' names begin with; nothing: pipeline-node"`
	Columns     []string `yaml:"columns" doc:"columns to write, in this order; none listed: all" example:"[flow_start, src_addr, dst_addr, bytes]"`
	Roll        Roll     `yaml:"roll" doc:"when a file is closed and the next one begun: at whichever comes first"`
	Compression string   `yaml:"compression" doc:"how pages are compressed" enum:"zstd,snappy,none"`
	Level       int      `yaml:"level" doc:"of zstd, 1 (fast) to 19 (small)"`
	Addresses   string   `yaml:"addresses" doc:"text: IP and MAC addresses are strings, NULL where they are not known; binary: 16 bytes (IPv4 mapped into IPv6) and a uint64" enum:"text,binary"`
}

// Roll says when a file is full.
type Roll struct {
	Size sdk.Size      `yaml:"size" doc:"of the file, about; at least 1 MiB"`
	Age  time.Duration `yaml:"age" doc:"since its first record"`
	Rows int           `yaml:"rows" doc:"records; 0: any number"`
}

// Validate checks what the tags cannot say.
func (c *Config) Validate() error {
	ps := sdk.CheckColumns(c.Columns)
	add := func(path, format string, args ...any) {
		ps = append(ps, &sdk.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if c.Dir == "" {
		add("dir", "the directory of the files is missing")
	}
	if strings.ContainsAny(c.Prefix, "/\\") || strings.HasPrefix(c.Prefix, ".") || strings.HasPrefix(c.Prefix, "-") {
		add("prefix", "a prefix has no slash and does not begin with a dot or a dash")
	}
	if !utf8.ValidString(c.Prefix) || strings.ContainsFunc(c.Prefix, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("*?[]", r) }) {
		add("prefix", "a prefix has characters that can be seen, and none of * ? [ ]: readers find files by patterns")
	}
	if len(c.Prefix) > 128 {
		add("prefix", "a prefix has at most 128 bytes")
	}
	if c.Roll.Size < 1<<20 {
		add("roll.size", "a file is at least 1 MiB")
	}
	if c.Roll.Age <= 0 {
		add("roll.age", "the age is more than 0")
	}
	if c.Roll.Rows < 0 {
		add("roll.rows", "the number of records is 0 or more")
	}
	switch c.Compression {
	case "zstd", "snappy", "none":
	default:
		add("compression", "the compression is one of zstd, snappy and none")
	}
	if c.Compression == "zstd" && (c.Level < 1 || c.Level > 19) {
		add("level", "the level is 1 to 19")
	}
	if c.Addresses != "text" && c.Addresses != "binary" {
		add("addresses", "addresses are text or binary")
	}
	return ps.Err()
}

// Plugin is the sink `parquet`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSink,
		Type: "parquet",
		Doc:  "writes records to Parquet files in a directory",
		Long: "A file is written under a name that begins with `.tmp-` and gets its own, `{prefix}-{time}-{lane}-{number}.parquet` with the\n" +
			"time of its first record's arrival, when it is complete and on disk: what readers see is whole. Records are delivered then\n" +
			"and not before, so a source that commits does so at the pace of `roll`.\n\n" +
			"What a crashed process has left unfinished is removed at the next start: a Parquet file without its end cannot be read.\n" +
			"Only files of this sink's prefix that no process has open are touched. Their records come again from a source that commits;\n" +
			"elsewhere they are lost.\n\n" +
			"Times are timestamps in nanoseconds, UTC. A time or, as text, an address that is not known is NULL. Names and text are\n" +
			"strings, lists are lists. Columns carry their type, unit and description as `weir.type`, `weir.unit` and `weir.doc`.\n\n" +
			"When the disk is full, what is in memory stays there, further blocks wait, and writing goes on when there is space again. A file\n" +
			"whose directory was removed or moved away is written again when the directory is back. Each file that could not be completed at\n" +
			"a try is noted as `files_not_completed`. When the run ends, the open file is completed, or after five seconds removed: its records\n" +
			"are counted accordingly. What still waits when the pipeline stops and `drain_timeout` is over is dropped, and counted as `stopped`.\n\n" +
			"Of its own it takes a row group in memory for each lane, 122,880 records or about 64 MiB before compression, and what a full disk has\n" +
			"not taken of one.",
		Config: func() any {
			return &Config{Compression: "zstd", Level: 3, Addresses: "text", Roll: Roll{Size: 128 << 20, Age: 5 * time.Minute}}
		},
		Needs:  func(cfg any, in *sdk.Schema, _ [][]string) []string { return sdk.Wanted(cfg.(*Config).Columns, in) },
		Copies: func(any) sdk.Size { return mostCopies },
	},
	Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) { return newSink(env, cfg.(*Config)) },
}
