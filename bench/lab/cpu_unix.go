//go:build unix

package lab

import (
	"syscall"
	"time"
)

// CPU is the processor time of this process so far: all threads, the collector of garbage too, user and kernel.
func CPU() (time.Duration, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, err
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}
