package netflow

import (
	"encoding/binary"
	"hash/crc32"
)

// Sealed puts the head and the checksum around what Load is to read.
func Sealed(b []byte) []byte {
	b = append(append([]byte(saveMagic), saveVersion), b...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
