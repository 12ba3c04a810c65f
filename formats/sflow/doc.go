// Package sflow decodes sFlow version 5 datagrams (sflow.org, "sFlow Version 5", 2004, its "Host Structures", 2010, "Tunnel
// Structures", 2012, and "Discarded Packet Notification Structures", 2020) into columns: of flows, a row for each sampled or
// discarded packet; of counters, a row for each counters sample. What nobody reads of the two is stepped over.
//
// It is a pure codec: bytes and times come in, rows of the schema asked for go out. The way of a datagram: the [Decoder] walks
// its samples and their records; the sampled header goes through formats/packet; what a sample says is put together in a record
// whose fields have their columns' types. Some tens of records wait, then go into the batch column by column, those columns
// that somebody needs. Records that only other columns need are stepped over by their length.
//
// Bytes are those of the frame on the wire and Packets is 1, neither multiplied by the sampling rate. sFlow tells no wall-clock
// time, so exported, flow_start and flow_end are the time of arrival.
//
// All that comes from outside is hostile. A bad record costs that record, a bad sample that sample; every byte of a datagram is
// counted once, as decoded, skipped for a [Reason] or rejected for a [Reason] ([Tally]); every count is bounded by the bytes
// that are there.
package sflow
