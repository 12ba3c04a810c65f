//go:build linux

package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest/tshark"
)

// tcpRelay takes one connection, keeps its messages and sends them on from an address of its own.
func tcpRelay(t *testing.T, l net.Listener, from netip.Addr, to netip.AddrPort) (messages []kept) {
	t.Helper()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	out, err := d.Dial("tcp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for {
		m := make([]byte, 1<<16)
		_, err := io.ReadFull(in, m[:4])
		if errors.Is(err, io.EOF) {
			return messages
		}
		n := max(int(be.Uint16(m[2:])), 4)
		if err == nil {
			_, err = io.ReadFull(in, m[4:n])
		}
		if err == nil {
			_, err = out.Write(m[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, kept{time.Now(), out.LocalAddr().(*net.TCPAddr).AddrPort(), to, m[:n]})
	}
}

// A real exporter sends IPFIX over TCP; each record is what tshark reads in the same messages.
func TestRealExporterOverTCP(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("softflowd"); err != nil {
		t.Skip("softflowd is not installed")
	}
	dir := t.TempDir()
	capture := filepath.Join(dir, "traffic.pcap")
	write(t, capture, micros(traffic(time.Now().Add(-10*time.Minute))))
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	ipfix, admin := freeAddr(t), freeAddr(t)
	live := weir(ctx, t, fmt.Sprintf(`{ type: tcp, with: { listen: ["%s"] } }`, ipfix), "--admin", admin.String())
	live.ready(t, admin)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	cmd := exec.CommandContext(ctx, "softflowd", "-r", capture, "-n", l.Addr().String(), "-c", "none", "-p", "none", "-v", "10", "-P", "tcp", "-T", "ether", "-A", "milli")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	messages := tcpRelay(t, l, netip.MustParseAddr("127.0.0.99"), ipfix)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	live.got(t, admin, len(messages))
	if err := live.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rows, account := live.end(t)

	file := filepath.Join(dir, "sent.pcap")
	write(t, file, tshark.Pcap(recorded([]*relay{{kept: messages}})))
	var want []map[string]string
	for _, d := range tshark.Read(t, file, map[uint16]string{ipfix.Port(): "cflow"}) {
		for _, r := range d.Rows {
			want = append(want, r)
		}
	}
	account.check(t, "live", len(messages), len(want))
	if diff := cmp.Diff(timeless(want), timeless(rows)); diff != "" || len(want) < 60 {
		t.Errorf("%d records (-tshark +decoded):\n%.20000s", len(want), diff)
	}
	for _, row := range rows {
		if at := moment(t, row["received"]); at.Before(began) || at.After(time.Now()) {
			t.Errorf("received %v, which is not between %v and now", at, began)
		}
	}
}
