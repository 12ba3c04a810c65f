package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/formats/elements"
	"github.com/weirflow/weir/sdk/flow"
)

// elementLine is one information element as `inspect elements` shows it.
type elementLine struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor"`
	PEN    uint32 `json:"pen"`
	ID     uint16 `json:"id"`
	V9     uint16 `json:"netflow9_type,omitempty"`
	Type   string `json:"type"`
	Unit   string `json:"unit,omitempty"`
	// Column is the flow column that the element fills; as a field of decode it would fill Field, of type FieldType.
	Column    string `json:"column,omitempty"`
	Field     string `json:"field"`
	FieldType string `json:"field_type"`
}

func (a *app) inspectElements() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "elements [SEARCH]",
		Short: "Search the information elements of IPFIX and NetFlow v9",
		Long: "Lists the information elements that `fields:` of decode can name: IANA's and those that vendors have published. SEARCH is a part of a\n" +
			"name, a vendor, a number, or an enterprise's number and an id as 9/232. The column is what the element fills anyway; elements without\n" +
			"one become a column when `fields:` names them.",
		Example: "  weir inspect elements username\n  weir inspect elements cisco\n  weir inspect elements 33000",
		Args:    cobra.MaximumNArgs(1),
	}
	form := outputFlag(cmd, "text", "json")
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		text := ""
		if len(args) > 0 {
			text = args[0]
		}
		lines := []elementLine{}
		for _, e := range elements.Search(text) {
			ty, _ := e.Type.Column()
			lines = append(lines, elementLine{Name: e.String(), Vendor: e.Vendor(), PEN: e.PEN, ID: e.ID, V9: e.V9, Type: e.Type.String(), Unit: e.Unit,
				Column: flow.Carries(e.PEN, e.ID), Field: e.Column(), FieldType: ty.String()})
		}
		if len(lines) == 0 {
			if near := elements.Near(text); near != "" {
				return usage("no element has %q in its name: did you mean %s?", text, near)
			}
			return usage("no element has %q in its name, and none has that number: describe it to `fields:` by pen, id, name and type", text)
		}
		if form.value == "json" {
			return writeJSON(a.out, lines)
		}
		t := newTable("element", ">enterprise", ">id", ">netflow 9", "type", "unit", "column")
		for _, l := range lines {
			v9 := ""
			if l.V9 != 0 {
				v9 = strconv.Itoa(int(l.V9))
			}
			t.add(l.Name, strconv.FormatUint(uint64(l.PEN), 10), strconv.Itoa(int(l.ID)), v9, l.Type, l.Unit, l.Column)
		}
		return t.write(a.out, "")
	})
	return cmd
}
