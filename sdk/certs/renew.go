package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Pair is a certificate and its private key in files. They are looked at for each connection, which costs nothing beside its handshake.
type Pair struct {
	renewed[*tls.Certificate]
	cert    string
	expired bool // it was said
}

// NewPair reads a certificate and its key. The error is an [sdk.NotReady].
func NewPair(cert, key string, log *slog.Logger) (*Pair, error) {
	p := &Pair{cert: cert}
	p.renewed = renewed[*tls.Certificate]{what: "the certificate", files: []string{cert, key}, log: log,
		read: func() (*tls.Certificate, error) { return readPair(cert, key) }}
	if err := p.load(); err != nil {
		return nil, err
	}
	p.Get(time.Now()) // says that it is not valid, if that is so
	return p, nil
}

// Get is the certificate as it is now, or as it was when it could last be read: it may be half replaced. One that is not valid at that
// time is given all the same, for not every peer looks at it, and the log says so.
func (p *Pair) Get(now time.Time) *tls.Certificate {
	c, fresh := p.get()
	p.mu.Lock()
	defer p.mu.Unlock()
	if fresh {
		p.expired = false
	}
	if leaf := c.Leaf; !p.expired && (now.After(leaf.NotAfter) || now.Before(leaf.NotBefore)) {
		p.expired = true
		p.log.Warn(fmt.Sprintf("the certificate in %s is not valid now, so peers that check it will refuse it: put a renewed one in its place, which is read without a new start", p.cert),
			"not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	}
	return c
}

// Authorities are certificates that others are checked against, in a file.
type Authorities struct{ renewed[*x509.CertPool] }

// NewAuthorities reads a file of certificates in PEM. whose says what they are for: "the authorities of the collector's certificate". The
// error is an [sdk.NotReady].
func NewAuthorities(whose, file string, log *slog.Logger) (*Authorities, error) {
	a := &Authorities{renewed[*x509.CertPool]{what: whose, files: []string{file}, log: log, read: func() (*x509.CertPool, error) { return readAuthorities(whose, file) }}}
	if err := a.load(); err != nil {
		return nil, err
	}
	return a, nil
}

// Pool is what the file says now, or said when it could last be read.
func (a *Authorities) Pool() *x509.CertPool {
	pool, _ := a.get()
	return pool
}

// renewed is something that is read from files, and read again when they change.
type renewed[T any] struct {
	what  string
	files []string
	log   *slog.Logger
	read  func() (T, error)

	mu     sync.Mutex
	states []state // of the files when they were read
	value  T
	fault  string // why the last change could not be read, as it was said; empty: it could
}

// state tells one content of a file from another.
type state struct {
	at   time.Time
	size int64
}

// load reads the files if they have changed.
func (r *renewed[T]) load() error {
	var now []state
	for _, name := range r.files {
		info, err := os.Stat(name)
		if err != nil {
			now = nil // reading says it in words
			break
		}
		now = append(now, state{info.ModTime(), info.Size()})
	}
	if now != nil && same(now, r.states) {
		return nil
	}
	v, err := r.read()
	if err != nil {
		return err
	}
	r.value, r.states = v, now
	return nil
}

func same(a, b []state) bool {
	return slices.EqualFunc(a, b, func(x, y state) bool { return x.at.Equal(y.at) && x.size == y.size })
}

// get is the value as it is now; fresh: it was not before.
func (r *renewed[T]) get() (v T, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.states
	err := r.load()
	switch {
	case err != nil && err.Error() != r.fault:
		r.fault = err.Error()
		r.log.Warn(r.what+" was changed and cannot be read: the one from before stays in use", "error", err)
	case err == nil:
		if fresh = !same(before, r.states); fresh || r.fault != "" {
			r.log.Info(r.what+" was read anew", "files", r.files)
		}
		r.fault = ""
	}
	return r.value, fresh
}
