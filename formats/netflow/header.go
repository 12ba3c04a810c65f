package netflow

import "encoding/binary"

// Versions of the protocols, as the first 16 bits of a datagram have them.
const (
	V1    = 1
	V5    = 5
	V7    = 7
	V9    = 9
	IPFIX = 10
)

// Header is what the headers of the protocols have in common.
type Header struct {
	Version  uint16
	Count    uint16 // records (v1, v5, v7) or records of all kinds (v9), by the exporter's word; 0 in IPFIX
	Uptime   uint32 // milliseconds since the exporter started; not in IPFIX
	Exported int64  // ns since the Unix epoch, by the exporter's clock
	Sequence uint32 // flows before (v5, v7), messages (v9), data records before (IPFIX)
	Domain   uint32 // engine type and id (v5), source id (v9), observation domain (IPFIX)
	Sampling uint32 // v5: the interval, without the mode bits; 0: not said

	Len int // of the header, bytes
	End int // of the message in the datagram: bytes behind it are not ours
}

// Lengths in bytes of the headers and of the records that no template describes.
const (
	headerV1    = 16
	recordV1    = 48
	headerV7    = 24
	recordV7    = 52
	headerV5    = 24
	recordV5    = 48
	headerV9    = 20
	headerIPFIX = 16
	headerSet   = 4
)

// ParseHeader reads the header of a datagram. The reason is None, or why the datagram as a whole must be refused.
func ParseHeader(p []byte) (h Header, why Reason) {
	why = h.parse(p)
	return h, why
}

// parse is ParseHeader in place: a header is long, and there is one for each datagram.
func (h *Header) parse(p []byte) Reason {
	*h = Header{}
	if len(p) < 2 {
		return ShortHeader
	}
	be := binary.BigEndian
	switch h.Version = be.Uint16(p); h.Version {
	case V5:
		if len(p) < headerV5 {
			return ShortHeader
		}
		h.Len = headerV5
		h.Count = be.Uint16(p[2:])
		h.Uptime = be.Uint32(p[4:])
		h.Exported = exported(p[8:])
		h.Sequence = be.Uint32(p[16:])
		h.Domain = uint32(be.Uint16(p[20:]))
		h.Sampling = uint32(be.Uint16(p[22:]) & 0x3fff) // the top two bits are the mode
		return h.counted(len(p), recordV5)
	case V1, V7:
		head, record := headerV1, recordV1
		if h.Version == V7 {
			head, record = headerV7, recordV7
		}
		if len(p) < head {
			return ShortHeader
		}
		h.Len = head
		h.Count = be.Uint16(p[2:])
		h.Uptime = be.Uint32(p[4:])
		h.Exported = exported(p[8:])
		if h.Version == V7 {
			h.Sequence = be.Uint32(p[16:])
		}
		return h.counted(len(p), record)
	case V9:
		if len(p) < headerV9 {
			return ShortHeader
		}
		h.Len, h.End = headerV9, len(p)
		h.Count = be.Uint16(p[2:])
		h.Uptime = be.Uint32(p[4:])
		h.Exported = int64(be.Uint32(p[8:])) * 1e9
		h.Sequence = be.Uint32(p[12:])
		h.Domain = be.Uint32(p[16:])
	case IPFIX:
		if len(p) < headerIPFIX {
			return ShortHeader
		}
		h.Len = headerIPFIX
		n := int(be.Uint16(p[2:]))
		if n < headerIPFIX {
			return MessageLength
		}
		// A message that says it is longer was cut on its way: the sets that are whole are still good.
		h.End = min(n, len(p))
		h.Exported = int64(be.Uint32(p[4:])) * 1e9
		h.Sequence = be.Uint32(p[8:])
		h.Domain = be.Uint32(p[12:])
	default:
		return UnknownVersion
	}
	return None
}

// counted sets the end of a message of n bytes whose records all have so many. One that counts more than it has was cut on its way, or lies: the
// records that are whole are still good, and if there is none it is refused.
func (h *Header) counted(n, record int) Reason {
	h.End = h.Len + int(h.Count)*record
	if h.End > n {
		h.End = n
		if n-h.Len < record {
			return RecordCount
		}
	}
	return None
}

// exported is the time of export in ns since the epoch: seconds, and a fraction in ns. A fraction of more than a second would move the flows; then
// the seconds alone are believed.
func exported(p []byte) int64 {
	t := int64(binary.BigEndian.Uint32(p)) * 1e9
	if ns := binary.BigEndian.Uint32(p[4:]); ns < 1e9 {
		t += int64(ns)
	}
	return t
}
