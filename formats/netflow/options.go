package netflow

// Elements of options records that are read: samplers (RFC 3954, 8; RFC 5477, 8) and the exporter's clock.
const (
	samplingInterval      = 34  // SAMPLING_INTERVAL
	samplingAlgorithm     = 35  // SAMPLING_ALGORITHM
	samplerID             = 48  // FLOW_SAMPLER_ID
	samplerMode           = 49  // FLOW_SAMPLER_MODE
	samplerRandomInterval = 50  // FLOW_SAMPLER_RANDOM_INTERVAL
	systemInitTime        = 160 // systemInitTimeMilliseconds: what IPFIX exporters' uptimes count from
	selectorID            = 302
	selectorAlgorithm     = 304
	packetInterval        = 305 // samplingPacketInterval: packets taken in a row
	packetSpace           = 306 // samplingPacketSpace: packets passed over after them
	samplingSize          = 309
	samplingPopulation    = 310
)

// Sampler is what an exporter told about one of its samplers.
type Sampler struct {
	Domain uint32
	Named  bool   // ID was given; else it is the domain's own rate
	ID     uint64 // FLOW_SAMPLER_ID or selectorId
	Rate   uint64 // one packet in Rate was looked at; at least 1
}

// tellingPart is a part of an options record: a field that is read, or bytes that are not.
type tellingPart struct {
	id uint16 // 0: it is not read
	n  int    // bytes; -1: of variable length
}

// partsOf makes the parts of an options template's records. Fields of no bytes are none: there may be a thousand of them beside one of
// a single byte, 64 million in a datagram.
func partsOf(t *Template) (parts []tellingPart) {
	for _, f := range t.Fields {
		p := tellingPart{n: int(f.Len)}
		if f.Len == Variable && t.Version == IPFIX {
			p.n = -1
		}
		if f.PEN == 0 && !(f.Scope && t.Version == V9) {
			switch f.ID {
			case samplingInterval, samplerRandomInterval, samplerID, selectorID, packetInterval, packetSpace, samplingSize, samplingPopulation, systemInitTime:
				p.id = f.ID
			}
		}
		if last := len(parts) - 1; p.id == 0 && p.n >= 0 && last >= 0 && parts[last].id == 0 && parts[last].n >= 0 {
			parts[last].n += p.n
		} else if p.n != 0 {
			parts = append(parts, p)
		}
	}
	return parts
}

// optionsData reads the records of an options data set: what they say about samplers is appended to samplers, and the
// exporter's start time (ms since the Unix epoch, 0 if not said) is returned. records and decoded are the number and the bytes
// of whole records; why says what is wrong with the rest, if it is a fault.
func optionsData(set []byte, t *Template, domain uint32, samplers []Sampler) (_ []Sampler, init uint64, records, decoded int, why Reason) {
	rest := set
	for len(rest) >= t.MinRecord() {
		var v [12]uint64
		var has [12]bool
		put := func(i int, x uint64) { v[i], has[i] = x, true }
		at := 0
		for i := range t.told {
			f := &t.told[i]
			n := f.n
			if n < 0 {
				l, head, ok := varLen(rest[at:])
				if !ok {
					return samplers, init, records, decoded, RecordCut
				}
				at, n = at+head, l
			}
			if len(rest)-at < n {
				return samplers, init, records, decoded, RecordCut
			}
			if f.id != 0 && n <= 8 {
				x := number(rest[at : at+n])
				switch f.id {
				case samplingInterval:
					put(0, x)
				case samplerRandomInterval:
					put(1, x)
				case samplerID, selectorID:
					put(2, x)
				case packetInterval:
					put(3, x)
				case packetSpace:
					put(4, x)
				case samplingSize:
					put(5, x)
				case samplingPopulation:
					put(6, x)
				case systemInitTime:
					init = x
				}
			}
			at += n
		}
		rest = rest[at:]
		decoded += at
		records++
		var rate uint64
		switch {
		case v[1] != 0:
			rate = v[1]
		case v[0] != 0:
			rate = v[0]
		case v[3] != 0 && has[4]:
			rate = (v[3] + v[4]) / v[3]
		case v[3] != 0: // alone it is sent as the rate itself
			rate = v[3]
		case v[5] != 0 && v[6] >= v[5]:
			rate = v[6] / v[5]
		}
		if rate != 0 && len(samplers) < maxDatagramSamplers {
			samplers = append(samplers, Sampler{Domain: domain, Named: has[2], ID: v[2], Rate: rate})
		}
	}
	if decoded == 0 {
		return samplers, init, 0, 0, ShortSet
	}
	return samplers, init, records, decoded, None
}

// maxDatagramSamplers bounds what one set may tell; the store's own limit is lower.
const maxDatagramSamplers = 4096

// number reads an unsigned integer of up to 8 bytes.
func number(b []byte) (v uint64) {
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// varLen reads the length of a value of variable length (RFC 7011, 7): n bytes, behind head bytes that say so.
func varLen(b []byte) (n, head int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	if b[0] < 255 {
		return int(b[0]), 1, true
	}
	if len(b) < 3 {
		return 0, 0, false
	}
	return int(b[1])<<8 | int(b[2]), 3, true
}
