package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sources/generate"
	"github.com/weirflow/weir/sources/pcap"
	"github.com/weirflow/weir/sources/tcp"
	"github.com/weirflow/weir/sources/udp"
)

const (
	// A ring has at least so many datagrams, so that no cache of the CPU holds all of it.
	leastRing = 4096
	// A capture file is read up to so many records or bytes.
	mostRecords = 1 << 20
	mostBytes   = 512 << 20

	defaultInput = "generate:v9,ipfix,exporters=50,records=24"
)

// benchInput is what sources give during a measurement.
type benchInput struct {
	name   string // for people
	plugin *sdk.Plugin
	config any
	ring   *ring // of a file
}

func (in *benchInput) close() {
	if in.ring != nil {
		in.ring.release()
	}
}

// newInput chooses the input: what was asked for, else the pipeline's own source `generate`, else the default.
func newInput(p *plan.Plan, asked string) (*benchInput, error) {
	schema, err := inputSchema(p)
	if err != nil {
		return nil, err
	}
	if text, ok := strings.CutPrefix(asked, "generate:"); ok || asked == "" {
		if schema != sdk.Datagram {
			return nil, usage("the pipeline reads packets and not datagrams: give a capture file with --input FILE.pcap")
		}
		if ok {
			return generated(text)
		}
		for _, n := range p.Nodes {
			if c, ok := n.Config.(*generate.Config); ok {
				return ringed(*c, "of its source "+n.ID)
			}
		}
		return generated(strings.TrimPrefix(defaultInput, "generate:"))
	}
	payload := "udp"
	if schema == sdk.Packet {
		payload = "packets"
	}
	return recorded(asked, payload)
}

// inputSchema is what all sources of the pipeline give: only datagrams or packets can be put in their place.
func inputSchema(p *plan.Plan) (*sdk.Schema, error) {
	var schema *sdk.Schema
	for _, n := range p.Nodes {
		if n.Kind != sdk.KindSource {
			continue
		}
		s := n.FullOut[0]
		// Datagrams with the number of their connection, or with what they stand for, which nobody needs if there is none.
		if s == tcp.Schema || s == udp.Thinned {
			s = sdk.Datagram
		}
		if s != sdk.Datagram && s != sdk.Packet || schema != nil && s != schema {
			return nil, usage("the source %s (%s) gives something else than datagrams or packets: bench has no input to put in its place", n.ID, n.Type)
		}
		schema = s
	}
	return schema, nil
}

// generated reads v9,ipfix=2,exporters=50,records=24.
func generated(text string) (*benchInput, error) {
	c := generate.Plugin.Spec.Config().(*generate.Config)
	ints := map[string]*int{"exporters": &c.Exporters, "records": &c.DatagramRecords, "ring": &c.Ring, "seed": &c.Seed, "domains": &c.Domains,
		"sampling": &c.Sampling, "bytes": &c.DatagramBytes}
	var mix emulate.Mix
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		var err error
		if at, ok := ints[name]; ok {
			*at, err = strconv.Atoi(value)
		} else if name == "ipv6" {
			c.IPv6, err = strconv.ParseFloat(value, 64)
		} else {
			var share emulate.Share
			err = share.UnmarshalText([]byte(part))
			mix = append(mix, share)
		}
		if err != nil {
			return nil, usage("--input generate:%s: %s: write it as v9,ipfix=2,exporters=50,records=24", text, plainError(err))
		}
	}
	if mix != nil {
		c.Protocol = mix
	}
	return ringed(*c, "generate:"+text)
}

// plainError is what strconv says without its function's name.
func plainError(err error) string {
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		return fmt.Sprintf("%q is not a number", e.Num)
	}
	return err.Error()
}

// ringed is a source `generate` whose datagrams are built before the clock runs and come as fast as they are taken.
func ringed(c generate.Config, name string) (*benchInput, error) {
	c.Rate, c.Records, c.Readers = 0, 0, 1
	c.Ring = max(c.Ring, leastRing, 2*c.Exporters*c.Domains)
	if err := c.Validate(); err != nil {
		return nil, usage("the input %s: %v", name, err)
	}
	return &benchInput{name: fmt.Sprintf("%s, a ring of %s", name, counted(c.Ring, "datagram")), plugin: &generate.Plugin, config: &c}, nil
}

// recorded reads a capture file into memory.
func recorded(file, payload string) (*benchInput, error) {
	c := pcap.Plugin.Spec.Config().(*pcap.Config)
	c.Path, c.Payload = []string{file}, payload
	if err := c.Validate(); err != nil {
		return nil, usage("--input %s: %v", file, err)
	}
	out, err := pcap.Plugin.Spec.Output(c, nil)
	if err != nil {
		return nil, err
	}
	r := &ring{schema: out[0]}
	env := &sdk.Env{Pipeline: "bench", Node: "input", Log: slog.New(slog.DiscardHandler), Now: time.Now, Pool: sdk.NewPool(nil), Books: new(sdk.Books), Out: out}
	src, err := pcap.Plugin.Source(env, c)
	if err != nil {
		return nil, err
	}
	if err := r.fill(context.Background(), src); err != nil {
		r.release()
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if r.rows == 0 {
		return nil, usage("--input %s: there is no %s in it", file, map[string]string{"udp": "UDP datagram", "packets": "packet"}[payload])
	}
	plugin := r.plugin()
	return &benchInput{name: fmt.Sprintf("%s, %s", file, counted(r.rows, "record")), plugin: &plugin, config: &struct{}{}, ring: r}, nil
}

// fill reads all readers of a source, one after another, up to the limits.
func (r *ring) fill(ctx context.Context, src sdk.Source) (err error) {
	defer func() { err = errors.Join(err, src.Stop(ctx), src.Close(ctx)) }()
	for {
		reader, err := src.Accept(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := errors.Join(r.read(ctx, reader), reader.Close(ctx)); err != nil {
			return err
		}
	}
}

func (r *ring) read(ctx context.Context, reader sdk.Reader) error {
	for r.rows < mostRecords && r.bytes < mostBytes {
		b, err := reader.Read(ctx, 100*time.Millisecond)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if b.Views() {
			b.Own()
		}
		r.batches = append(r.batches, b)
		r.rows += b.Rows()
		r.bytes += b.Held()
	}
	return nil
}
