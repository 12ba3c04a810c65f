package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/weirflow/weir/sdk"
)

// What crosses the loop-back, one type for each thing of the contracts.

// wireBatch is a batch as an Arrow IPC stream of one record.
type wireBatch struct {
	IPC   []byte
	Range wireRange
}

type wireRange struct {
	Part        wirePart
	First, Last int64
}

// wirePart names a partition by who made it and a number.
type wirePart struct {
	Some         bool // there is one
	Theirs       bool // the receiver made it
	ID           int
	Source, Name string
	Life         uint64
	MayGo        bool // it has a Gone
}

// parts are the partitions that have crossed a link: each is one object on each side, as its identity is that of its life.
type parts struct {
	link *link
	mu   sync.Mutex
	mine []*sdk.Partition
	his  map[int]*hisPart
}

type hisPart struct {
	p    *sdk.Partition
	gone chan struct{}
}

// export names p for the other end and tells it when p is gone.
func (ps *parts) export(p *sdk.Partition) wirePart {
	if p == nil {
		return wirePart{}
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, h := range ps.his {
		if h.p == p {
			return wirePart{Some: true, Theirs: true, ID: id}
		}
	}
	w := wirePart{Some: true, Source: p.Source, Name: p.Name, Life: p.Life, MayGo: p.Gone != nil}
	for id, m := range ps.mine {
		if m == p {
			w.ID = id
			return w
		}
	}
	w.ID = len(ps.mine)
	ps.mine = append(ps.mine, p)
	if p.Gone != nil {
		ps.link.work.Go(func() {
			select {
			case <-p.Gone:
				ps.link.notify("gone", w.ID)
			case <-ps.link.closed:
			}
		})
	}
	return w
}

// find is the partition that w names, made at first sight.
func (ps *parts) find(w wirePart) *sdk.Partition {
	if !w.Some {
		return nil
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if w.Theirs {
		return ps.mine[w.ID]
	}
	h := ps.his[w.ID]
	if h == nil {
		h = &hisPart{p: &sdk.Partition{Source: w.Source, Name: w.Name, Life: w.Life}}
		if w.MayGo {
			h.gone = make(chan struct{})
			h.p.Gone = h.gone
		}
		if ps.his == nil {
			ps.his = map[int]*hisPart{}
		}
		ps.his[w.ID] = h
	}
	return h.p
}

// gone closes the Gone of a partition of the other end.
func (ps *parts) gone(id int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	close(ps.his[id].gone)
}

// pack encodes a batch; the caller keeps it.
func (l *link) pack(b *sdk.Batch) wireBatch {
	rec := b.Arrow()
	defer rec.Release()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(rec.Schema()))
	if err := w.Write(rec); err != nil {
		panic(fmt.Sprintf("sdktest: write Arrow IPC: %v", err))
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("sdktest: write Arrow IPC: %v", err))
	}
	r := b.Range()
	return wireBatch{buf.Bytes(), wireRange{l.parts.export(r.Partition), r.First, r.Last}}
}

// unpack builds the batch in p, with its range and no promise.
func (l *link) unpack(p *sdk.Pool, s *sdk.Schema, w wireBatch) (*sdk.Batch, error) {
	r, err := ipc.NewReader(bytes.NewReader(w.IPC))
	if err != nil {
		return nil, fmt.Errorf("read Arrow IPC: %w", err)
	}
	defer r.Release()
	var rec arrow.RecordBatch
	if rec, err = r.Read(); err != nil {
		return nil, fmt.Errorf("read Arrow IPC: %w", err)
	}
	b, err := sdk.FromArrow(p, s, rec)
	if err != nil {
		return nil, err
	}
	b.Root(l.rangeOf(w.Range))
	return b, nil
}

func (l *link) rangeOf(w wireRange) sdk.Range {
	return sdk.Range{Partition: l.parts.find(w.Part), First: w.First, Last: w.Last}
}

// wireError carries an error's class, code and rows, and which of the errors that mean something it was.
type wireError struct {
	Message  string
	Typed    bool
	Class    sdk.Class
	Code     string
	Rows     []int
	Sentinel int // index into sentinels + 1
	NotReady *sdk.NotReady
}

var sentinels = []error{io.EOF, context.Canceled, context.DeadlineExceeded, sdk.ErrPositionFull, sdk.ErrRevoked}

