package sdk

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// positionVersion is the first byte of an encoded position. Another one is another layout.
const positionVersion = '1'

var positionText = base64.RawURLEncoding

// AppendBinary appends the encoding of p to b: a version byte, then, in base64, Stored (a varint), StoredBy (8 bytes, big endian),
// the number of ends and for each end the distance of Last from the one before (the first: from Stored), Sinks, the number of notes
// and the notes by ascending sink id, each id and note with its length in front; all numbers uvarints. It is printable ASCII, for a
// Kafka broker keeps the metadata of a commit as a string and mangles bytes that are no UTF-8. Next and Partition are not in it:
// the store that keeps a position has them beside it.
//
// ErrPositionFull: the encoding would be longer than MaxPosition. Ends that do not ascend from Stored and notes longer than
// MaxNote are errors.
func (p Position) AppendBinary(b []byte) ([]byte, error) {
	if p.Stored < -1 {
		return nil, fmt.Errorf("position is stored up to %d, which is before the first", p.Stored)
	}
	raw := make([]byte, 0, 256)
	raw = binary.AppendVarint(raw, p.Stored)
	raw = binary.BigEndian.AppendUint64(raw, p.StoredBy)
	raw = binary.AppendUvarint(raw, uint64(len(p.Ends)))
	last := p.Stored
	for _, e := range p.Ends {
		if e.Last <= last {
			return nil, fmt.Errorf("end %d of a prepared segment does not lie above %d", e.Last, last)
		}
		raw = binary.AppendUvarint(raw, uint64(e.Last-last))
		raw = binary.AppendUvarint(raw, e.Sinks)
		raw = binary.AppendUvarint(raw, uint64(len(e.Notes)))
		last = e.Last
		for _, id := range slices.Sorted(maps.Keys(e.Notes)) {
			note := e.Notes[id]
			if len(note) > MaxNote {
				return nil, fmt.Errorf("the note of sink %s has %d bytes, and at most %d are kept", id, len(note), MaxNote)
			}
			raw = binary.AppendUvarint(raw, uint64(len(id)))
			raw = append(raw, id...)
			raw = binary.AppendUvarint(raw, uint64(len(note)))
			raw = append(raw, note...)
		}
		if len(raw) > MaxPosition {
			return nil, ErrPositionFull
		}
	}
	if 1+positionText.EncodedLen(len(raw)) > MaxPosition {
		return nil, ErrPositionFull
	}
	return positionText.AppendEncode(append(b, positionVersion), raw), nil
}

var errPositionShort = errors.New("it ends too early")

// ParsePosition is the inverse of AppendBinary. What another version or somebody else wrote is an error, never a panic and never
// more memory than a few times MaxPosition.
func ParsePosition(text []byte) (Position, error) {
	p, err := parsePosition(text)
	if err != nil {
		return Position{}, fmt.Errorf("not a saved position: %w", err)
	}
	return p, nil
}

func parsePosition(text []byte) (p Position, err error) {
	switch {
	case len(text) == 0:
		return p, errPositionShort
	case len(text) > MaxPosition:
		return p, fmt.Errorf("it has %d bytes, more than %d", len(text), MaxPosition)
	case text[0] != positionVersion:
		return p, fmt.Errorf("its version is %q, not %q", text[0], positionVersion)
	}
	raw, err := positionText.AppendDecode(nil, text[1:])
	if err != nil {
		return p, err
	}
	r := positionReader{rest: raw}
	stored, n := binary.Varint(r.rest)
	if n <= 0 || len(r.rest) < n+8 {
		return p, errPositionShort
	}
	if stored < -1 {
		return p, fmt.Errorf("it is stored up to %d", stored)
	}
	p.Stored, p.StoredBy = stored, binary.BigEndian.Uint64(r.rest[n:])
	r.rest = r.rest[n+8:]
	// An end takes 3 bytes at least and a note 2: counts are bounded by what is there before anything is made for them.
	if ends := r.count(3); ends > 0 {
		p.Ends = make([]End, ends)
	}
	last := stored
	for i := range p.Ends {
		e := &p.Ends[i]
		e.Last = last + int64(r.number())
		if r.err == nil && e.Last <= last {
			return p, fmt.Errorf("end %d does not lie above %d", e.Last, last)
		}
		last = e.Last
		e.Sinks = r.number()
		notes := r.count(2)
		if notes > 0 {
			e.Notes = make(map[string][]byte, notes)
		}
		for range notes {
			id := string(r.bytes(len(r.rest)))
			note := r.bytes(MaxNote)
			if _, twice := e.Notes[id]; twice && r.err == nil {
				return p, fmt.Errorf("it has two notes of sink %q at one end", id)
			}
			e.Notes[id] = note
		}
		if r.err != nil {
			break
		}
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes follow it", len(r.rest))
	}
	return p, r.err
}

// positionReader reads numbers and bytes; its first error stays.
type positionReader struct {
	rest []byte
	err  error
}

func (r *positionReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.rest, r.err = nil, firstErr(r.err, errPositionShort)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count of things that take at least size bytes each.
func (r *positionReader) count(size int) int {
	n := r.number()
	if n > uint64(len(r.rest)/size) {
		r.err = firstErr(r.err, errPositionShort)
		return 0
	}
	return int(n)
}

func (r *positionReader) bytes(most int) []byte {
	n := r.number()
	if n > uint64(min(most, len(r.rest))) {
		r.rest, r.err = nil, firstErr(r.err, errPositionShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func firstErr(first, then error) error {
	if first != nil {
		return first
	}
	return then
}
