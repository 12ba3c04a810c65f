// Command weir runs typed, columnar pipelines of network telemetry, and tells all about them.
//
// This file holds the one table of built-in plugins. Each command is a file of its own: what it reads and prints, and nothing of
// how a pipeline works.
package main

import (
	"os"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/processors/filter"
	"github.com/weirflow/weir/sinks/discard"
	"github.com/weirflow/weir/sinks/parquet"
	"github.com/weirflow/weir/sinks/stdout"
	sinktcp "github.com/weirflow/weir/sinks/tcp"
	sinkudp "github.com/weirflow/weir/sinks/udp"
	"github.com/weirflow/weir/sources/generate"
	"github.com/weirflow/weir/sources/pcap"
	"github.com/weirflow/weir/sources/tcp"
	"github.com/weirflow/weir/sources/udp"
)

// builtIn are the plugins that the binary has.
func builtIn() *config.Registry {
	return config.NewRegistry(
		generate.Plugin,
		pcap.Plugin,
		tcp.Plugin,
		udp.Plugin,

		decode.Plugin,
		filter.Plugin,

		discard.Plugin,
		parquet.Plugin,
		stdout.Plugin,
		sinktcp.Plugin,
		sinkudp.Plugin,
	)
}

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }
