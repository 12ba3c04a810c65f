package formatstest

import "encoding/binary"

// NetFlow9 is a message of NetFlow version 9 (RFC 3954, 5) with a record counted for each set; uptime is in milliseconds, exported in
// seconds since the Unix epoch.
func NetFlow9(uptime, exported, domain, sequence uint32, sets ...[]byte) []byte {
	return join(append(Uint16s(9, uint16(len(sets))), Uint32s(uptime, exported, sequence, domain)...), sets)
}

// IPFIX is a message of IPFIX (RFC 7011, 3.1); exported is in seconds since the Unix epoch.
func IPFIX(exported, domain, sequence uint32, sets ...[]byte) []byte {
	return sized(join(append(Uint16s(10, 0), Uint32s(exported, sequence, domain)...), sets))
}

// Set is a set of templates, options templates or data, of one protocol or the other.
func Set(id uint16, parts ...[]byte) []byte { return sized(join(Uint16s(id, 0), parts)) }

// sized puts the length where a message of IPFIX and a set have it.
func sized(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func join(b []byte, parts [][]byte) []byte {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// Uint16s is the numbers in network byte order.
func Uint16s(vs ...uint16) (b []byte) {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// Uint32s is the numbers in network byte order.
func Uint32s(vs ...uint32) (b []byte) {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}
