// Package tshark reads flow exports with tshark, which shares no code with Weir, and says what its records are in the columns of
// the table of flow columns: what the tests of decoders compare with.
//
// [Read] runs tshark over a capture of export datagrams. What tshark shows of NetFlow and IPFIX is in netflow.go, of sFlow in
// sflow.go, of packets within them in packet.go. What tshark does not know is worked out here as the protocols' documents say it:
// which time an uptime is, which sampler a record means, and which two rows a record of both directions is.
//
// A field that tshark shows in a record and that is neither a column nor known to be none fails the test: so nothing that
// exporters send can go unread.
package tshark
