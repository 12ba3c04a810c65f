package tcp

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/certs/certstest"
)

// serve makes a collector that speaks TLS, keeps what comes, and counts handshakes that it completed.
func serve(t *testing.T, cfg *tls.Config) *collector {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return collectOn(t, ln)
}

// noted is what the sink has counted beside the ledger.
func noted(w *writer) (n uint64) {
	w.sink.env.Books.Notes(func(r sdk.Reason, k uint64) {
		if r == ReasonEnded {
			n += k
		}
	})
	return n
}

// refused writes a block that the collector must not get as delivered, and checks what is said.
func refused(t *testing.T, w *writer, code, says string) {
	t.Helper()
	err := w.Write(t.Context(), block("k", item{0, data(1, 1)}), func(error) { t.Error("it counts as delivered") })
	if sdk.CodeOf(err) != code || sdk.ClassOf(err) != sdk.Transient || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want %s: %s", err, code, says)
	}
}

// By TLS 1.3 a collector looks at an exporter's certificate after the exporter may send. What it refuses is not delivered, and the
// error is the collector's word with what to do, not that a pipe broke.
func TestCollectorRefusesCertificate(t *testing.T) {
	dir := t.TempDir()
	ours, others := certstest.New(t, dir, "ours"), certstest.New(t, dir, "others")
	collectors := ours.Give("collector")
	ours.Give("exporter")
	others.Give("stranger")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tickets := range []bool{true, false} {
			k := serve(t, &tls.Config{Certificates: []tls.Certificate{collectors}, ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version, SessionTicketsDisabled: !tickets})
			with := func(name string) *writer {
				cfg := defaults(k.addr())
				cfg.TLS.Enabled, cfg.TLS.CA = true, ours.Path("ours.crt")
				if name != "" {
					cfg.TLS.Cert, cfg.TLS.Key = ours.Path(name+".crt"), ours.Path(name+".key")
				}
				return open(t, cfg)
			}
			says := "name one and its key as tls.cert and tls.key"
			if version == tls.VersionTLS12 {
				says = "tls.cert" // its alert says no more than that something is wrong with it
			}
			refused(t, with(""), "tls", says)
			refused(t, with("stranger"), "tls", "the collector does not accept what tls.cert names")
			began := time.Now()
			write(t, with("exporter"), block("k", item{0, data(1, 1)}))
			if took := time.Since(began); tickets && took >= verdict {
				t.Errorf("TLS %x: a collector that accepts at once was waited for %v", version, took)
			}
			k.until("what was delivered is there", func() bool { return k.total() == 1 })
		}
	}
}

// A collector whose certificate is not the one to expect is not sent to, and what to do is said.
func TestCollectorsCertificate(t *testing.T) {
	dir := t.TempDir()
	ours, others := certstest.New(t, dir, "ours"), certstest.New(t, dir, "others")
	good, old, strange := ours.Give("good"), ours.GiveUntil("old", time.Now().Add(-time.Minute)), others.Give("strange")
	for _, c := range []struct {
		cert       tls.Certificate
		name, says string
	}{
		{strange, "", "name the authority that signed the collector's certificate as tls.ca"},
		{old, "", "renew the collector's certificate"},
		{good, "elsewhere.example", "tls.server_name"},
	} {
		k := serve(t, &tls.Config{Certificates: []tls.Certificate{c.cert}})
		cfg := defaults(k.addr())
		cfg.TLS.Enabled, cfg.TLS.CA, cfg.TLS.ServerName = true, ours.Path("ours.crt"), c.name
		refused(t, open(t, cfg), "tls", c.says)
	}
}

