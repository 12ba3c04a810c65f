package decode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/formats/sequence"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
)

// decode is one lane.
type decode struct {
	env   *sdk.Env
	cfg   *Config
	store *netflow.Store
	told  *exporters // the store, and who waits for templates
	hold  sdk.Shared // on it
	books *sdk.Books

	netflow *netflow.Decoder
	sflow   samples
	wanted  [versions]bool
	outputs outputs  // flows
	counts  *outputs // counters samples; nil: nobody reads them
	parked  park
	limited limited

	payload, addr, port, received, session, thinning int // columns of the input, -1: not there

	// What the call at hand works on.
	parent *sdk.Batch // what the rows being made come of
	out    sdk.Out
	worst  sdk.Outcome
	dg     netflow.Datagram

	records  uint64        // of the tallies, that the books have
	counters uint64        // rows of counters samples, that the books have
	noted    oddities      // of the tallies, that the books have
	reported netflow.Tally // as of the last report
	reportAt time.Time
}

// versions is above all version numbers of the NetFlow family.
const versions = 11

func newDecode(env *sdk.Env, cfg *Config) (*decode, error) {
	d := &decode{env: env, cfg: cfg, books: env.Books}
	col := func(name string) int { return env.In.Index(name) }
	d.payload, d.addr, d.port, d.received, d.session = col("payload"), col("exporter_addr"), col("exporter_port"), col("received"), col(session)
	d.thinning = col(thinning)
	if d.payload < 0 || d.addr < 0 || d.received < 0 {
		return nil, fmt.Errorf("decode: the input has no datagrams but %v", env.In)
	}
	hold, err := env.Share("exporters", func(context.Context) (io.Closer, error) {
		x := newExporters(netflow.Limits{Exporters: cfg.Templates.Exporters, PerExporter: cfg.Templates.PerExporter, Templates: cfg.Templates.Total, Age: cfg.Templates.Age})
		if cfg.Templates.Save {
			var err error
			if x.keeper, err = newKeeper(x.Store, env.Dir, env.Now().UnixNano(), env.Log); err != nil {
				return nil, err
			}
		}
		return x, nil
	})
	if err != nil {
		return nil, err
	}
	d.hold, d.told = hold, hold.Object().(*exporters)
	d.store = d.told.Store
	d.outputs.init(d, portFlows)
	if d.reads(portCounters) {
		d.counts = &outputs{}
		d.counts.init(d, portCounters)
	}
	d.parked.init(d)
	d.netflow = netflow.NewDecoder(d.store, env.Out[0], netflow.Options{Rate: cfg.rateOf(), Window: cfg.TimeWindow, Biflow: biflows[cfg.Biflow], Decapsulate: cfg.decapsulate(), Fields: cfg.sources()}, &d.outputs)
	if err := d.sflow.init(d); err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	for v := range uint16(versions) {
		d.wanted[v] = d.reads(portFlows) && (len(cfg.Protocols) == 0 || slices.Contains(cfg.Protocols, protocolOf(v)))
	}
	return d, nil
}

// reads says whether anybody reads a port.
func (d *decode) reads(port int) bool { return port < len(d.env.Out) && !d.env.Unread(port) }

// Process decodes a batch of datagrams.
func (d *decode) Process(b *sdk.Batch, out sdk.Out) error {
	d.begin(out)
	d.parked.retry(false)
	d.of(b)
	payloads := b.Bytes(d.payload)
	addrs := sdk.Values[[16]byte](b, d.addr)
	received := sdk.Values[int64](b, d.received)
	var ports []uint16
	if d.port >= 0 {
		ports = sdk.Values[uint16](b, d.port)
	}
	var sessions []netflow.Session
	if d.session >= 0 {
		sessions = sdk.Values[netflow.Session](b, d.session)
	}
	var weights []uint32
	if d.thinning >= 0 {
		weights = sdk.Values[uint32](b, d.thinning)
	}
	g, rest := &d.dg, false
	for i, p := range payloads {
		if weights != nil {
			d.limited.add(d.store.Sequences, addrs[i], weights[i])
		}
		if sflow.Is(p) { // the two codecs would wait for each other at each change: one after the other
			rest = true
			continue
		}
		g.Payload, g.Addr, g.Received, g.Again = p, addrs[i], received[i], false
		if ports != nil {
			g.Port = ports[i]
		}
		if sessions != nil {
			g.Session = sessions[i]
		}
		if weights != nil {
			d.weigh(weights[i])
		}
		d.datagram(b)
	}
	if rest {
		d.run()
		d.sflow.process(b, payloads, addrs, ports, weights, received)
	}
	d.run() // the payloads may be gone when this call returns
	d.weigh(1)
	d.limited.tell(d.store.Sequences)
	g.Payload = nil
	d.parked.close()
	d.parent = nil
	b.Done(d.worst)
	b.Release()
	d.end(noLimit)
	return nil
}

