package sflow

import "github.com/weirflow/weir/formats/reason"

// Reason says why bytes of a datagram were skipped or rejected, or a datagram was refused. The set of reasons is fixed: they
// become metric labels.
type Reason uint8

const (
	None Reason = iota

	// Skipped: nothing is wrong with the bytes, there is only nothing in them for us.
	Counters      // counters samples, which nobody reads
	FlowSamples   // flow samples, which nobody reads
	UnknownSample // samples of another format or enterprise
	UnknownRecord // records of another format or enterprise, or that say nothing any column is for
	NoPacket      // a flow sample without a record of the packet
	NoCounters    // a counters sample without a structure that is known
	Padding       // bytes of a sample or record behind what it says it holds
	Trailing      // bytes behind the last sample

	// Rejected: a sample or a record.
	SampleLength // a sample's length passes the end of the datagram
	SampleShort  // a sample shorter than its fixed part
	SampleCount  // the datagram ends before as many samples as it counts
	RecordLength // a record's length passes the end of its sample
	RecordShort  // a record shorter than its fixed part
	RecordCount  // the sample ends before as many records as it counts
	HeaderLength // a sampled header's length passes the end of its record
	ListLength   // an AS path's, community list's, label stack's or string's length passes the end of its record
	AddressType  // an address that is neither IPv4 nor IPv6

	// Refused: the datagram as a whole.
	ShortHeader    // shorter than its header
	UnknownVersion // not version 5
	AgentAddress   // the agent's address is neither IPv4 nor IPv6

	reasons
)

var reasonNames = [reasons]string{
	None: "none", Counters: "counters", FlowSamples: "flow_samples", UnknownSample: "unknown_sample", UnknownRecord: "unknown_record", NoPacket: "no_packet", NoCounters: "no_counters", Padding: "padding", Trailing: "trailing",
	SampleLength: "sample_length", SampleShort: "sample_short", SampleCount: "sample_count", RecordLength: "record_length", RecordShort: "record_short", RecordCount: "record_count",
	HeaderLength: "header_length", ListLength: "list_length", AddressType: "address_type",
	ShortHeader: "short_header", UnknownVersion: "unknown_version", AgentAddress: "agent_address",
}

var reasonSentences = [reasons]string{
	SampleLength:   "a sample's length passes the end of the datagram",
	SampleShort:    "a sample is shorter than its fixed part",
	SampleCount:    "the header counts more samples than the datagram holds",
	RecordLength:   "a record's length passes the end of its sample",
	RecordShort:    "a record is shorter than its fixed part",
	RecordCount:    "a sample counts more records than it holds",
	HeaderLength:   "a sampled header's length passes the end of its record",
	ListLength:     "a list's length passes the end of its record",
	AddressType:    "an address is neither IPv4 nor IPv6",
	ShortHeader:    "the datagram is shorter than its protocol's header",
	UnknownVersion: "the datagram is not sFlow version 5",
	AgentAddress:   "the address of the sFlow agent is neither IPv4 nor IPv6",
}

var words = reason.Table[Reason]{Names: reasonNames[:], Sentences: reasonSentences[:]}

// String is the constant of the reason, in snake_case.
func (r Reason) String() string { return words.Name(r) }

// Sentence says what is wrong; empty for reasons that are no fault.
func (r Reason) Sentence() string { return words.Sentence(r) }

// Reasons lists all reasons but None.
func Reasons() []Reason { return words.All() }

// Tally counts where the bytes of datagrams went. Header, Decoded, and all of Skipped and Rejected sum to the datagrams'
// lengths ([Tally.Bytes]). A record that no wanted column needs counts as decoded, though nobody looked into it.
type Tally struct {
	Header  uint64 // datagram headers
	Decoded uint64 // samples and records that were used

	Skipped, Rejected [reasons]uint64

	Records     uint64 // flow records: sampled and discarded packets
	CounterRows uint64 // rows of counters samples

	SamplingUnknown uint64 // samples with a rate of 0 for which none is set; they got 1
	NamesFull       uint64 // strings that found their column's dictionary full, and became empty
}

// Bytes is the sum of all bytes counted.
func (t *Tally) Bytes() uint64 {
	n := t.Header + t.Decoded
	for i := range t.Skipped {
		n += t.Skipped[i] + t.Rejected[i]
	}
	return n
}