// TLS on one side only is told as that, by either side: what went to a port of TLS in the clear is lost, and the next block says so.
func TestTLSOnOneSide(t *testing.T) {
	ours := certstest.New(t, t.TempDir(), "ours")
	plain := collect(t, "127.0.0.1:0")
	cfg := defaults(plain.addr())
	cfg.TLS.Enabled, cfg.TLS.CA = true, ours.Path("ours.crt")
	plain.forget = true
	closing := make(chan struct{})
	go func() { // it does not understand a handshake, and ends
		defer close(closing)
		for len(plain.accepted()) == 0 {
			time.Sleep(time.Millisecond)
		}
		plain.accepted()[0].Close()
	}()
	refused(t, open(t, cfg), "tls", "does the collector speak TLS on this port?")
	<-closing

	addr, next := byHand(t)
	w := open(t, defaults(addr))
	write(t, w, block("0", item{0, data(1, 0)})) // nothing can be known yet
	c := next(len(data(1, 0)))
	if _, err := c.Write([]byte{21, 3, 1, 0, 2, 2, 10}); err != nil { // what OpenSSL answers
		t.Fatal(err)
	}
	c.Close()
	dead(w)
	refused(t, w, "tls", "say tls.enabled: true")
	if n := noted(w); n != 1 {
		t.Errorf("%d ended connections were noted", n)
	}
}

// byHand makes a collector whose connections the test has: next is the one that comes next, when so many bytes have come on it.
func byHand(t *testing.T) (addr string, next func(read int) net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	got := make(chan net.Conn)
	go func() {
		defer close(got)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			got <- c
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		for c := range got {
			c.Close()
		}
		for _, c := range conns {
			c.Close()
		}
	})
	return ln.Addr().String(), func(read int) net.Conn {
		c := <-got
		conns = append(conns, c)
		if _, err := io.ReadFull(c, make([]byte, read)); err != nil {
			t.Error(err)
		}
		return c
	}
}

// dead waits until the ends of all connections are seen.
func dead(w *writer) {
	for _, l := range w.links {
		<-l.watched.ended
	}
}

// A collector that ends connections as they begin takes nothing, whatever the kernel took: the next block fails once, for all its
// exporters, and the ends are counted. After a connection that was in use another is made, and that is all.
func TestCollectorThatWantsNone(t *testing.T) {
	addr, next := byHand(t)
	w := open(t, defaults(addr))
	rows := []item{{0, data(1, 0)}, {1, data(1, 0)}, {2, data(1, 0)}}
	n := len(rows[0].payload)
	write(t, w, block("0", rows...))
	for range rows {
		next(n).Close()
	}
	dead(w)
	refused(t, w, "closed", "so that what was sent on it is lost")
	if n := noted(w); n != 3 {
		t.Errorf("%d of 3 ended connections were noted", n)
	}
	if tries := write(t, w, block("k", rows...)); tries != 1 {
		t.Errorf("the block failed %d times more", tries-1)
	}
	for range rows {
		next(n).Close()
	}
	dead(w)
	for _, l := range w.links {
		l.since = l.since.Add(-brief)
	}
	var log bytes.Buffer
	w.sink.env.Log = slog.New(slog.NewTextHandler(&log, nil))
	if tries := write(t, w, block("2", rows...)); tries != 1 {
		t.Errorf("the ends of connections that were in use made a block fail %d times", tries-1)
	}
	if n := strings.Count(log.String(), "new ones are made"); n != 1 {
		t.Errorf("three ends at once are told %d times:\n%s", n, log.String())
	}
}

// The sink's files are read anew for each connection.
func TestRenewedAuthorities(t *testing.T) {
	dir := t.TempDir()
	ours, others := certstest.New(t, dir, "ours"), certstest.New(t, dir, "others")
	k := serve(t, &tls.Config{Certificates: []tls.Certificate{ours.Give("collector")}})
	cfg := defaults(k.addr())
	cfg.TLS.Enabled, cfg.TLS.CA = true, others.Path("others.crt")
	w := open(t, cfg)
	refused(t, w, "tls", "tls.ca")
	if err := copyFile(ours.Path("ours.crt"), others.Path("others.crt")); err != nil {
		t.Fatal(err)
	}
	others.Age("others.crt", time.Second)
	write(t, w, block("k", item{0, data(1, 1)}))
	k.until("it has come", func() bool { return k.total() == 1 })
}
