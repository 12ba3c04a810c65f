package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/weirflow/weir/sdk"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// secure makes the configuration of TLS. What is wrong with a file is an sdk.NotReady.
func secure(t *TLS) (*tls.Config, error) {
	p := &pair{cert: t.Cert, key: t.Key}
	if err := p.load(); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: versions[t.MinVersion], GetCertificate: p.get}
	if t.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, unreadable("the authorities of exporters' certificates", t.ClientCA, err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, &sdk.NotReady{What: "there is no certificate in " + t.ClientCA, Do: "name a file of certificates in PEM"}
	}
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
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		what := "the certificate"
		if pathErr.Path == p.key {
			what = "the certificate's private key"
		}
		return unreadable(what, pathErr.Path, err)
	}
	if err != nil {
		return &sdk.NotReady{What: fmt.Sprintf("%s and %s are not a certificate and its key", p.cert, p.key), Err: err,
			Do: "name a certificate and the private key that belongs to it, both in PEM"}
	}
	p.c, p.times = &c, times
	return nil
}

// get is the certificate as it is now, or as it was when it could last be loaded: it may be half replaced.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.load()
	return p.c, nil
}

func unreadable(what, name string, err error) error {
	n := &sdk.NotReady{What: fmt.Sprintf("%s cannot be read from %s", what, name), Err: err, Do: "make the file readable for the user that weir runs as"}
	if errors.Is(err, fs.ErrNotExist) {
		n.Err, n.Do = nil, "there is no such file: correct the path, which is relative to where weir was started, or put the file there"
	}
	return n
}
