// Package formatstest is what the tests of codecs have in common: a [Table] that keeps the rows a decoder makes and gives them back
// column by column, and a [Ring] of emulated datagrams for benchmarks.
package formatstest
