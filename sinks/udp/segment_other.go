//go:build !linux

package udp

import "net"

const mostControl = 1

// canSegment is false: only Linux cuts pieces.
func canSegment(net.Conn) bool { return false }

// segmentControl is not called where nothing is cut.
func segmentControl([]byte, int) []byte { return nil }
