// Package sequence keeps account of the sequence numbers that exporters give their datagrams: which are missing, and of them, which are
// so because datagrams were dropped on purpose.
//
// A number that is missing has not been lost as long as its datagram may be late: datagrams overtake each other on the way, and between
// lanes. So a gap is kept as what it is, an interval, for one to two periods of a second ([Account.Settle]); what comes meanwhile takes
// exactly its own numbers out of it, and what is left is lost. This is exact for any order of arrival within a period, for duplicates,
// and over the end of the 32 bits, as long as not more than [MaxHoles] gaps of one line stand open at a time. Beyond that the oldest are
// lost before their time, and a datagram that comes after its number was told as lost takes nothing back.
//
// A number further back than two periods is no late datagram. It is an exporter that began anew, if nobody goes on with the old numbers
// and somebody does with these; and nothing otherwise. Numbers far away from all others are another exporter behind the same
// address and domain, and counted by themselves; if those that they are ahead of end there, they are the same one behind a long gap.
package sequence
