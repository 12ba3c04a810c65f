//go:build unix

package main

import (
	"fmt"
	"syscall"
	"time"
)

// cpuTime is what the process has used of all CPUs, for itself and in the kernel.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
