package udp

import (
	"encoding/binary"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is that of the control message, with its padding.
var controlSize = unix.CmsgSpace(2)

// mostControl is no less than controlSize anywhere.
const mostControl = 32

// canSegment says whether the kernel cuts pieces. One that does not would send them as they are.
func canSegment(c net.Conn) (can bool) {
	u, ok := c.(*net.UDPConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	if err := raw.Control(func(fd uintptr) {
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
		can = err == nil
	}); err != nil {
		return false
	}
	return can
}

// segmentControl writes the control message that says where a piece is cut.
func segmentControl(b []byte, size int) []byte {
	b = b[:controlSize]
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}
