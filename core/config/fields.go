package config

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

// field is one option of a configuration struct, as its tags tell it.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	doc      string
	example  string
	enum     []string
	required bool
	min, max string // framework keys only: bounds of a number, size or duration
}

// fieldsOf lists the options of a struct in their order. Embedded structs without a name count as if written out; fields without a
// name are not options.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				fs = append(fs, f)
			}
			continue
		}
		if name == "" || name == "-" || !sf.IsExported() {
			continue
		}
		f := field{name: name, index: []int{i}, typ: sf.Type, doc: sf.Tag.Get("doc"), example: sf.Tag.Get("example"),
			required: sf.Tag.Get("required") == "true", min: sf.Tag.Get("min"), max: sf.Tag.Get("max")}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		fs = append(fs, f)
	}
	return fs
}

func names(fs []field) []string {
	n := make([]string, len(fs))
	for i := range fs {
		n[i] = fs[i].name
	}
	return n
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[sdk.Size]()
	exprType     = reflect.TypeFor[sdk.Expr]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawType      = reflect.TypeFor[rawValue]()
)

// readsText says whether values of the type read themselves from text.
func readsText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// wanted is what a value of the type is called in a message.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration"
	case t == sizeType:
		return "a size"
	case t == exprType:
		return "an expression"
	case readsText(t):
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a map"
	}
	return "a value"
}
