//go:build linux

package main_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// relay stands between an exporter and a collector: it keeps what passes, and sends it on from an address of its own, so that
// exporters on one machine are several.
type relay struct {
	name string
	in   *net.UDPConn // where the exporter sends to
	out  *net.UDPConn
	wg   sync.WaitGroup
	kept []kept
}

// kept is a datagram that passed.
type kept struct {
	at       time.Time
	from, to netip.AddrPort
	payload  []byte
}

// newRelay forwards from 127.0.0.N to the collector.
func newRelay(t *testing.T, name string, n byte, to netip.AddrPort) *relay {
	t.Helper()
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	room(t, in)
	out, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, n)}, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	r := &relay{name: name, in: in, out: out}
	from := out.LocalAddr().(*net.UDPAddr).AddrPort()
	r.wg.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			k, err := in.Read(buf)
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			r.kept = append(r.kept, kept{time.Now(), from, to, bytes.Clone(buf[:k])})
			if _, err := out.Write(buf[:k]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	return r
}

// room gives a socket memory for all that an exporter sends at once: as much as the system allows, and more where it may be forced.
func room(t *testing.T, c *net.UDPConn) {
	t.Helper()
	const size = 4 << 20
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	forced := false
	if err := raw.Control(func(fd uintptr) {
		forced = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil
	}); err != nil {
		t.Fatal(err)
	}
	if !forced {
		if err := c.SetReadBuffer(size); err != nil {
			t.Fatal(err)
		}
	}
}

// addr is the exporter's for the collector.
func (r *relay) addr() string { return r.out.LocalAddr().(*net.UDPAddr).IP.String() }

// port is where the exporter sends to.
func (r *relay) port() int { return r.in.LocalAddr().(*net.UDPAddr).Port }

// end waits until all that the exporter, which has gone, has sent is through: on loopback it is in the socket by then.
func (r *relay) end(t *testing.T) {
	t.Helper()
	if err := r.in.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	r.wg.Wait()
}
