package tcp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

// authority gives certificates.
type authority struct {
	testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t testing.TB, dir, name string) *authority {
	a := &authority{TB: t, dir: dir}
	a.cert, a.key = a.issue(name, nil, nil)
	return a
}

// issue writes name.crt and name.key; without a parent they are an authority's own.
func (a *authority) issue(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	if c, err = x509.ParseCertificate(der); err != nil {
		a.Fatal(err)
	}
	return c, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name string, b []byte) {
	if err := os.WriteFile(a.path(name), b, 0o600); err != nil {
		a.Fatal(err)
	}
}

// give issues a certificate of the authority.
func (a *authority) give(name string) tls.Certificate {
	a.Helper()
	a.issue(name, a.cert, a.key)
	c, err := tls.LoadX509KeyPair(a.path(name+".crt"), a.path(name+".key"))
	if err != nil {
		a.Fatal(err)
	}
	return c
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Exporters are served over TLS, with a certificate where one is asked for; those without, or with another's, are refused and
// counted, and so is who speaks no TLS.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t, dir, "ours"), newAuthority(t, dir, "others")
	ours.give("collector")
	good, bad := ours.give("exporter"), others.give("stranger")
	for _, c := range []struct {
		name            string
		ca, require     bool
		certs           []tls.Certificate
		most            uint16
		plain, isServed bool
	}{
		{name: "no certificates", isServed: true},
		{name: "a certificate", ca: true, require: true, certs: []tls.Certificate{good}, isServed: true},
		{name: "a certificate, TLS 1.2", ca: true, require: true, certs: []tls.Certificate{good}, most: tls.VersionTLS12, isServed: true},
		{name: "none where one may be", ca: true, isServed: true},
		{name: "none", ca: true, require: true},
		{name: "a stranger's", ca: true, require: true, certs: []tls.Certificate{bad}},
		{name: "TLS 1.1", most: tls.VersionTLS11},
		{name: "no TLS", plain: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := start(t, defaults(func(cfg *Config) {
				cfg.TLS.Cert, cfg.TLS.Key = ours.path("collector.crt"), ours.path("collector.key")
				if c.ca {
					cfg.TLS.ClientCA = ours.path("ours.crt")
				}
				cfg.TLS.RequireClientCert = c.require
			}), true)
			raw := x.dial()
			var conn net.Conn = raw
			if !c.plain {
				conn = tls.Client(raw, &tls.Config{RootCAs: ours.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS10, MaxVersion: c.most, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
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
				if !strings.Contains(x.log.String(), "an exporter's TLS failed") {
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
	ours := newAuthority(t, t.TempDir(), "ours")
	ours.give("collector")
	x := start(t, defaults(func(cfg *Config) { cfg.TLS.Cert, cfg.TLS.Key = ours.path("collector.crt"), ours.path("collector.key") }), true)
	conn := tls.Client(x.dial(), &tls.Config{RootCAs: ours.pool(), ServerName: "127.0.0.1"})
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
	ours := newAuthority(t, t.TempDir(), "ours")
	ours.give("collector")
	x := start(t, defaults(func(cfg *Config) { cfg.TLS.Cert, cfg.TLS.Key = ours.path("collector.crt"), ours.path("collector.key") }), true)
	serial := func() string {
		c := tls.Client(x.dial(), &tls.Config{RootCAs: ours.pool(), ServerName: "127.0.0.1"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	ours.give("collector")
	later := time.Now().Add(time.Second) // a file system may keep times coarsely
	os.Chtimes(ours.path("collector.key"), later, later)
	second := serial()
	ours.write("collector.crt", []byte("-----BEGIN CERT"))
	third := serial()
	if first == second || second != third {
		t.Errorf("the certificates shown are number %s, %s and %s", first, second, third)
	}
	x.end()
}

// What is wrong with a file is one sentence that names it and says what to do.
func TestFilesOfTLS(t *testing.T) {
	dir := t.TempDir()
	ours := newAuthority(t, dir, "ours")
	ours.give("collector")
	ours.give("other")
	ours.write("empty", nil)
	p := ours.path
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
