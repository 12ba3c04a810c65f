// Package certs reads what plugins that speak TLS are given as files: certificates, their keys, and authorities. What is wrong with
// a file is an sdk.NotReady that says which and what to do.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/weirflow/weir/sdk"
)

// Versions of TLS that an option can name.
var Versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Authorities reads a file of certificates in PEM. whose says what they are for: "the authorities of the collector's certificate".
func Authorities(whose, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(whose, file, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &sdk.NotReady{What: "there is no certificate in " + file, Do: "name a file of certificates in PEM"}
	}
	return pool, nil
}

// Pair reads a certificate and its private key, both in PEM.
func Pair(cert, key string) (*tls.Certificate, error) {
	p, err := tls.LoadX509KeyPair(cert, key)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		what := "the certificate"
		if pathErr.Path == key {
			what = "the certificate's private key"
		}
		return nil, unreadable(what, pathErr.Path, err)
	}
	if err != nil {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s and %s are not a certificate and its key", cert, key), Err: err,
			Do: "name a certificate and the private key that belongs to it, both in PEM"}
	}
	return &p, nil
}

func unreadable(what, name string, err error) error {
	n := &sdk.NotReady{What: fmt.Sprintf("%s cannot be read from %s", what, name), Err: err, Do: "make the file readable for the user that weir runs as"}
	if errors.Is(err, fs.ErrNotExist) {
		n.Err, n.Do = nil, "there is no such file: correct the path, which is relative to where weir was started, or put the file there"
	}
	return n
}
