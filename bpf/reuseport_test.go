//go:build linux

package bpf

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// with runs f on a thread that has only the capabilities named, and ends the thread.
func with(t *testing.T, caps []int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can choose its capabilities")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		for _, c := range caps {
			data[c/32].Permitted |= 1 << (c % 32)
			data[c/32].Effective |= 1 << (c % 32)
		}
		err := unix.Capset(&h, &data[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("capabilities cannot be given up here: ", err)
	}
}

// group opens n sockets of one SO_REUSEPORT group.
func group(t *testing.T, n int) (fds []int) {
	t.Helper()
	port := 0
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		port = sa.(*unix.SockaddrInet4).Port
		fds = append(fds, fd)
	}
	return fds
}

// The verifier treats a loader without CAP_PERFMON more strictly: what root can load may be refused to a service.
func TestCapBPFIsEnough(t *testing.T) {
	fds := group(t, 3)
	with(t, []int{unix.CAP_BPF}, func() {
		r, err := LoadReuseport()
		if err != nil {
			t.Errorf("%+v", err)
			return
		}
		for i, fd := range fds {
			if err := r.Put(i, fd); err != nil {
				t.Error(err)
			}
		}
		if err := r.Choose(len(fds), 100); err != nil {
			t.Error(err)
		}
		for _, c := range []Choice{ByPacket, BySource, ByDomain} {
			if err := r.Attach(fds[1], c); err != nil {
				t.Errorf("%s: %v", c, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutPrivilege(t *testing.T) {
	fds := group(t, 2)
	with(t, nil, func() {
		if r, err := LoadReuseport(); err == nil {
			t.Log("this system lets anybody load programs")
			r.Close()
		} else if Why(err) != "it needs CAP_BPF" {
			t.Error(Why(err), err)
		}
		if err := AttachRandom(fds[0], len(fds)); err != nil {
			t.Error(err)
		}
		if err := Detach(fds[0]); err != nil {
			t.Error(err)
		}
		if err := Detach(fds[0]); err != nil {
			t.Error("nothing to detach is no fault: ", err)
		}
	})
}
