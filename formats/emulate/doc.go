// Package emulate plays routers and switches: it writes the datagrams that flow exporters send (NetFlow v5 and v9, IPFIX, sFlow
// v5), and knows every value it put into them. Traffic generators, benchmarks and tests of decoders use it.
//
// An [Emulator] is a deterministic function of its [Options] and of the times it is given: it has no clock, no I/O and no
// randomness but its seed, and computes in integers only, so the same bytes come out on every machine.
//
//	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{emulate.NetFlowV9, 1}, {emulate.SFlow, 1}}, Exporters: 50})
//	buf, d := e.Append(buf[:0], at, 0) // the next datagram, sent at at; d says by whom
//	e.Flows()                          // what a decoder must make of it
//
// A [Ring] is a stretch of such datagrams built once, to be handed out again and again.
package emulate
