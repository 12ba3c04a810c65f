package pcap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weirflow/weir/formats/pcap"
	"github.com/weirflow/weir/sdk"
)

const (
	batchRows  = 512
	batchBytes = 256 << 10
	// idleBytes is how much is read in a call that finds no record, a few milliseconds' worth.
	idleBytes = 4 << 20
)

// reader reads one file. Batches look into the slab the file was read into, so nothing is copied but the packet that two
// slabs would share.
type reader struct {
	src  *source
	path string
	file io.ReadCloser
	dec  pcap.Decoder
	part *sdk.Partition
	next int64 // number of the next packet in the file

	slab     *slab
	from, to int   // of what is not parsed in it
	err      error // of the file: io.EOF at its end
	done     bool

	parts   pcap.Assembler // of fragmented datagrams; ended gives up what is not whole
	names   *sdk.Dict      // of interfaces, for packets
	scratch []byte         // a packet that gets an Ethernet header
	count   counts
}

// counts of a call, entered into the books at its end.
type counts struct {
	received, filtered uint64
	refused            [pcap.Malformed + 1]uint64
}

var reasons = [pcap.Malformed + 1]sdk.Reason{pcap.UnknownLink: ReasonLinkType, pcap.NotUDP: ReasonNotUDP, pcap.Fragment: ReasonFragment,
	pcap.ShortFrame: ReasonTruncated, pcap.Malformed: ReasonMalformed}

func newReader(s *source, path string, f io.ReadCloser) *reader {
	return &reader{src: s, path: path, file: f, slab: s.slabs.get(slabBytes), names: sdk.NewDict(),
		part: &sdk.Partition{Source: s.env.Node, Name: path, Life: uint64(s.env.Now().UnixNano())}}
}

func (r *reader) Partition() *sdk.Partition { return r.part }
func (r *reader) Ready() <-chan struct{}    { return nil }

func (r *reader) Close(context.Context) error {
	r.slab.release()
	return r.file.Close()
}

func (r *reader) Read(ctx context.Context, _ time.Duration) (*sdk.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.done || r.src.stopped.Load() {
		r.ended()
		return nil, io.EOF
	}
	first, stop := r.next, r.dec.Offset()+idleBytes
	b := r.src.env.NewBatch(r.src.cols.schema, batchRows)
	rows, err := 0, error(nil)
	for err == nil && rows == 0 && !r.done && r.dec.Offset() < stop {
		if rows, err = r.fill(b); rows == 0 && err == nil && !r.done {
			err = r.more()
		}
	}
	r.enter()
	if rows == 0 {
		b.SetRows(0)
		b.Done(sdk.Dropped)
		b.Release()
		if err == nil && r.done {
			r.ended()
			err = io.EOF
		}
		return nil, err
	}
	b.SetRows(rows)
	b.Seal()
	b.Root(sdk.Range{Partition: r.part, First: first, Last: r.next - 1})
	r.slab.refs.Add(1)
	b.Lend(len(r.slab.mem), r.slab)
	return b, nil
}

// fill makes rows of what the slab holds, until the batch is full or more of the file is needed.
func (r *reader) fill(b *sdk.Batch) (rows int, err error) {
	var p pcap.Packet
	var d pcap.Datagram
	for bytes := 0; rows < batchRows && bytes < batchBytes; {
		n, ok, err := r.dec.Next(r.slab.mem[r.from:r.to], &p)
		if err != nil {
			return rows, r.fault(err)
		}
		if n == 0 {
			break
		}
		r.from += n
		if !ok {
			continue
		}
		r.next++
		var refusal pcap.Refusal
		if r.src.cols.packets {
			refusal = r.packet(b, rows, &p)
		} else {
			var joined, lost int
			refusal, joined, lost = r.parts.UDP(p.Interface.Link, p.Data, p.Time, &d)
			r.count.refuse(pcap.Fragment, lost)
			switch {
			case refusal == pcap.Fragment:
				continue // counted when its datagram is whole, or given up
			case refusal != pcap.OK && joined > 1:
				r.count.refuse(refusal, joined-1)
			case refusal == pcap.OK && r.src.ports != nil && !r.src.ports[d.DstPort]:
				r.count.received++
				r.count.filtered++
				continue
			case refusal == pcap.OK:
				r.src.cols.datagram(b, rows, &d, p.Time, joined > 0)
			}
		}
		if refusal != pcap.OK {
			r.count.refuse(refusal, 1)
			continue
		}
		r.count.received++
		rows++
		bytes += len(p.Data)
	}
	return rows, nil
}

