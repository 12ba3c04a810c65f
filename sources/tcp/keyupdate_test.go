package tcp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk/certs/certstest"
)

// updater writes records of TLS 1.3 that crypto/tls does not: requests for new keys (RFC 8446, 4.6.3), each of which asks for an answer.
type updater struct {
	testing.TB
	secret   []byte
	aead     cipher.AEAD
	iv       []byte
	sequence uint64
}

// expand is HKDF-Expand-Label (RFC 8446, 7.1) without context.
func (u *updater) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, u.secret, string(append(info, 0)), n)
	if err != nil {
		u.Fatal(err)
	}
	return out
}

func (u *updater) use(secret []byte) {
	u.secret, u.sequence = secret, 0
	block, err := aes.NewCipher(u.expand("key", 16))
	if err != nil {
		u.Fatal(err)
	}
	if u.aead, err = cipher.NewGCM(block); err != nil {
		u.Fatal(err)
	}
	u.iv = u.expand("iv", 12)
}

// seal makes the next record of a kind.
func (u *updater) seal(kind byte, content []byte) []byte {
	nonce := bytes.Clone(u.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(u.sequence >> (56 - 8*i))
	}
	u.sequence++
	n := len(content) + 1 + u.aead.Overhead()
	record := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return u.aead.Seal(record, nonce, append(bytes.Clone(content), kind), record)
}

// update is a KeyUpdate with update_requested.
func (u *updater) update() []byte {
	record := u.seal(22, []byte{24, 0, 0, 1, 1})
	u.use(u.expand("traffic upd", 32))
	return record
}

// An exporter that asks for answers and does not read them has its connection blocked in writing one. It does not hold up the end.
func TestExporterThatReadsNoAnswers(t *testing.T) {
	ours := certstest.New(t, t.TempDir(), "ours")
	ours.Give("collector")
	x := start(t, defaults(func(cfg *Config) { cfg.TLS.Cert, cfg.TLS.Key = ours.Path("collector.crt"), ours.Path("collector.key") }), true)
	near, far := net.Pipe() // without buffers: an answer waits until it is read
	t.Cleanup(func() { near.Close() })
	r := x.src.Opened[0]
	c := newConn(r, far, netip.MustParseAddrPort("192.0.2.1:4739"))
	r.mu.Lock()
	r.conns[c] = struct{}{}
	r.mu.Unlock()
	go c.run()
	var keys bytes.Buffer
	conn := tls.Client(near, &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, KeyLogWriter: &keys})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if conn.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("the machine has no AES, so that another cipher was chosen: ", tls.CipherSuiteName(conn.ConnectionState().CipherSuite))
	}
	u := &updater{TB: t}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			u.use(secret)
		}
	}
	near.SetDeadline(time.Now().Add(time.Minute))
	if _, err := near.Write(append(u.seal(23, message(0, 16)), u.update()...)); err != nil {
		t.Fatal(err)
	}
	x.until("what stood before it is there", func() bool { return x.got() == 1 })
	near.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil { // the answer has begun, and is not read on
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); x.end() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		near.Close()
		<-ended
		t.Error("the source does not end while an answer is not read")
	}
}