// begin and end stand around each call of the core.
func (d *decode) begin(out sdk.Out) {
	d.out, d.worst = out, sdk.Delivered
	d.netflow.Now = d.env.Now().UnixNano()
	d.sflow.dec.Now = d.netflow.Now
}

// end gives out at most limit of the batches that are ready, brings the books up to date and says whether more are ready.
func (d *decode) end(limit int) (more bool) {
	d.run()
	made := d.netflow.Tally.Records + d.sflow.dec.Tally.Records - d.records
	d.records += made
	d.outputs.rows += int64(made)
	given, more := d.outputs.give(limit)
	open := d.outputs.rows
	if c := d.counts; c != nil {
		counted := d.sflow.dec.Tally.CounterRows - d.counters
		d.counters += counted
		c.rows += int64(counted)
		made += counted
		_, others := c.give(limit - given)
		more = more || others
		open += c.rows
	}
	d.books.Produced.Add(made)
	d.note()
	d.books.Open.Set(open)
	d.books.Held.Set(int64(d.parked.n))
	d.parked.tell()
	d.out = nil
	return more
}

// oddities are what is noted beside the records.
type oddities struct{ clamped, names, unknown, frames, lengths, rejected uint64 }

// note brings the books' notes up to date.
func (d *decode) note() {
	t, s := &d.netflow.Tally, &d.sflow.dec.Tally
	now := oddities{t.Clamped, t.NamesFull + s.NamesFull, t.SamplingUnknown + s.SamplingUnknown, t.NotEthernet, t.WrongLengths, 0}
	for _, n := range t.Rejected {
		now.rejected += n
	}
	for _, n := range s.Rejected {
		now.rejected += n
	}
	if now == d.noted {
		return
	}
	d.books.Note(noteClamped, now.clamped-d.noted.clamped)
	d.books.Note(noteNames, now.names-d.noted.names)
	d.books.Note(noteSampling, now.unknown-d.noted.unknown)
	d.books.Note(noteFrames, now.frames-d.noted.frames)
	d.books.Note(noteLengths, now.lengths-d.noted.lengths)
	d.books.Note(noteRejected, now.rejected-d.noted.rejected)
	d.noted = now
}

// run ends what the codecs have begun: afterwards no payload is looked into, and their rows are in the batches. A codec must run
// before another one puts rows into the same batches, for each writes from the row on that it found when it asked.
func (d *decode) run() {
	d.netflow.Run()
	d.sflow.dec.Run()
}

const (
	noLimit = 1 << 30
	most    = 4 // batches that Tick, Flush and Drain may give out at a time
)

// of says what the rows to come are made of, and where they go.
func (d *decode) of(b *sdk.Batch) {
	if d.parent != b {
		d.run() // codecs ask for the batch again, and it is then derived of the new parent
		d.outputs.settle()
		d.parent = b
	}
}

// datagram decodes one datagram of the NetFlow family, or of no protocol that is known, and settles what becomes of it. Which
// of the family it is is told by its first 16 bits.
func (d *decode) datagram(in *sdk.Batch) {
	g := &d.dg
	v := version(g.Payload)
	if protocol := protocolOf(v); protocol != "" && !d.wanted[v] {
		d.books.Drop(reasonNotSelected, 1)
		d.worst = max(d.worst, sdk.Dropped)
		return
	}
	r := d.netflow.Decode(g)
	switch {
	case r.Why == netflow.UnknownVersion:
		d.refuse(in, g.Received, g.Payload, r.Why.String(), "the datagram is not NetFlow v1, v5, v7 or v9, IPFIX or sFlow v5", false)
	case r.Why != netflow.None:
		d.refuse(in, g.Received, g.Payload, r.Why.String(), r.Why.Sentence(), false)
	case len(r.Unknown) > 0:
		d.parked.add(in, g, r)
	default:
		d.used(in, g.Received, g.Payload, r.Used, r.Bad)
	}
}

func version(p []byte) uint16 {
	if len(p) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(p)
}

