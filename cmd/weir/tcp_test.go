package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
	sinktcp "github.com/weirflow/weir/sinks/tcp"
	"github.com/weirflow/weir/sources/tcp"
)

// certificates writes an authority, and a certificate of it for each name, valid for 127.0.0.1.
func certificates(dir string, names ...string) error {
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	for i, name := range append([]string{"ca"}, names...) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
		if ca == nil {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
			ca, caKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		if err != nil {
			return err
		}
		keyDER, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return err
		}
		for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
			if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// truth is what of a flow is compared.
type truth struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Protocol         uint8
	InIf, OutIf      uint32
	Bytes, Packets   uint64
	Start, End       int64
	Rate             uint64
}

// sender is the sink with its writer.
type sender struct {
	t    *testing.T
	sink sdk.Sink
	w    sdk.Writer
}

func newSender(t *testing.T, cfg *sinktcp.Config) *sender {
	t.Helper()
	env := sdktest.Env(t, sdktest.WithIn(sdk.Datagram))
	s, err := sinktcp.Plugin.Sink(env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(t.Context(), sdk.Datagram)
	if err != nil {
		t.Fatal(err)
	}
	return &sender{t, s, w}
}

// write writes a block as the core does: again while the error is transient.
func (s *sender) write(b *sdk.Block) {
	s.t.Helper()
	for range 2000 {
		err := s.w.Write(s.t.Context(), b, func(err error) {
			if err != nil {
				s.t.Error(err)
			}
		})
		if err == nil {
			return
		}
		if sdk.ClassOf(err) != sdk.Transient {
			s.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatal("the block could not be written")
}

func (s *sender) close() {
	s.t.Helper()
	if err := errors.Join(s.w.Close(s.t.Context()), s.sink.Close(s.t.Context())); err != nil {
		s.t.Error(err)
	}
}

// traffic sends n datagrams of e in blocks, and returns the flows in them.
func (s *sender) traffic(e *emulate.Emulator, from, n int) (flows map[truth]int) {
	flows = map[truth]int{}
	pool := sdk.NewPool(nil)
	var buf []byte
	for n > 0 {
		k := min(n, 200)
		b := pool.Get(sdk.Datagram, k)
		b.SetRows(k)
		for i := range k {
			var d emulate.Datagram
			buf, d = e.Append(buf[:0], emulated.UnixNano()+int64(from)*1e6, 0)
			from++
			b.SetBytes(sdk.DatagramPayload, i, buf)
			sdk.Claim[[16]byte](b, sdk.DatagramExporterAddr, i, 1)[0] = d.Exporter
			if d.Records == 0 {
				continue
			}
			for _, f := range e.Flows() {
				flows[truth{f.Src, f.Dst, f.SrcPort, f.DstPort, f.Protocol, f.InIf, f.OutIf, f.Bytes, f.Packets, f.Start, f.End, uint64(f.SamplingRate)}]++
			}
		}
		b.Seal()
		s.write(&sdk.Block{Batches: []*sdk.Batch{b}, Rows: k})
		b.Done(sdk.Delivered)
		b.Release()
		n -= k
	}
	return flows
}

var emulated = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// receiver is the source with decode behind it in one lane.
type receiver struct {
	t        *testing.T
	src      sdk.Source
	srcEnv   *sdk.Env
	env      *sdk.Env // of decode
	proc     sdk.Processor
	lane     sync.WaitGroup
	mu       sync.Mutex
	messages int
	flows    map[truth]int
	faults   []sdk.Fault
}

func newReceiver(t *testing.T, cfg *tcp.Config) *receiver {
	t.Helper()
	x := &receiver{t: t, flows: map[truth]int{}}
	x.srcEnv = sdktest.Env(t, sdktest.WithOut(tcp.Schema))
	x.env = sdktest.Env(t, sdktest.WithIn(tcp.Schema), sdktest.WithOut(flow.Schema))
	dc := decode.Plugin.Spec.Config().(*decode.Config)
	dc.TimeWindow = 0 // the exporters' clocks are of another day
	var err error
	if x.proc, err = decode.Plugin.Processor(x.env, dc); err != nil {
		t.Fatal(err)
	}
	if x.src, err = tcp.Plugin.Source(x.srcEnv, cfg); err != nil {
		t.Fatal(err)
	}
	r, err := x.src.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.lane.Go(func() {
		for {
			b, err := r.Read(context.Background(), 20*time.Millisecond)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
			if b == nil {
				x.tick()
				continue
			}
			n := b.Rows()
			if err := x.proc.Process(b, x); err != nil {
				t.Error(err)
			}
			x.mu.Lock()
			x.messages += n
			x.mu.Unlock()
		}
		if _, err := x.proc.Drain(sdk.InputEnded, true, x); err != nil {
			t.Error(err)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return x
}

func (x *receiver) tick() {
	if _, err := x.proc.Tick(time.Now(), false, x); err != nil {
		x.t.Error(err)
	}
}

func (x *receiver) Emit(_ int, b *sdk.Batch) {
	at := flow.Index
	src, dst := sdk.Values[[16]byte](b, at("src_addr")), sdk.Values[[16]byte](b, at("dst_addr"))
	sport, dport := sdk.Values[uint16](b, at("src_port")), sdk.Values[uint16](b, at("dst_port"))
	proto := sdk.Values[uint8](b, at("protocol"))
	in, out := sdk.Values[uint32](b, at("in_if")), sdk.Values[uint32](b, at("out_if"))
	bytes, packets := sdk.Values[uint64](b, at("bytes")), sdk.Values[uint64](b, at("packets"))
	start, end := sdk.Values[int64](b, at("flow_start")), sdk.Values[int64](b, at("flow_end"))
	rate := sdk.Values[uint64](b, at("sampling_rate"))
	x.mu.Lock()
	for i := range b.Rows() {
		x.flows[truth{src[i], dst[i], sport[i], dport[i], proto[i], in[i], out[i], bytes[i], packets[i], start[i], end[i], rate[i]}]++
	}
	x.mu.Unlock()
	b.Done(sdk.Delivered)
	b.Release()
}

func (x *receiver) Error(_ *sdk.Batch, f sdk.Fault) { x.faults = append(x.faults, f) }

// got waits until n messages have been decoded.
func (x *receiver) got(n int) {
	x.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		x.mu.Lock()
		m := x.messages
		x.mu.Unlock()
		if m >= n {
			return
		}
		if time.Now().After(end) {
			x.t.Fatalf("%d of %d messages have come", m, n)
		}
	}
}

// end stops the source and checks that all is accounted for.
func (x *receiver) end(messages int) {
	x.t.Helper()
	if err := x.src.Stop(x.t.Context()); err != nil {
		x.t.Error(err)
	}
	x.lane.Wait()
	if err := errors.Join(x.src.Close(x.t.Context()), x.proc.Close()); err != nil {
		x.t.Error(err)
	}
	counted := map[string]uint64{"received": x.srcEnv.Books.Received.Load(), "consumed": x.env.Books.Consumed.Load(), "held": uint64(x.env.Books.Held.Load())}
	for name, books := range map[string]*sdk.Books{"source": x.srcEnv.Books, "decode": x.env.Books} {
		books.Dropped(func(r sdk.Reason, n uint64) { counted[name+" dropped "+string(r)] = n })
		books.Losses(func(r sdk.Reason, n uint64) { counted[name+" lost "+string(r)] = n })
	}
	want := map[string]uint64{"received": uint64(messages), "consumed": uint64(messages), "held": 0}
	if d := cmp.Diff(want, counted); d != "" || x.faults != nil {
		x.t.Errorf("what was counted (-want +got):\n%s\n%v", d, x.faults)
	}
}

// Over TCP, and over TLS with certificates on both sides: what emulated exporters sent is what is decoded, each flow once, although
// all come from one address, with the same domains and templates, and the collector starts again in the middle: the new connections
// begin with the templates.
func TestFlowsOverTCP(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "mutual TLS"}[secure], func(t *testing.T) {
			port, err := freePort()
			if err != nil {
				t.Fatal(err)
			}
			from := tcp.Plugin.Spec.Config().(*tcp.Config)
			from.Listen = []string{"127.0.0.1:" + port}
			to := sinktcp.Plugin.Spec.Config().(*sinktcp.Config)
			to.To = from.Listen[0]
			if secure {
				dir := t.TempDir()
				if err := certificates(dir, "collector", "exporter"); err != nil {
					t.Fatal(err)
				}
				file := func(name string) string { return filepath.Join(dir, name) }
				from.TLS = tcp.TLS{Cert: file("collector.crt"), Key: file("collector.key"), ClientCA: file("ca.crt"), RequireClientCert: true, MinVersion: "1.2"}
				to.TLS = sinktcp.TLS{Enabled: true, CA: file("ca.crt"), Cert: file("exporter.crt"), Key: file("exporter.key"), MinVersion: "1.2"}
			}
			if err := errors.Join(from.Validate(), to.Validate()); err != nil {
				t.Fatal(err)
			}
			e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.IPFIX, Weight: 1}}, Exporters: 7, Domains: 2, IPv6: 0.3, Base: emulated, Sampling: 10,
				TemplateInterval: 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			const n = 1500
			s := newSender(t, to)
			var sent, got [2]map[truth]int
			for life := range 2 {
				x := newReceiver(t, from)
				sent[life] = s.traffic(e, life*n, n)
				more := 0
				if life == 1 {
					more = 7 * 2 * 2 // templates and sampler table of each exporter and domain, in front of what is sent
				}
				x.got(n + more)
				x.end(n + more)
				got[life] = x.flows
				if life == 0 {
					time.Sleep(300 * time.Millisecond) // the ends of its connections reach the sender
				}
			}
			s.close()
			if len(sent[0]) < n || len(sent[1]) < n {
				t.Errorf("only %d and %d different flows were sent", len(sent[0]), len(sent[1]))
			}
			for life := range 2 {
				if d := cmp.Diff(sent[life], got[life]); d != "" {
					t.Errorf("flows of life %d (-sent +decoded):\n%.2000s", life, d)
				}
			}
		})
	}
}