func wireErrorOf(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Message: err.Error()}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			w.Sentinel = i + 1
		}
	}
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		w.Typed, w.Class, w.Code, w.Rows = true, e.Class, e.Code, e.Rows
		w.Message = e.Err.Error()
	}
	if e, ok := errors.AsType[*sdk.NotReady](err); ok {
		w.NotReady = &sdk.NotReady{What: e.What, Do: e.Do}
	}
	return w
}

func (w *wireError) error() error {
	if w == nil {
		return nil
	}
	err := errors.New(w.Message)
	if w.Sentinel > 0 {
		if err = sentinels[w.Sentinel-1]; err.Error() != w.Message {
			err = fmt.Errorf("%s: %w", w.Message, err)
		}
	}
	switch {
	case w.Typed:
		return &sdk.Error{Class: w.Class, Code: w.Code, Rows: w.Rows, Err: err}
	case w.NotReady != nil:
		return w.NotReady
	}
	return err
}

// wireBooks are the guest's books as it last told them; the host adds the difference to its own.
type wireBooks struct {
	Serial                                                      uint64
	Forwarded, Filtered, Consumed, Produced, Restored, Received uint64
	Held, Open, InHand                                          int64
	Dropped, Lost, Noted                                        map[sdk.Reason]uint64
}

var readings atomic.Uint64

func readBooks(b *sdk.Books) wireBooks {
	w := wireBooks{
		Serial:    readings.Add(1),
		Forwarded: b.Forwarded.Load(), Filtered: b.Filtered.Load(), Consumed: b.Consumed.Load(), Produced: b.Produced.Load(),
		Restored: b.Restored.Load(), Received: b.Received.Load(),
		Held: b.Held.Load(), Open: b.Open.Load(), InHand: b.InHand.Load(),
		Dropped: map[sdk.Reason]uint64{}, Lost: map[sdk.Reason]uint64{}, Noted: map[sdk.Reason]uint64{},
	}
	b.Dropped(func(r sdk.Reason, n uint64) { w.Dropped[r] = n })
	b.Losses(func(r sdk.Reason, n uint64) { w.Lost[r] = n })
	b.Notes(func(r sdk.Reason, n uint64) { w.Noted[r] = n })
	return w
}

// copyBooks is the host's side.
type copyBooks struct {
	mu   sync.Mutex
	to   *sdk.Books
	seen wireBooks
}

// set takes a reading over. Readings of two calls may arrive in either order, so a count only grows, and of levels the latest
// reading holds.
func (c *copyBooks) set(w wireBooks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.seen
	for _, x := range []struct {
		to       *sdk.Count
		now, was *uint64
	}{
		{&c.to.Forwarded, &w.Forwarded, &s.Forwarded}, {&c.to.Filtered, &w.Filtered, &s.Filtered},
		{&c.to.Consumed, &w.Consumed, &s.Consumed}, {&c.to.Produced, &w.Produced, &s.Produced},
		{&c.to.Restored, &w.Restored, &s.Restored}, {&c.to.Received, &w.Received, &s.Received},
	} {
		if *x.now > *x.was {
			x.to.Add(*x.now - *x.was)
			*x.was = *x.now
		}
	}
	if w.Serial > s.Serial {
		s.Serial = w.Serial
		c.to.Held.Set(w.Held)
		c.to.Open.Set(w.Open)
		c.to.InHand.Set(w.InHand)
	}
	reasons := func(now map[sdk.Reason]uint64, was *map[sdk.Reason]uint64, count func(sdk.Reason, uint64)) {
		if *was == nil {
			*was = map[sdk.Reason]uint64{}
		}
		for r, n := range now {
			if n > (*was)[r] {
				count(r, n-(*was)[r])
				(*was)[r] = n
			}
		}
	}
	reasons(w.Dropped, &s.Dropped, c.to.Drop)
	reasons(w.Lost, &s.Lost, c.to.Lost)
	reasons(w.Noted, &s.Noted, c.to.Note)
}

// copyConfig takes a configuration across as JSON. One that JSON does not give back whole crosses as it is: the real link sends
// what the user wrote, and the guest reads that.
func copyConfig(s *sdk.Spec, cfg any) any {
	if cfg == nil || s.Config == nil {
		return cfg
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return cfg
	}
	c := s.Config()
	if json.Unmarshal(text, c) != nil || !reflect.DeepEqual(c, cfg) {
		return cfg
	}
	return c
}

// copySchema makes the guest's own.
func copySchema(s *sdk.Schema) *sdk.Schema {
	if s == nil {
		return nil
	}
	var f []sdk.Field
	decode(encode(s.Fields()), &f)
	return sdk.NewSchema(f...)
}
