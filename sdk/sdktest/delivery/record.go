package delivery

import (
	"encoding/binary"

	"github.com/weirflow/weir/sdk"
)

// Record is one of the log, by its number within its partition.
type Record struct {
	Partition uint32
	Number    uint64
}

// Schema of the source's records.
var Schema = sdk.NewSchema(
	sdk.Field{Name: "partition", Type: sdk.Uint32, Doc: "the partition of the log"},
	sdk.Field{Name: "number", Type: sdk.Uint64, Doc: "the number of the record in its partition, from 0, without gaps"},
	sdk.Field{Name: "position", Type: sdk.Int64, Doc: "the position of the record, gaps allowed"},
	sdk.Field{Name: "generation", Type: sdk.Uint32, Doc: "what stamp wrote: the generation of the chain"},
	sdk.Field{Name: "payload", Type: sdk.Bytes, Doc: "bytes that follow from partition and number"},
)

// Columns of Schema by position.
const (
	ColPartition = iota
	ColNumber
	ColPosition
	ColGeneration
	ColPayload
)

// Payload is the payload of a record: 8 to 39 bytes that follow from its partition and number.
func (r Record) Payload() []byte {
	h := mix(uint64(r.Partition)<<48 ^ r.Number)
	b := make([]byte, 8+h%32)
	for i := range b {
		b[i] = byte(h >> (i % 8 * 8))
	}
	binary.LittleEndian.PutUint64(b, r.Number)
	return b
}

// mix spreads the bits of x (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
