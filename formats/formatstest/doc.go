// Package formatstest is what the tests of codecs have in common: a [Table] that keeps the rows a decoder makes and gives them back
// column by column, a [Ring] of emulated datagrams for benchmarks, and messages made of sets by hand ([NetFlow9], [IPFIX]).
package formatstest
