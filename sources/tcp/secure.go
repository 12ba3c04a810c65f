package tcp

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/weirflow/weir/sdk/certs"
)

// secure makes the configuration of TLS. What is wrong with a file is an sdk.NotReady.
func secure(t *TLS) (*tls.Config, error) {
	p := &pair{cert: t.Cert, key: t.Key}
	if err := p.load(); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: certs.Versions[t.MinVersion], GetCertificate: p.get}
	if t.ClientCA == "" {
		return c, nil
	}
	pool, err := certs.Authorities("the authorities of exporters' certificates", t.ClientCA)
	if err != nil {
		return nil, err
	}
	c.ClientCAs = pool
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if t.RequireClientCert {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// pair is a certificate and its key in files. They are looked at for each connection, which costs nothing beside its handshake:
// certificates are renewed while exporters are connected.
type pair struct {
	cert, key string

	mu    sync.Mutex
	times [2]time.Time // of the files that were loaded
	c     *tls.Certificate
}

func (p *pair) changed() (times [2]time.Time, err error) {
	for i, name := range []string{p.cert, p.key} {
		info, err := os.Stat(name)
		if err != nil {
			return times, err
		}
		times[i] = info.ModTime()
	}
	return times, nil
}

func (p *pair) load() error {
	times, err := p.changed()
	if err == nil && times == p.times {
		return nil
	}
	c, err := certs.Pair(p.cert, p.key)
	if err != nil {
		return err
	}
	p.c, p.times = c, times
	return nil
}

// get is the certificate as it is now, or as it was when it could last be loaded: it may be half replaced.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.load()
	return p.c, nil
}
