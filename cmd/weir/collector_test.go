package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	main "github.com/weirflow/weir/cmd/weir"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// collector is a `weir run` of one pipeline, whose records go to standard output.
type collector struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

const decoding = `
processors: [ { id: decode, type: decode, with: { time_window: 0, templates: { save: false } } } ]
sinks: { rows: { type: stdout, with: { columns: [%s] } } }
`

// weir starts a pipeline that decodes what the source gives.
func weir(ctx context.Context, t *testing.T, source string, args ...string) *collector {
	t.Helper()
	dir := t.TempDir()
	var columns []string
	for _, c := range flow.Columns {
		columns = append(columns, c.Name)
	}
	file := filepath.Join(dir, "collect.yaml")
	if err := os.WriteFile(file, []byte("sources: { in: "+source+" }"+fmt.Sprintf(decoding, strings.Join(columns, ", "))), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &collector{cmd: exec.CommandContext(ctx, "weir", append([]string{"run", file, "--summary", "json", "--log-level", "warn"}, args...)...)}
	c.cmd.Dir = dir
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=atexit_sleep_ms=0"}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// account is what is read of a summary.
type account struct {
	Received, Delivered, Produced uint64
	DeadLettered                  uint64 `json:"dead_lettered"`
	Dropped, Lost                 map[string]uint64
	Balanced                      bool
}

// check that n datagrams have become records, each once.
func (a *account) check(t *testing.T, what string, datagrams, records int) {
	t.Helper()
	if !a.Balanced || a.Received != uint64(datagrams) || len(a.Dropped) > 0 || a.DeadLettered > 0 || a.Produced != uint64(records) || a.Delivered != a.Produced {
		t.Errorf("%s: %d datagrams with %d records were sent: %+v", what, datagrams, records, *a)
	}
}

// end waits for the pipeline's end, and reads its records and its account.
func (c *collector) end(t *testing.T) (rows []map[string]string, a account) {
	t.Helper()
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("weir: %v: %s", err, &c.err)
	}
	lines := strings.Split(strings.TrimSpace(c.err.String()), "\n")
	var sum struct{ Pipelines []account }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil || len(sum.Pipelines) != 1 {
		t.Fatalf("no summary of one pipeline at the end of: %s: %v", &c.err, err)
	}
	d := json.NewDecoder(&c.out)
	d.UseNumber()
	for {
		var m map[string]any
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return rows, sum.Pipelines[0]
		}
		if err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for k, v := range m {
			switch flow.Columns[flow.Index(k)].Type {
			case sdk.Timestamp:
				at, err := time.Parse(time.RFC3339Nano, v.(string))
				if err != nil {
					t.Fatal(err)
				}
				v = at.Format(time.RFC3339Nano)
			case sdk.Bytes:
				b, err := base64.StdEncoding.DecodeString(v.(string))
				if err != nil {
					t.Fatal(err)
				}
				v = hex.EncodeToString(b)
			}
			row[k] = strings.Trim(fmt.Sprint(v), "[]")
		}
		rows = append(rows, row)
	}
}

// ready waits until the pipeline runs.
func (c *collector) ready(t *testing.T, admin netip.AddrPort) {
	t.Helper()
	c.until(t, admin, "/-/ready", func([]byte) bool { return true })
}

// got waits until the pipeline has received n datagrams or messages.
func (c *collector) got(t *testing.T, admin netip.AddrPort, n int) {
	t.Helper()
	c.until(t, admin, "/api/v1/pipelines/collect", func(text []byte) bool {
		var s struct{ Ledger account }
		return json.Unmarshal(text, &s) == nil && s.Ledger.Received == uint64(n)
	})
}

// until asks the admin interface until it gives the answer.
func (c *collector) until(t *testing.T, admin netip.AddrPort, path string, good func([]byte) bool) {
	t.Helper()
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + admin.String() + path)
		if err != nil {
			last = err.Error()
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK && good(text) {
			return
		}
		last = string(text)
	}
	t.Fatalf("%s does not come to what is expected: %s: %s", path, last, &c.err)
}

// sorted orders rows by what is in them: lanes and groups of sets give them out in another order than they came.
func sorted(rows []map[string]string) []map[string]string {
	slices.SortFunc(rows, func(a, b map[string]string) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return rows
}

// of are the rows of an exporter.
func of(rows []map[string]string, exporter string) (own []map[string]string) {
	for _, r := range rows {
		if r["exporter_addr"] == exporter {
			own = append(own, r)
		}
	}
	return sorted(own)
}

// timeless are the rows without when they were received, which sFlow's other times are too.
func timeless(rows []map[string]string) (less []map[string]string) {
	for _, r := range rows {
		r = maps.Clone(r)
		for _, c := range []string{"exported", "flow_start", "flow_end", "received"} {
			if r[c] == r["received"] {
				delete(r, c)
			}
		}
		less = append(less, r)
	}
	return sorted(less)
}

// freeAddr is an address of loopback with a freePort.
func freeAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	port, err := main.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort("127.0.0.1:" + port)
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
