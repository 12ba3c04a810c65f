package tcp

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/certs/certstest"
	"github.com/weirflow/weir/sdk/sdktest"
)

// Exporters are served over TLS, with a certificate where one is asked for; those without, or with another's, are refused and
// counted, and so is who speaks no TLS.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, others := certstest.New(t, dir, "ours"), certstest.New(t, dir, "others")
	ours.Give("collector")
	good, bad := ours.Give("exporter"), others.Give("stranger")
	for _, c := range []struct {
		name            string
		ca, require     bool
		certs           []tls.Certificate
		most            uint16
		plain, isServed bool
		says            string // to the collector's owner
	}{
		{name: "no certificates", isServed: true},
		{name: "a certificate", ca: true, require: true, certs: []tls.Certificate{good}, isServed: true},
		{name: "a certificate, TLS 1.2", ca: true, require: true, certs: []tls.Certificate{good}, most: tls.VersionTLS12, isServed: true},
		{name: "none where one may be", ca: true, isServed: true},
		{name: "none", ca: true, require: true, says: "give the exporter a certificate of an authority in tls.client_ca"},
		{name: "a stranger's", ca: true, require: true, certs: []tls.Certificate{bad}, says: "add the authority that signed the exporter's certificate to tls.client_ca"},
		{name: "TLS 1.1", most: tls.VersionTLS11, says: "tls.min_version"},
		{name: "no TLS", plain: true, says: "the exporter does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := start(t, defaults(func(cfg *Config) {
				cfg.TLS.Cert, cfg.TLS.Key = ours.Path("collector.crt"), ours.Path("collector.key")
				if c.ca {
					cfg.TLS.ClientCA = ours.Path("ours.crt")
				}
				cfg.TLS.RequireClientCert = c.require
			}), true)
			raw := x.dial()
			var conn net.Conn = raw
			if !c.plain {
				conn = tls.Client(raw, &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS10, MaxVersion: c.most, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(c.certs) == 0 {
						return &tls.Certificate{}, nil
					}
					return &c.certs[0], nil
				}})
			}
			const n = 200
			for i := range uint32(n) {
				if _, err := conn.Write(message(i, 1400)); err != nil {
					if c.isServed {
						t.Fatal(err)
					}
					break
				}
			}
			if c.isServed {
				x.until("all messages are there", func() bool { return x.got() == n })
				conn.Close()
			} else {
				x.until("it is counted", func() bool { return x.lost()[ReasonTLS] == 1 })
				if log := x.log.String(); !strings.Contains(log, "an exporter's TLS failed") || !strings.Contains(log, c.says) {
					t.Error(x.log.String())
				}
			}
			x.end()
			want := map[sdk.Reason]uint64{}
			if !c.isServed {
				want[ReasonTLS] = 1
			}
			if d := cmp.Diff(want, x.lost()); d != "" || len(x.dropped()) > 0 {
				t.Errorf("lost (-want +got):\n%s\ndropped %v", d, x.dropped())
			}
		})
	}
}

// What has arrived over TLS before Stop is handed out, and the connection is closed in order.
func TestStopOverTLS(t *testing.T) {
	ours := certstest.New(t, t.TempDir(), "ours")
	ours.Give("collector")
	x := start(t, defaults(func(cfg *Config) { cfg.TLS.Cert, cfg.TLS.Key = ours.Path("collector.crt"), ours.Path("collector.key") }), true)
	conn := tls.Client(x.dial(), &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1"})
	const n = 300
	for i := range uint32(n) {
		x.send(conn, message(i, 1000))
	}
	x.until("the connection is served", func() bool { return x.got() > 0 }) // one that is not accepted yet is refused by Stop
	x.end()
	if len(x.rows) != n {
		t.Errorf("%d of %d messages came", len(x.rows), n)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || err.Error() != "EOF" {
		t.Errorf("the connection ended with %v", err)
	}
}

// A certificate that was renewed is shown to the next exporter; one that is half written is not.
func TestRenewedCertificate(t *testing.T) {
	ours := certstest.New(t, t.TempDir(), "ours")
	ours.Give("collector")
	x := start(t, defaults(func(cfg *Config) { cfg.TLS.Cert, cfg.TLS.Key = ours.Path("collector.crt"), ours.Path("collector.key") }), true)
	serial := func() string {
		c := tls.Client(x.dial(), &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	ours.Give("collector")
	ours.Age("collector.key", time.Second)
	second := serial()
	ours.Write("collector.crt", []byte("-----BEGIN CERT"))
	third := serial()
	if first == second || second != third {
		t.Errorf("the certificates shown are number %s, %s and %s", first, second, third)
	}
	x.end()
}

// What is wrong with a file is one sentence that names it and says what to do.
func TestFilesOfTLS(t *testing.T) {
	dir := t.TempDir()
	ours := certstest.New(t, dir, "ours")
	ours.Give("collector")
	ours.Give("other")
	ours.Write("empty", nil)
	p := ours.Path
	for _, c := range []struct {
		tls  TLS
		want string
	}{
		{TLS{Cert: p("none"), Key: p("collector.key")}, "the certificate cannot be read from " + p("none") + ": there is no such file"},
		{TLS{Cert: p("collector.crt"), Key: p("none")}, "none"},
		{TLS{Cert: p("collector.crt"), Key: p("other.key")}, "are not a certificate and its key"},
		{TLS{Cert: p("empty"), Key: p("other.key")}, "are not a certificate and its key"},
		{TLS{Cert: p("collector.crt"), Key: p("collector.key"), ClientCA: p("none")}, "the authorities of exporters' certificates cannot be read from " + p("none")},
		{TLS{Cert: p("collector.crt"), Key: p("collector.key"), ClientCA: p("empty")}, "there is no certificate in " + p("empty")},
	} {
		cfg := defaults(func(cfg *Config) { cfg.TLS = c.tls; cfg.TLS.MinVersion = "1.3" })
		_, err := Plugin.Source(sdktest.Env(t, sdktest.WithOut(Schema)), cfg)
		n, ok := errors.AsType[*sdk.NotReady](err)
		if !ok || !strings.Contains(n.Error(), c.want) || n.Do == "" {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
