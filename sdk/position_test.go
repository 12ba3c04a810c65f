package sdk

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func drawPosition(t *rapid.T) Position {
	p := Position{Stored: rapid.Int64Range(-1, math.MaxInt64/2).Draw(t, "stored"), StoredBy: rapid.Uint64().Draw(t, "by")}
	last := p.Stored
	for range rapid.IntRange(0, 12).Draw(t, "ends") {
		last += rapid.Int64Range(1, 1<<40).Draw(t, "distance")
		e := End{Last: last, Sinks: rapid.Uint64().Draw(t, "sinks")}
		for id, note := range rapid.MapOfN(rapid.StringN(0, 12, 40), rapid.SliceOfN(rapid.Byte(), 0, MaxNote), 0, 2).Draw(t, "notes") {
			if e.Notes == nil {
				e.Notes = map[string][]byte{}
			}
			e.Notes[id] = note
		}
		p.Ends = append(p.Ends, e)
	}
	return p
}

func TestPositionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPosition(t)
		text, err := p.AppendBinary([]byte("before"))
		if errors.Is(err, ErrPositionFull) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.TrimPrefix(text, []byte("before"))
		if len(text) > MaxPosition || !utf8.Valid(text) {
			t.Fatalf("%d bytes: %q", len(text), text)
		}
		got, err := ParsePosition(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal("(-want +got):", d)
		}
		again, err := got.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("encoded again it is %q (%v), not %q", again, err, text)
		}
	})
}

// A position takes ends until it is full, says so then, and is whole up to there.
func TestPositionFull(t *testing.T) {
	p := Position{Stored: 1 << 40, StoredBy: 1}
	for {
		p.Ends = append(p.Ends, End{Last: 1<<40 + int64(len(p.Ends)+1)*100_000, Sinks: 3})
		if _, err := p.AppendBinary(nil); errors.Is(err, ErrPositionFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(p.Ends) < 500 {
		t.Errorf("only %d segments can be prepared", len(p.Ends))
	}
	p.Ends = p.Ends[:len(p.Ends)-1]
	text, err := p.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, got); d != "" {
		t.Error("(-want +got):", d)
	}
}

func TestPositionRefuses(t *testing.T) {
	for name, p := range map[string]Position{
		"falling ends":       {Stored: 5, Ends: []End{{Last: 9}, {Last: 9}}},
		"end below stored":   {Stored: 5, Ends: []End{{Last: 5}}},
		"stored before none": {Stored: -2},
		"long note":          {Ends: []End{{Last: 9, Notes: map[string][]byte{"bq": make([]byte, MaxNote+1)}}}},
	} {
		if text, err := p.AppendBinary(nil); err == nil || errors.Is(err, ErrPositionFull) {
			t.Errorf("%s: encoded as %q, %v", name, text, err)
		}
	}
	good, err := Position{Stored: 7, Ends: []End{{Last: 9, Sinks: 1, Notes: map[string][]byte{"bq": []byte("stream")}}}}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range good {
		if p, err := ParsePosition(good[:cut]); err == nil {
			t.Errorf("cut off after %d bytes it reads as %v", cut, p)
		}
	}
	for _, text := range [][]byte{nil, []byte("2AAAA"), []byte("{}"), append(good, "AAAA"...), bytes.Repeat([]byte("1"), MaxPosition+1)} {
		if p, err := ParsePosition(text); err == nil {
			t.Errorf("%.20q reads as %v", text, p)
		}
	}
}

// FuzzParsePosition: whatever is accepted is a position that encodes and reads back as itself.
func FuzzParsePosition(f *testing.F) {
	for _, p := range []Position{{Stored: -1}, {Stored: 7, StoredBy: 9, Ends: []End{{Last: 9, Sinks: 1, Notes: map[string][]byte{"bq": []byte("stream")}}, {Last: 12}}}} {
		text, err := p.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePosition(text)
		if err != nil {
			return
		}
		again, err := p.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParsePosition(again)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, q, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}
