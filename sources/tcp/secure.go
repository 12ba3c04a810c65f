package tcp

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/weirflow/weir/sdk/certs"
)

// secure makes the configuration of TLS. What is wrong with a file is an sdk.NotReady. Files are read anew when they change.
func secure(t *TLS, log *slog.Logger) (*tls.Config, error) {
	pair, err := certs.NewPair(t.Cert, t.Key, log)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: certs.Versions[t.MinVersion],
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(time.Now()), nil }}
	if t.ClientCA == "" {
		return c, nil
	}
	authorities, err := certs.NewAuthorities("the file of the authorities of exporters' certificates", t.ClientCA, log)
	if err != nil {
		return nil, err
	}
	c.ClientCAs = authorities.Pool()
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if t.RequireClientCert {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	each := c.Clone() // of which a connection's is made; its keys of session tickets are those of c
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		one := each.Clone()
		one.ClientCAs = authorities.Pool()
		return one, nil
	}
	return c, nil
}
