package sflow

// Forwarding status "dropped", by reason (IANA, IPFIX element 89).
const (
	droppedUnknown    = 128
	droppedACLDeny    = 129
	droppedACL        = 130
	droppedUnroutable = 131
	droppedAdjacency  = 132
	droppedDF         = 133
	droppedTTL        = 137
	droppedPolicer    = 138
	droppedWRED       = 139
	droppedRPF        = 140
)

// forwardingStatus is the status for a reason of discard: below 256 the codes of ICMP's "destination unreachable" (RFC 1812,
// 5.2.7.1), above it sFlow's own. Reasons that the element's list does not have are dropped for an unknown reason.
func forwardingStatus(reason uint32) uint8 {
	switch reason {
	case 0, 1, 2, 3, 5, 6, 7, 8, 11, 12: // unreachable or unknown: net, host, protocol, port, source route
		return droppedUnroutable
	case 269, 281, 306: // black hole route or next hop, not routable
		return droppedUnroutable
	case 4, 262: // fragmentation needed, too big
		return droppedDF
	case 9, 10, 13: // prohibited by the administrator
		return droppedACLDeny
	case 258, 372: // ACL, BGP flowspec
		return droppedACL
	case 257:
		return droppedTTL
	case 260: // RED
		return droppedWRED
	case 261: // shaping, rate limits
		return droppedPolicer
	case 279, 292: // neighbour not resolved, or a black hole
		return droppedAdjacency
	case 280, 302, 335: // reverse path: multicast, unicast, either
		return droppedRPF
	}
	return droppedUnknown
}
