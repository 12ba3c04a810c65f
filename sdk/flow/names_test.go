package flow_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// A stream of ever new strings keeps no dictionary large, and what earlier batches hold stays readable.
func TestNamesAreBounded(t *testing.T) {
	schema := sdk.NewSchema(sdk.Field{Name: "user_name", Type: sdk.Name})
	n, pool := flow.NewNames(schema), sdk.NewPool(nil)
	var first *sdk.Dict
	for batch := range 10 {
		b := pool.Get(schema, sdk.MaxRows)
		n.Open(b)
		if first == nil {
			first = b.Dict(0)
		}
		for i := range sdk.MaxRows {
			x, ok := flow.Intern(b, 0, fmt.Appendf(nil, "user-%d-%d", batch, i))
			if want := fmt.Sprintf("user-%d-%d", batch, i); !ok || b.Dict(0).Values()[x] != want {
				t.Fatalf("%s: index %d, %v", want, x, ok)
			}
		}
		if size := len(b.Dict(0).Values()); size > 3*sdk.MaxRows {
			t.Fatalf("batch %d: %d names in one dictionary", batch, size)
		}
	}
	if first.Values()[1] != "user-0-0" {
		t.Error("an old dictionary changed")
	}
}

// Long strings are cut and what is not UTF-8 is replaced, so that every store takes them.
func TestNamesAreText(t *testing.T) {
	schema := sdk.NewSchema(sdk.Field{Name: "user_name", Type: sdk.Name})
	n, b := flow.NewNames(schema), sdk.NewPool(nil).Get(schema, 1)
	n.Open(b)
	for _, s := range []string{"\xff\xfe", strings.Repeat("é", 200), "plain"} {
		x, _ := flow.Intern(b, 0, []byte(s))
		if got := b.Dict(0).Values()[x]; !utf8.ValidString(got) || len(got) > flow.MaxName+3 || s == "plain" && got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}
