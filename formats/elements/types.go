package elements

import (
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Type is an abstract data type (RFC 7012, 3.1; RFC 6313, 3).
type Type uint8

const (
	OctetArray Type = iota + 1
	Unsigned8
	Unsigned16
	Unsigned32
	Unsigned64
	Signed8
	Signed16
	Signed32
	Signed64
	Float32
	Float64
	Boolean
	MACAddress
	String
	DateTimeSeconds
	DateTimeMilliseconds
	DateTimeMicroseconds
	DateTimeNanoseconds
	IPv4Address
	IPv6Address
	BasicList
	SubTemplateList
	SubTemplateMultiList
)

// kinds is what each data type is called, on the wire, and in a column.
var kinds = [...]struct {
	name   string
	enc    flow.Encoding
	column sdk.Type
}{
	OctetArray: {"octetArray", flow.Octets, sdk.Bytes},
	Unsigned8:  {"unsigned8", flow.Unsigned, sdk.Uint8}, Unsigned16: {"unsigned16", flow.Unsigned, sdk.Uint16},
	Unsigned32: {"unsigned32", flow.Unsigned, sdk.Uint32}, Unsigned64: {"unsigned64", flow.Unsigned, sdk.Uint64},
	Signed8: {"signed8", flow.Signed, sdk.Int64}, Signed16: {"signed16", flow.Signed, sdk.Int64},
	Signed32: {"signed32", flow.Signed, sdk.Int64}, Signed64: {"signed64", flow.Signed, sdk.Int64},
	Float32: {"float32", flow.Float, sdk.Float64}, Float64: {"float64", flow.Float, sdk.Float64},
	Boolean:              {"boolean", flow.Boolean, sdk.Uint8},
	MACAddress:           {"macAddress", flow.MACAddress, sdk.MAC},
	String:               {"string", flow.String, sdk.Name},
	DateTimeSeconds:      {"dateTimeSeconds", flow.Seconds, sdk.Timestamp},
	DateTimeMilliseconds: {"dateTimeMilliseconds", flow.Millis, sdk.Timestamp},
	DateTimeMicroseconds: {"dateTimeMicroseconds", flow.Micros, sdk.Timestamp},
	DateTimeNanoseconds:  {"dateTimeNanoseconds", flow.Nanos, sdk.Timestamp},
	IPv4Address:          {"ipv4Address", flow.IPv4, sdk.Addr}, IPv6Address: {"ipv6Address", flow.IPv6, sdk.Addr},
	BasicList: {"basicList", flow.BasicList, sdk.Text}, SubTemplateList: {"subTemplateList", flow.SubTemplateList, sdk.Text},
	SubTemplateMultiList: {"subTemplateMultiList", flow.SubTemplateMultiList, sdk.Text},
}

// TypeOf finds a data type by its name in RFC 7012 ("unsigned32").
func TypeOf(name string) (Type, bool) {
	for i := OctetArray; i <= SubTemplateMultiList; i++ {
		if kinds[i].name == name {
			return i, true
		}
	}
	return 0, false
}

// Types lists the names of all data types.
func Types() (names []string) {
	for _, k := range kinds[1:] {
		names = append(names, k.name)
	}
	return names
}

// String is the type's name in RFC 7012.
func (t Type) String() string {
	if t > 0 && int(t) < len(kinds) {
		return kinds[t].name
	}
	return "type(?)"
}

// Column is the type of the column that holds the data type's values, and how they stand on the wire.
func (t Type) Column() (sdk.Type, flow.Encoding) { return kinds[t].column, kinds[t].enc }
