// Package netflow decodes NetFlow v5, NetFlow v9 (RFC 3954) and IPFIX (RFC 7011) datagrams into columns of flows.
//
// It is a pure codec: bytes and times come in, rows of the schema asked for go out, and nothing here reads a clock or a
// socket. The way of a datagram: [ParseHeader] reads its header, the [Decoder] walks its sets. A template set is judged,
// interned and kept in the [Store], which lanes share. A data set finds its template in the exporter's snapshot and the
// [Plan] its template was compiled to: one operation a column, for exactly the columns wanted. Sets of one plan wait as a
// group and run together, operation by operation, so that the inner loop is over records and touches one column, or two of a kind.
//
// All that comes from outside is hostile. A bad set costs that set and nothing else of its datagram; every byte of a
// datagram is counted once, as header, decoded, skipped for a [Reason], rejected for a [Reason] or waiting for a template
// ([Tally]); every loop consumes bytes.
package netflow
