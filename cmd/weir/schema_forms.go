package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weirflow/weir/sdk"
)

// typeForm is how a type of column is written in the forms of others.
type typeForm struct {
	clickhouse, proto string
	json              map[string]any
}

// typeForms has a row for every type. JSON is what the sink stdout writes.
var typeForms = map[sdk.Type]typeForm{
	sdk.Uint8:     {"UInt8", "uint32", unsigned(8)},
	sdk.Uint16:    {"UInt16", "uint32", unsigned(16)},
	sdk.Uint32:    {"UInt32", "uint32", unsigned(32)},
	sdk.Uint64:    {"UInt64", "uint64", unsigned(64)},
	sdk.Int64:     {"Int64", "int64", map[string]any{"type": "integer"}},
	sdk.Float64:   {"Float64", "double", map[string]any{"type": "number"}},
	sdk.Timestamp: {"DateTime64(9, 'UTC')", "fixed64", map[string]any{"type": "string", "format": "date-time"}},
	sdk.Addr:      {"IPv6", "bytes", map[string]any{"type": "string", "anyOf": []any{map[string]any{"format": "ipv4"}, map[string]any{"format": "ipv6"}}}},
	sdk.MAC:       {"UInt64", "uint64", map[string]any{"type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"}},
	sdk.Name:      {"LowCardinality(String)", "string", map[string]any{"type": "string"}},
	sdk.Bytes:     {"String", "bytes", map[string]any{"type": "string", "contentEncoding": "base64"}},
	sdk.Text:      {"String", "string", map[string]any{"type": "string"}},
	sdk.Uint32s:   {"Array(UInt32)", "repeated uint32", map[string]any{"type": "array", "items": unsigned(32)}},
}

func unsigned(bits int) map[string]any {
	m := map[string]any{"type": "integer", "minimum": 0}
	if bits <= 32 { // larger bounds are not numbers that every reader of JSON holds exactly
		m["maximum"] = uint64(1)<<bits - 1
	}
	return m
}

// writeSchemas writes schemas in one of the forms of `inspect schema`.
func writeSchemas(w io.Writer, list []nodeSchema, form string) error {
	switch form {
	case "json":
		return schemasJSON(w, list)
	case "jsonschema":
		return jsonSchemas(w, list)
	}
	for i, s := range list {
		if i > 0 {
			fmt.Fprintln(w)
		} else if form == "proto" {
			fmt.Fprint(w, "syntax = \"proto3\";\n\n")
		}
		var err error
		switch form {
		case "clickhouse":
			err = clickhouseTable(w, s)
		case "proto":
			err = protoMessage(w, s)
		default:
			err = schemaText(w, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func schemaText(w io.Writer, s nodeSchema) error {
	fmt.Fprintf(w, "%s: %s\n", s.title(), counted(s.schema.Len(), "column"))
	t := newTable("column", "type", "unit", "meaning")
	for _, f := range s.schema.Fields() {
		t.add(f.Name, f.Type.String(), f.Unit, f.Doc)
	}
	return t.write(w, "  ")
}

type columnJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
	Doc  string `json:"doc,omitempty"`
}

func schemasJSON(w io.Writer, list []nodeSchema) error {
	type one struct {
		Node    string       `json:"node"`
		Output  string       `json:"output,omitempty"`
		Kind    sdk.Kind     `json:"kind"`
		Columns []columnJSON `json:"columns"`
	}
	out := []one{}
	for _, s := range list {
		o := one{s.node, s.output, s.kind, []columnJSON{}}
		for _, f := range s.schema.Fields() {
			o.Columns = append(o.Columns, columnJSON{f.Name, f.Type.String(), f.Unit, f.Doc})
		}
		out = append(out, o)
	}
	return writeJSON(w, out)
}

// clickhouseTable is a table that holds the columns: what did not come is the type's zero, as in a batch.
func clickhouseTable(w io.Writer, s nodeSchema) error {
	t := newTable("", "", "")
	for i, f := range s.schema.Fields() {
		end := ","
		if i == s.schema.Len()-1 {
			end = ""
		}
		doc := describe(f)
		if doc != "" {
			doc = "COMMENT " + quoteSQL(doc)
			doc += end
			end = ""
		}
		t.add("`"+f.Name+"`", typeForms[f.Type].clickhouse+end, doc)
	}
	var b strings.Builder
	if err := t.write(&b, "    "); err != nil {
		return err
	}
	_, columns, _ := strings.Cut(b.String(), "\n") // without the table's head
	order := "tuple()"
	if i := slices.IndexFunc(s.schema.Fields(), func(f sdk.Field) bool { return f.Type == sdk.Timestamp }); i >= 0 {
		order = "`" + s.schema.Field(i).Name + "`"
	}
	_, err := fmt.Fprintf(w, "CREATE TABLE %s\n(\n%s)\nENGINE = MergeTree\nORDER BY %s;\n", quoteName(s.pipeline+"_"+s.node), columns, order)
	return err
}

// describe is a column's meaning, with its unit where neither the meaning nor the type says it.
func describe(f sdk.Field) string {
	if f.Unit == "" || f.Type == sdk.Timestamp || strings.Contains(f.Doc, f.Unit) {
		return f.Doc
	}
	return strings.TrimPrefix(f.Doc+", in "+f.Unit, ", ")
}

func quoteSQL(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func quoteName(s string) string { return "`" + strings.ReplaceAll(s, "-", "_") + "`" }

// protoMessage numbers the columns in their order: another set of columns is another message.
func protoMessage(w io.Writer, s nodeSchema) error {
	var b strings.Builder
	fmt.Fprintf(&b, "// What comes to %s.\nmessage %s {\n", s.title(), camel(s.pipeline+"_"+s.node))
	for i, f := range s.schema.Fields() {
		line := fmt.Sprintf("  %s %s = %d;", typeForms[f.Type].proto, f.Name, i+1)
		doc := describe(f)
		if f.Type == sdk.Timestamp {
			doc = strings.TrimPrefix(doc+"; ns since the Unix epoch", "; ")
		}
		if doc != "" {
			line += " // " + doc
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func camel(s string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '_' || r == '-' || r == '.' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// jsonSchemas is the schema of a line that the sink stdout writes; of several nodes a list.
func jsonSchemas(w io.Writer, list []nodeSchema) error {
	var all []any
	for _, s := range list {
		props := map[string]any{}
		for _, f := range s.schema.Fields() {
			p := map[string]any{}
			for k, v := range typeForms[f.Type].json {
				p[k] = v
			}
			if f.Doc != "" {
				p["description"] = f.Doc
			}
			props[f.Name] = p
		}
		all = append(all, map[string]any{
			"$schema": "https://json-schema.org/draft/2020-12/schema", "title": s.title(), "type": "object",
			"properties": props, "additionalProperties": false,
		})
	}
	if len(all) == 1 {
		return writeJSON(w, all[0])
	}
	return writeJSON(w, all)
}
