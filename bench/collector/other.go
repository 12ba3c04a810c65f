//go:build !linux

// Command collector measures flow collectors over loopback UDP. It reads /proc and needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "collector: the measurement reads /proc and pins processes to cores: run it on Linux")
	os.Exit(75)
}
