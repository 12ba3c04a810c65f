package formatstest

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/weirflow/weir/formats/pcap"
)

// Capture calls f for each packet of a capture file; what it is given lasts for the call.
func Capture(t testing.TB, file string, f func(p *pcap.Packet)) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for r := pcap.NewReader(in); ; {
		var p pcap.Packet
		err := r.Next(&p)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		f(&p)
	}
}
