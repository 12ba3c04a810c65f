// Package certstest makes authorities and certificates in files, for tests of what speaks TLS.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority gives certificates for 127.0.0.1.
type Authority struct {
	testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

// New makes an authority and writes name.crt and name.key into dir.
func New(t testing.TB, dir, name string) *Authority {
	a := &Authority{TB: t, dir: dir}
	a.cert, a.key = a.issue(name, time.Now().Add(time.Hour), nil, nil)
	return a
}

// issue writes name.crt and name.key; without a parent they are an authority's own.
func (a *Authority) issue(name string, until time.Time, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
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
	a.Write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.Write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	if c, err = x509.ParseCertificate(der); err != nil {
		a.Fatal(err)
	}
	return c, key
}

// Path is that of a file in the authority's directory.
func (a *Authority) Path(name string) string { return filepath.Join(a.dir, name) }

// Write writes a file there.
func (a *Authority) Write(name string, b []byte) {
	a.Helper()
	if err := os.WriteFile(a.Path(name), b, 0o600); err != nil {
		a.Fatal(err)
	}
}

// Give issues a certificate for an hour, as name.crt and name.key.
func (a *Authority) Give(name string) tls.Certificate {
	a.Helper()
	return a.GiveUntil(name, time.Now().Add(time.Hour))
}

// GiveUntil issues a certificate that is valid for the two hours before a time.
func (a *Authority) GiveUntil(name string, until time.Time) tls.Certificate {
	a.Helper()
	a.issue(name, until, a.cert, a.key)
	c, err := tls.LoadX509KeyPair(a.Path(name+".crt"), a.Path(name+".key"))
	if err != nil {
		a.Fatal(err)
	}
	return c
}

// Pool is the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Age makes a file's time another than it was, for file systems that keep times coarsely.
func (a *Authority) Age(name string, by time.Duration) {
	a.Helper()
	at := time.Now().Add(by)
	if err := os.Chtimes(a.Path(name), at, at); err != nil {
		a.Fatal(err)
	}
}
