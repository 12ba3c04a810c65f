//go:build !unix

package lab

import (
	"errors"
	"time"
)

// CPU is not known on this system.
func CPU() (time.Duration, error) {
	return 0, errors.New("this system has no getrusage: measure on Linux, macOS or BSD")
}