// datagram writes a row. A payload that was joined of fragments is copied: it does not look into the slab.
func (c *columns) datagram(b *sdk.Batch, row int, d *pcap.Datagram, t int64, joined bool) {
	if c.payload >= 0 {
		if joined {
			b.SetBytes(c.payload, row, d.Payload)
		} else {
			b.SetView(c.payload, row, d.Payload)
		}
	}
	if c.addr >= 0 {
		sdk.Claim[[16]byte](b, c.addr, row, 1)[0] = d.Src
	}
	if c.port >= 0 {
		sdk.Claim[uint16](b, c.port, row, 1)[0] = d.SrcPort
	}
	if c.time >= 0 {
		sdk.Claim[int64](b, c.time, row, 1)[0] = t
	}
}

// packet writes a row.
func (r *reader) packet(b *sdk.Batch, row int, p *pcap.Packet) pcap.Refusal {
	c, grown := &r.src.cols, 0
	if p.Interface.Link == pcap.LinkEthernet {
		if c.frame >= 0 {
			b.SetView(c.frame, row, p.Data)
		}
	} else {
		head, rest, refusal := pcap.Ethernet(p.Interface.Link, p.Data)
		if refusal != pcap.OK {
			return refusal
		}
		r.scratch = append(append(r.scratch[:0], head[:]...), rest...)
		grown = len(r.scratch) - len(p.Data)
		if c.frame >= 0 {
			b.SetBytes(c.frame, row, r.scratch)
		}
	}
	if c.captured >= 0 {
		sdk.Claim[int64](b, c.captured, row, 1)[0] = p.Time
	}
	if c.length >= 0 {
		sdk.Claim[uint32](b, c.length, row, 1)[0] = uint32(max(0, int64(p.Length)+int64(grown)))
	}
	if c.interfaceName >= 0 {
		if p.Interface.Mark == 0 && p.Interface.Name != "" {
			i, _ := r.names.Intern(p.Interface.Name) // a file has fewer interfaces than a dictionary has room for
			p.Interface.Mark = uint32(i)
		}
		b.SetDict(c.interfaceName, r.names)
		sdk.Claim[uint16](b, c.interfaceName, row, 1)[0] = uint16(p.Interface.Mark)
	}
	return pcap.OK
}

// more reads on in the file, behind what is not parsed yet. The slab is used again if no batch looks into it.
func (r *reader) more() error {
	if errors.Is(r.err, io.EOF) {
		r.done = true
		if err := r.dec.End(r.to - r.from); err != nil {
			return r.fault(err)
		}
		return nil
	}
	if r.err != nil {
		return r.fault(r.err)
	}
	old, need := r.slab, r.dec.Need()
	if old.refs.Load() > 1 || len(old.mem) < need {
		r.slab = r.src.slabs.get(need)
	}
	r.to = copy(r.slab.mem, old.mem[r.from:r.to])
	r.from = 0
	if r.slab != old {
		old.release()
	}
	for r.to < len(r.slab.mem) && r.err == nil {
		var n int
		n, r.err = r.file.Read(r.slab.mem[r.to:])
		r.to += n
	}
	return nil
}

// fault ends the file early: counted as one record lost, and said once.
func (r *reader) fault(err error) error {
	reason, ok := ended(err)
	at := r.dec.Offset()
	if e, is := errors.AsType[*pcap.Error](err); is {
		at, ok, reason = e.Offset, true, ReasonFileCorrupt
		if e.Why == pcap.Truncated {
			reason = ReasonFileTruncated
		}
	}
	r.done = true
	if !ok {
		return fmt.Errorf("reading %s: %w", r.path, err)
	}
	r.count.received++
	r.src.mu.Lock()
	r.src.env.Books.Drop(reason, 1)
	r.src.mu.Unlock()
	r.src.env.Log.Error("a capture file cannot be read to its end; what stands before is used", "path", r.path, "byte", at, "packets", r.next, "error", err)
	return nil
}

// ended gives up the fragments whose datagrams are not whole.
func (r *reader) ended() {
	r.count.refuse(pcap.Fragment, r.parts.Flush())
	r.enter()
}

// refuse counts n packets of which nothing comes.
func (c *counts) refuse(why pcap.Refusal, n int) {
	c.received += uint64(n)
	c.refused[why] += uint64(n)
}

// enter writes what was counted into the books.
func (r *reader) enter() {
	c, books := &r.count, r.src.env.Books
	r.src.mu.Lock()
	books.Received.Add(c.received)
	books.Filtered.Add(c.filtered)
	for i, n := range c.refused {
		books.Drop(reasons[i], n)
	}
	r.src.mu.Unlock()
	*c = counts{}
}