// protocolOf is the name of a version; empty if it is none that is decoded.
func protocolOf(version uint16) string {
	switch version {
	case netflow.V1:
		return "netflow1"
	case netflow.V5:
		return "netflow5"
	case netflow.V7:
		return "netflow7"
	case netflow.V9:
		return "netflow9"
	case netflow.IPFIX:
		return "ipfix"
	}
	return ""
}

// used ends a datagram of which nothing waits: something of it was used, or all of it was bad, or a part.
func (d *decode) used(of *sdk.Batch, received int64, payload []byte, used bool, bad netflow.Reason) {
	if used || bad == netflow.None {
		d.books.Consumed.Add(1)
	}
	if bad != netflow.None {
		d.refuse(of, received, payload, bad.String(), bad.Sentence(), used)
	}
}

// refuse sends a datagram, or a part of one, to the stream of errors. The core counts it.
func (d *decode) refuse(of *sdk.Batch, received int64, payload []byte, code, message string, part bool) {
	d.out.Error(of, sdk.Fault{Code: code, Message: message, Received: received, Format: "datagram", Payload: payload, Part: part})
}

// Tick gives out what has waited, forgets what is old, and counts what was lost.
func (d *decode) Tick(now time.Time, blocked bool, out sdk.Out) (more bool, err error) {
	ns := now.UnixNano()
	d.store.Expire(ns)
	d.sflow.agents.Expire(ns)
	d.missing(d.store.Sequences.Settle(ns, blocked))
	d.books.Note(noteEvicted, d.store.Evicted())
	if now.Sub(d.reportAt) >= reportEvery {
		d.reportAt = now
		d.report()
	}
	if blocked {
		return false, nil
	}
	d.begin(out)
	d.parked.retry(false)
	d.parked.expire(ns)
	d.run()
	d.finish(nil, false)
	return d.end(most), nil
}

// missing counts what is missing in exporters' sequences.
func (d *decode) missing(l sequence.Lost) {
	d.books.Lost(lostFlows, l.Flows)
	d.books.Lost(lostDatagrams, l.Messages)
	d.books.Note(noteLimitedFlows, l.LimitedFlows)
	d.books.Note(noteLimitedDatagrams, l.LimitedMessages)
}

const reportEvery = time.Minute

// report tells in the log what exporters do that their owner should know and no other count shows: once a minute, if it was done
// since.
func (d *decode) report() {
	now, then := &d.netflow.Tally, &d.reported
	var told []any
	add := func(name string, n uint64) {
		if n > 0 {
			told = append(told, slog.Uint64(name, n))
		}
	}
	add("times_outside_window", now.Clamped-then.Clamped)
	add("flows_without_sampling_rate", now.SamplingUnknown-then.SamplingUnknown)
	add("frames_not_ethernet", now.NotEthernet-then.NotEthernet)
	add("fields_of_wrong_length", now.WrongLengths-then.WrongLengths)
	add("names_without_room", now.NamesFull-then.NamesFull)
	for _, r := range netflow.Reasons() {
		add("rejected_bytes_"+r.String(), now.Rejected[r]-then.Rejected[r])
	}
	d.sflow.report(add)
	if told != nil {
		d.env.Log.Info("oddities of exporters in the last minute", told...)
	}
	d.reported = *now
}

// Flush gives out what is held of a partition.
func (d *decode) Flush(p *sdk.Partition, force bool, out sdk.Out) (held int, more bool, err error) {
	d.begin(out)
	d.parked.retry(true)
	if force {
		d.parked.drop(p, p == nil)
	}
	d.run()
	d.finish(p, p == nil)
	held = d.parked.of(p)
	more = d.end(most)
	return held, more, nil
}

// Drain gives out all. Behind a committing source that stops, what is parked goes unsettled: the next life reads it again.
func (d *decode) Drain(why sdk.Why, last bool, out sdk.Out) (more bool, err error) {
	d.begin(out)
	d.parked.retry(true)
	d.parked.drop(nil, why != sdk.Stopping)
	d.report()
	d.run()
	d.finish(nil, true)
	if last && (why == sdk.InputEnded || why == sdk.Stopping) {
		d.missing(d.store.Sequences.End()) // nothing will come that could be late
	}
	return d.end(most), nil
}

// finish makes the open batches of all ports ready: of partition p, or of all.
func (d *decode) finish(p *sdk.Partition, all bool) {
	d.outputs.finish(p, all)
	if d.counts != nil {
		d.counts.finish(p, all)
	}
}

// Close gives back what is shared.
func (d *decode) Close() error {
	return errors.Join(d.sflow.hold.Close(), d.hold.Close())
}
