package tcp

import (
	"crypto/tls"
	"net"

	"github.com/weirflow/weir/sdk/certs"
)

// secure makes the configuration of TLS. What is wrong with a file is an sdk.NotReady.
func secure(cfg *Config) (*tls.Config, error) {
	t := &cfg.TLS
	host, _, err := net.SplitHostPort(cfg.To)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: certs.Versions[t.MinVersion], ServerName: host}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		if c.RootCAs, err = certs.Authorities("the authorities of the collector's certificate", t.CA); err != nil {
			return nil, err
		}
	}
	if t.Cert == "" {
		return c, nil
	}
	if _, err := certs.Pair(t.Cert, t.Key); err != nil {
		return nil, err
	}
	// Read for each connection: certificates are renewed while the sink lives.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certs.Pair(t.Cert, t.Key) }
	return c, nil
}
