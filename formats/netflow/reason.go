package netflow

import "github.com/weirflow/weir/formats/reason"

// Reason says why bytes of a datagram were skipped or rejected, or a datagram was refused. The set of reasons is fixed:
// they become metric labels.
type Reason uint8

const (
	None Reason = iota

	// Skipped: nothing is wrong with the bytes, there is only nothing in them for us.
	Padding     // fewer bytes than a record or a definition takes (RFC 7011, 3.3.1)
	Trailing    // bytes after the end that the header states
	ReservedSet // set ids 4..255 (RFC 7011, 3.3.2), and 2, 3 in NetFlow v9
	OptionsData // options records that say nothing about sampling or the exporter's clock

	// Rejected: a set or a part of it.
	SetLength        // a set's length is below 4 or passes the end of the message
	ShortSet         // a data set that is shorter than one record
	RecordCut        // a value of variable length passes the end of its set
	DefinitionCut    // a template definition passes the end of its set
	ZeroFields       // a template without fields
	TemplateID       // a template id below 256
	ZeroLength       // a template whose records have no bytes
	TooManyFields    // more fields than MaxFields
	RecordLength     // records longer than a set can be
	Scope            // an options template whose scope counts are not possible
	TooManyTemplates // the store's limit for an exporter, for all, or for exporters

	// Refused: the datagram as a whole.
	ShortHeader    // shorter than its protocol's header
	UnknownVersion // none of the versions decoded here
	MessageLength  // an IPFIX message length below the header's
	RecordCount    // a count of NetFlow v1, v5 or v7 that the datagram's bytes do not bear out; rejected is what is behind the whole records, refused one without any

	reasons
)

var reasonNames = [reasons]string{
	None: "none", Padding: "padding", Trailing: "trailing", ReservedSet: "reserved_set", OptionsData: "options_data",
	SetLength: "set_length", ShortSet: "short_set", RecordCut: "record_cut", DefinitionCut: "definition_cut", ZeroFields: "zero_fields",
	TemplateID: "template_id", ZeroLength: "zero_length", TooManyFields: "too_many_fields",
	RecordLength: "record_length", Scope: "scope", TooManyTemplates: "too_many_templates",
	ShortHeader: "short_header", UnknownVersion: "unknown_version", MessageLength: "message_length", RecordCount: "record_count",
}

var reasonSentences = [reasons]string{
	SetLength:        "a set's length is below 4 or passes the end of the message",
	ShortSet:         "a data set is shorter than one record of its template",
	RecordCut:        "a value of variable length passes the end of its set",
	DefinitionCut:    "a template definition passes the end of its set",
	ZeroFields:       "a template has no fields",
	TemplateID:       "a template has an id below 256",
	ZeroLength:       "a template's records have no bytes",
	TooManyFields:    "a template has more than 1024 fields",
	RecordLength:     "a template's records are longer than a set can be",
	Scope:            "an options template's scope counts are not possible",
	TooManyTemplates: "the limit of templates or exporters is reached",
	ShortHeader:      "the datagram is shorter than its protocol's header",
	UnknownVersion:   "the datagram is not NetFlow v1, v5, v7 or v9, or IPFIX",
	MessageLength:    "the IPFIX message length is below 16",
	RecordCount:      "the header counts more records than the datagram holds",
}

var words = reason.Table[Reason]{Names: reasonNames[:], Sentences: reasonSentences[:]}

// String is the constant of the reason, in snake_case.
func (r Reason) String() string { return words.Name(r) }

// Sentence says what is wrong; empty for reasons that are no fault.
func (r Reason) Sentence() string { return words.Sentence(r) }

// Reasons lists all reasons but None.
func Reasons() []Reason { return words.All() }

// Tally counts where the bytes of datagrams went. Header, Decoded, Unknown, and all of Skipped and Rejected sum to the
// datagrams' lengths ([Tally.Bytes]).
type Tally struct {
	Header  uint64 // message headers
	Decoded uint64 // set headers, records and template definitions that were used
	Unknown uint64 // data sets whose template is not known (yet)

	Skipped, Rejected [reasons]uint64

	Templates    uint64 // definitions taken that were new or different
	WrongLengths uint64 // fields of theirs that are passed over ([Field.WrongLength])
	Records      uint64 // flow records

	SamplingUnknown uint64 // records whose sampling rate nobody told and no option sets; they got 1
	Clamped         uint64 // times outside the window around the arrival
	NotEthernet     uint64 // frames that were not dissected, for their exporter says that they are not of Ethernet
	NamesFull       uint64 // strings that found their column's dictionary full, and became empty
}

// Bytes is the sum of all bytes counted.
func (t *Tally) Bytes() uint64 {
	n := t.Header + t.Decoded + t.Unknown
	for i := range t.Skipped {
		n += t.Skipped[i] + t.Rejected[i]
	}
	return n
}
