package delivery_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// workerSocket names the broker's socket in the environment of a process that is a worker, not a test.
const workerSocket = "WEIR_TEST_DELIVERY_SOCKET"

func TestMain(m *testing.M) {
	if path := os.Getenv(workerSocket); path != "" {
		if err := worker(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func worker(path string) error {
	c, err := delivery.Dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	m := mini{broker: c, rows: 200}
	return m.run(context.Background())
}

// Real processes are killed with SIGKILL, the broker's lives on; nothing is lost or twice.
func TestKilledProcesses(t *testing.T) {
	world := delivery.NewMemory(delivery.Config{
		Partitions: 4, Records: 1500, Rate: 1000, Gaps: true, Bounded: true, Session: 300 * time.Millisecond, Revoke: 200 * time.Millisecond,
		Late: 0.05, LateBy: 100 * time.Millisecond, Bad: 211,
	})
	path := filepath.Join(t.TempDir(), "broker")
	server, err := delivery.Serve(path, world)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	start := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^$")
		c.Env = append(os.Environ(), workerSocket+"="+path)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	live := []*exec.Cmd{start(), start()}
	for k := range 6 {
		time.Sleep(250 * time.Millisecond)
		i := k % 2
		live[i].Process.Kill()
		live[i].Wait()
		live[i] = start()
	}
	for _, c := range live {
		done := time.AfterFunc(30*time.Second, func() { c.Process.Kill() })
		if err := c.Wait(); err != nil {
			t.Errorf("a worker ended: %v", err)
		}
		done.Stop()
	}
	c, err := delivery.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tally, err := c.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report := delivery.Check(tally, kept)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Records != 4*1500 || report.Dead == 0 {
		t.Error(report)
	}
}
