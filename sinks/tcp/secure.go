package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/certs"
)

// security is how connections are encrypted.
type security struct {
	base        tls.Config
	pair        *certs.Pair        // nil: no certificate is shown
	authorities *certs.Authorities // nil: the system's
}

// secure reads what TLS needs. What is wrong with a file is an sdk.NotReady. Files are read anew when they change.
func secure(cfg *Config, log *slog.Logger) (*security, error) {
	t := &cfg.TLS
	host, _, err := net.SplitHostPort(cfg.To)
	if err != nil {
		return nil, err
	}
	s := &security{base: tls.Config{MinVersion: certs.Versions[t.MinVersion], ServerName: host, ClientSessionCache: forgetful{}}}
	if t.ServerName != "" {
		s.base.ServerName = t.ServerName
	}
	if t.CA != "" {
		if s.authorities, err = certs.NewAuthorities("the file of the authorities of the collector's certificate", t.CA, log); err != nil {
			return nil, err
		}
	}
	if t.Cert != "" {
		if s.pair, err = certs.NewPair(t.Cert, t.Key, log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// forgetful keeps no session. Without a cache a client says that it wants no tickets, and a ticket is a collector's sign that it has accepted a
// certificate.
type forgetful struct{}

func (forgetful) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (forgetful) Put(string, *tls.ClientSessionState)        {}

// verdict is how long a collector that asked for a certificate may take to refuse it. Only those that give no session tickets take all of it.
const verdict = time.Second

// wrap begins TLS on a connection, and waits until the collector has accepted the certificate that it asked for: by TLS 1.3 a client may
// send before it has been, and what it sends is lost when it is refused. watched is called when the beginning is over, and returns what is closed when the
// connection has ended.
func (s *security) wrap(ctx context.Context, c net.Conn, watched func(net.Conn) <-chan struct{}) (net.Conn, error) {
	cfg := s.base.Clone()
	if s.authorities != nil {
		cfg.RootCAs = s.authorities.Pool()
	}
	asked := false
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if s.pair == nil {
			return new(tls.Certificate), nil // none: it may do without
		}
		return s.pair.Get(time.Now()), nil
	}
	h := &heard{Conn: c, word: make(chan struct{})}
	t := tls.Client(h, cfg)
	limited, cancel := context.WithTimeout(ctx, dialer().Timeout)
	defer cancel()
	if err := t.HandshakeContext(limited); err != nil {
		return nil, err
	}
	h.over.Store(true)
	ended := watched(t)
	if !asked || t.ConnectionState().Version < tls.VersionTLS13 {
		return t, nil
	}
	patience := time.NewTimer(verdict)
	defer patience.Stop()
	select {
	case <-ended:
	case <-h.word:
	case <-patience.C:
	case <-ctx.Done():
	}
	return t, nil
}

// heard is a connection that tells when the collector's first word behind the handshake has been dealt with: more is read then. Tickets are read
// on, an alert is the end.
type heard struct {
	net.Conn
	over atomic.Bool   // the handshake is
	some bool          // behind it something came
	word chan struct{} // closed when that has been dealt with
	told bool
}

func (h *heard) Read(b []byte) (int, error) {
	if h.some && !h.told {
		h.told = true
		close(h.word)
	}
	n, err := h.Conn.Read(b)
	h.some = h.some || n > 0 && h.over.Load()
	return n, err
}

// explained is the error of a TLS that failed, with what to do.
func explained(to string, err error) error {
	if do := certs.AdviceToExporter(err); do != "" {
		return &sdk.Error{Class: sdk.Transient, Code: "tls", Err: fmt.Errorf("TLS with %s: %w: %s", to, err, do)}
	}
	return &sdk.Error{Class: sdk.Transient, Code: "tls", Err: fmt.Errorf("TLS with %s: %w", to, err)}
}
