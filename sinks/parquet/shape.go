package parquet

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/weirflow/weir/sdk"
)

// dictionary is the type of names and of addresses as text: strings that repeat. A row group has one for each such column.
var dictionary = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}

// shape is how batches of one schema are written: which columns, and as what.
type shape struct {
	at     []int // columns of the batch
	fields []sdk.Field
	text   bool // addresses as text
	schema *arrow.Schema
	props  *parquet.WriterProperties
}

func newShape(s *sdk.Schema, cfg *Config) (*shape, error) {
	at, err := s.Indices(sdk.Wanted(cfg.Columns, s))
	if err != nil {
		return nil, err
	}
	h := &shape{at: at, text: cfg.Addresses == "text"}
	props := []parquet.WriterProperty{parquet.WithVersion(parquet.V2_LATEST), parquet.WithCreatedBy("weir"), parquet.WithMaxRowGroupLength(groupRows), parquet.WithBatchSize(sdk.MaxRows)}
	switch cfg.Compression {
	case "zstd":
		props = append(props, parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(cfg.Level))
	case "snappy":
		props = append(props, parquet.WithCompression(compress.Codecs.Snappy))
	}
	var out []arrow.Field
	for _, j := range at {
		f, a := s.Field(j), s.Arrow().Field(j)
		h.fields = append(h.fields, f)
		switch {
		case f.Type == sdk.Timestamp:
			a.Nullable = true
			// Times rise, so their differences are small; a dictionary of them would be as large as they are.
			props = append(props, parquet.WithDictionaryFor(f.Name, false), parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		case h.text && (f.Type == sdk.Addr || f.Type == sdk.MAC):
			a.Type, a.Nullable = dictionary, true
		case f.Type == sdk.Name:
			a.Type = dictionary
		case f.Type == sdk.Bytes || f.Type == sdk.Text || f.Type == sdk.Addr || f.Type == sdk.Float64:
			props = append(props, parquet.WithDictionaryFor(f.Name, false)) // seldom the same twice
		}
		out = append(out, a)
	}
	h.schema = arrow.NewSchema(out, nil)
	h.props = parquet.NewWriterProperties(props...)
	return h, nil
}

func (h *shape) newWriter(f *file) (*pqarrow.FileWriter, error) {
	return pqarrow.NewFileWriter(h.schema, f, h.props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
}
