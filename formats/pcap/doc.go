// Package pcap reads capture files: classic pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), and finds the
// UDP datagrams in their frames. It is a pure codec: it opens nothing and knows no policy.
//
// [Decoder] parses bytes its caller holds and copies none, for callers that manage their own memory; [Reader] is the same over
// an io.Reader. [UDP] finds the datagram in a frame of any usual link layer, [Ethernet] gives a frame of one of the others an
// Ethernet header.
//
// Files are hostile: every length is bounded before it is used, memory is bounded whatever a file claims, and a file is read
// to its last byte or to an [Error] that says at which byte and why it ends.
package pcap
