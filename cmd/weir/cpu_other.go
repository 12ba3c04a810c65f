//go:build !unix

package main

import (
	"time"

	"github.com/weirflow/weir/sdk"
)

func cpuTime() (time.Duration, error) {
	return 0, &sdk.NotReady{What: "the CPU time of a process cannot be read on this system", Do: "measure on Linux or another Unix"}
}
