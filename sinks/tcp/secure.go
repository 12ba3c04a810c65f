package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/weirflow/weir/sdk"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// secure makes the configuration of TLS. What is wrong with a file is an sdk.NotReady.
func secure(cfg *Config) (*tls.Config, error) {
	t := &cfg.TLS
	host, _, err := net.SplitHostPort(cfg.To)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: versions[t.MinVersion], ServerName: host}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, unreadable("the authorities of the collector's certificate", t.CA, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &sdk.NotReady{What: "there is no certificate in " + t.CA, Do: "name a file of certificates in PEM"}
		}
	}
	if t.Cert == "" {
		return c, nil
	}
	if _, err := t.pair(); err != nil {
		return nil, err
	}
	// Read for each connection: certificates are renewed while the sink lives.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.pair() }
	return c, nil
}

func (t *TLS) pair() (*tls.Certificate, error) {
	p, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		what := "the certificate"
		if pathErr.Path == t.Key {
			what = "the certificate's private key"
		}
		return nil, unreadable(what, pathErr.Path, err)
	}
	if err != nil {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s and %s are not a certificate and its key", t.Cert, t.Key), Err: err,
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
