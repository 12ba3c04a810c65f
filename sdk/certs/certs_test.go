//go:build unix

package certs_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/certs"
	"github.com/weirflow/weir/sdk/certs/certstest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// A file that has no end, or waits for a writer, is refused at once: it is never read.
func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	ours := certstest.New(t, dir, "ours")
	ours.Give("collector")
	pipe, long := filepath.Join(dir, "pipe"), filepath.Join(dir, "long")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(long, bytes.Repeat([]byte("-"), 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, says string }{
		{"/dev/zero", "which is no plain file"}, {pipe, "which is no plain file"}, {dir, "which is no plain file"}, {long, "more than 1048576 bytes"},
		{filepath.Join(dir, "none"), "there is no such file"},
	} {
		_, key := certs.NewPair(ours.Path("collector.crt"), c.name, quiet)
		_, cert := certs.NewPair(c.name, ours.Path("collector.key"), quiet)
		_, ca := certs.NewAuthorities("the authorities", c.name, quiet)
		for _, err := range []error{key, cert, ca} {
			n, ok := errors.AsType[*sdk.NotReady](err)
			if !ok || n.Do == "" || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s: %v, want %q", c.name, err, c.says)
			}
		}
	}
}

// What happens to a renewed certificate is in the log once: that it cannot be read and the old one stays, that it was read anew, that it
// is over.
func TestRenewalIsTold(t *testing.T) {
	ours := certstest.New(t, t.TempDir(), "ours")
	ours.Give("c")
	var log bytes.Buffer
	p, err := certs.NewPair(ours.Path("c.crt"), ours.Path("c.key"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := p.Get(time.Now())
	told := func(what string, times int) {
		t.Helper()
		if n := strings.Count(log.String(), what); n != times {
			t.Errorf("%q is told %d times, not %d:\n%s", what, n, times, log.String())
		}
	}
	if log.Len() > 0 {
		t.Errorf("nothing has happened: %s", log.String())
	}
	ours.Write("c.crt", []byte("-----BEGIN CERT"))
	for range 3 {
		if p.Get(time.Now()) != first {
			t.Error("a certificate that is half written is shown")
		}
	}
	told("cannot be read: the one from before stays in use", 1)
	if err := os.Remove(ours.Path("c.key")); err != nil {
		t.Fatal(err)
	}
	p.Get(time.Now())
	p.Get(time.Now())
	told("cannot be read: the one from before stays in use", 2)
	ours.Give("c")
	ours.Age("c.crt", time.Second)
	second := p.Get(time.Now())
	p.Get(time.Now())
	if second == first {
		t.Error("the renewed certificate is not shown")
	}
	told("was read anew", 1)
	told("is not valid now", 0)
	for range 3 {
		p.Get(time.Now().Add(2 * time.Hour))
	}
	told("is not valid now", 1)
}

// An expired certificate is said at the start.
func TestExpiredAtStart(t *testing.T) {
	ours := certstest.New(t, t.TempDir(), "ours")
	ours.GiveUntil("old", time.Now().Add(-time.Hour))
	var log bytes.Buffer
	if _, err := certs.NewPair(ours.Path("old.crt"), ours.Path("old.key"), slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "is not valid now") || !strings.Contains(log.String(), "level=WARN") {
		t.Error(log.String())
	}
}

// Both sides of a handshake that fails say what is to be done on theirs.
func TestAdvice(t *testing.T) {
	dir := t.TempDir()
	ours, others := certstest.New(t, dir, "ours"), certstest.New(t, dir, "others")
	good, old, strange := ours.Give("good"), ours.GiveUntil("old", time.Now().Add(-time.Minute)), others.Give("strange")
	one := func(c tls.Certificate) []tls.Certificate { return []tls.Certificate{c} }
	for _, c := range []struct {
		name                string
		collector, exporter tls.Config
		toCollector, toExp  string
	}{
		{"an authority nobody knows", tls.Config{Certificates: one(strange)}, tls.Config{RootCAs: ours.Pool()}, "does not accept the collector's certificate", "as tls.ca"},
		{"a collector's certificate that is over", tls.Config{Certificates: one(old)}, tls.Config{RootCAs: ours.Pool()}, "does not accept the collector's certificate", "renew the collector's certificate"},
		{"another name", tls.Config{Certificates: one(good)}, tls.Config{RootCAs: ours.Pool(), ServerName: "elsewhere"}, "does not accept the collector's certificate", "tls.server_name"},
		{"no certificate", tls.Config{Certificates: one(good), ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool()}, tls.Config{RootCAs: ours.Pool()},
			"tls.require_client_cert: false", "tls.cert and tls.key"},
		{"an exporter's certificate that is over", tls.Config{Certificates: one(good), ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool()}, tls.Config{RootCAs: ours.Pool(), Certificates: one(old)},
			"renew the exporter's certificate", "the collector does not accept what tls.cert names"},
		{"a version that is too old", tls.Config{Certificates: one(good), MinVersion: tls.VersionTLS13}, tls.Config{RootCAs: ours.Pool(), MaxVersion: tls.VersionTLS12}, "tls.min_version", "no version or cipher"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.exporter.ServerName == "" {
				c.exporter.ServerName = "127.0.0.1"
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			accepted := make(chan error, 1)
			go func() {
				raw, err := ln.Accept()
				if err != nil {
					accepted <- err
					return
				}
				defer raw.Close()
				accepted <- tls.Server(raw, &c.collector).Handshake()
			}()
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			conn := tls.Client(raw, &c.exporter)
			mine := conn.Handshake()
			if mine == nil { // by TLS 1.3 the collector's word comes later
				_, mine = conn.Read(make([]byte, 1))
			}
			theirs := <-accepted
			if got := certs.AdviceToCollector(theirs); !strings.Contains(got, c.toCollector) {
				t.Errorf("to the collector, of %q: %q", theirs, got)
			}
			if got := certs.AdviceToExporter(mine); !strings.Contains(got, c.toExp) {
				t.Errorf("to the exporter, of %q: %q", mine, got)
			}
		})
	}
}
