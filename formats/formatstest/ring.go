package formatstest

import (
	"testing"
	"time"

	"github.com/weirflow/weir/formats/emulate"
)

// Base is when the time of a [Ring] begins.
var Base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Ring is datagrams built beforehand that come again and again.
type Ring struct {
	*emulate.Ring
	at int
}

// NewRing builds n datagrams of emulated exporters, which send their templates once.
func NewRing(t testing.TB, o emulate.Options, n int) *Ring {
	t.Helper()
	o.Base, o.TemplateInterval = Base, 24*time.Hour
	e, err := emulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Ring(n, Base.UnixNano(), 10*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	return &Ring{Ring: r}
}

// Next is the next datagram; the first comes after the last.
func (r *Ring) Next() (payload []byte, of *emulate.Datagram) {
	payload, of = r.Payloads[r.at], &r.Datagrams[r.at]
	if r.at++; r.at == len(r.Payloads) {
		r.at = 0
	}
	return payload, of
}
