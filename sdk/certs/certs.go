// Package certs reads what plugins that speak TLS are given as files: certificates, their keys, and authorities. What is wrong with
// a file is an sdk.NotReady that says which and what to do. What was read is read anew when its file changes: certificates are
// renewed while connections stand. And it says what is to be done about a connection whose TLS failed.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/weirflow/weir/sdk"
)

// Versions of TLS that an option can name.
var Versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// readAuthorities reads a file of certificates in PEM. whose says what they are for: "the authorities of the collector's certificate".
func readAuthorities(whose, file string) (*x509.CertPool, error) {
	pem, err := read(whose, file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &sdk.NotReady{What: "there is no certificate in " + file, Do: "name a file of certificates in PEM"}
	}
	return pool, nil
}

// readPair reads a certificate and its private key, both in PEM.
func readPair(cert, key string) (*tls.Certificate, error) {
	c, err := read("the certificate", cert)
	if err != nil {
		return nil, err
	}
	k, err := read("the certificate's private key", key)
	if err != nil {
		return nil, err
	}
	p, err := tls.X509KeyPair(c, k)
	if err != nil {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s and %s are not a certificate and its key", cert, key), Err: err,
			Do: "name a certificate and the private key that belongs to it, both in PEM"}
	}
	return &p, nil
}

// most is how long a file may be: the authorities that systems bring along are a quarter of it.
const most = 1 << 20

// read reads a file that is one, and not without end: a pipe would hold up whoever connects, and a device fill the memory.
func read(what, name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, unreadable(what, name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s cannot be read from %s, which is no plain file", what, name), Do: "name a file in PEM"}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(what, name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, unreadable(what, name, err)
	}
	if len(b) > most {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s cannot be read from %s, which has more than %d bytes", what, name, most), Do: "name a file in PEM that holds nothing else"}
	}
	return b, nil
}

func unreadable(what, name string, err error) error {
	n := &sdk.NotReady{What: fmt.Sprintf("%s cannot be read from %s", what, name), Err: err, Do: "make the file readable for the user that weir runs as"}
	if errors.Is(err, fs.ErrNotExist) {
		n.Err, n.Do = nil, "there is no such file: correct the path, which is relative to where weir was started, or put the file there"
	}
	return n
}
