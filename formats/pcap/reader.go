package pcap

import (
	"errors"
	"io"
)

// Reader reads packets from a stream. Its buffer grows with the largest record met, to MaxRecord at most.
type Reader struct {
	src  io.Reader
	dec  Decoder
	buf  []byte
	from int // of what is not consumed in buf
	err  error
}

// NewReader makes a reader of the file that src gives from its first byte on. The format is found out at the first Next.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, buf: make([]byte, 0, 64<<10)} }

// Next reads the next packet into p, whose Data is valid until the next call. The end of the file is io.EOF; what is wrong
// with the file is an [Error]; other errors are those of the stream.
func (r *Reader) Next(p *Packet) error {
	for {
		n, ok, err := r.dec.Next(r.buf[r.from:], p)
		if err != nil {
			return err
		}
		r.from += n
		if ok {
			return nil
		}
		if n == 0 {
			if err := r.fill(r.dec.Need()); err != nil {
				return err
			}
		}
	}
}

// Offset is how many bytes of the file have been consumed.
func (r *Reader) Offset() int64 { return r.dec.Offset() }

// fill reads until need bytes are at hand.
func (r *Reader) fill(need int) error {
	if cap(r.buf) < need {
		r.buf = append(make([]byte, 0, max(need, min(2*cap(r.buf), MaxRecord))), r.buf[r.from:]...)
	} else {
		r.buf = r.buf[:copy(r.buf[:cap(r.buf)], r.buf[r.from:])]
	}
	r.from = 0
	for idle := 0; len(r.buf) < need; {
		if r.err == nil {
			var n int
			n, r.err = r.src.Read(r.buf[len(r.buf):cap(r.buf)])
			r.buf = r.buf[:len(r.buf)+n]
			if n > 0 {
				idle = 0
			} else if idle++; idle == 100 && r.err == nil {
				r.err = io.ErrNoProgress
			}
			continue
		}
		if errors.Is(r.err, io.EOF) {
			if err := r.dec.End(len(r.buf)); err != nil {
				return err
			}
			return io.EOF
		}
		return r.err
	}
	return nil
}
