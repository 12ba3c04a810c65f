package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

// rawValue is an option that is read later, by other rules: `with` and `from`.
type rawValue struct{ k *key }

// decoder fills structs from values and remembers where each option stood.
type decoder struct {
	r         *reading
	prefix    string // of paths in messages: "sinks.clickhouse"
	positions map[string]Pos
	scalars   map[string]*value
	failed    []string // paths about which something was said
	// unknown says what is the matter with a key that the outermost struct does not have; "" for the general story.
	unknown  func(k *key) (code, message, help string)
	settings bool // of the process: their faults have codes of their own
}

func (c *decoder) say(code string, path string, at, end Pos, help, format string, args ...any) {
	c.failed = append(c.failed, path)
	if c.settings {
		if code == CodeUnknownKey {
			code = CodeUnknownSetting
		} else {
			code = CodeBadSetting
		}
	}
	c.r.say(code, at, end, fullPath(c.prefix, path), help, format, args...)
}

func fullPath(prefix, path string) string {
	switch {
	case path == "":
		return prefix
	case prefix == "":
		return path
	case path[0] == '[':
		return prefix + path
	}
	return prefix + "." + path
}

// mark is what to underline: a scalar itself, of a list or map the key it stands under.
func mark(k *key) (at, end Pos) {
	if k.v.kind == scalar || k.end.Line == 0 && k.word == nil {
		return k.v.at, k.v.end()
	}
	return k.at, k.ends()
}

// start is mark without the end, which takes time to find.
func start(k *key) Pos {
	if k.v.kind == scalar || k.end.Line == 0 && k.word == nil {
		return k.v.at
	}
	return k.at
}

// itemKey: an item of a list stands under no key of its own.
func itemKey(v *value) *key { return &key{at: v.at, v: v} }

// decode fills dst from the value of k.
func (c *decoder) decode(k *key, dst reflect.Value, path string, f *field) {
	v, t := k.v, dst.Type()
	if c.r.full() {
		return
	}
	if path != "" {
		c.positions[path] = start(k)
		if v.kind == scalar {
			c.scalars[path] = v
		}
	}
	switch {
	case v.broken: // what it would have been is not known, so nothing can be said of it
		c.failed = append(c.failed, path)
		return
	case t == rawType:
		dst.Set(reflect.ValueOf(rawValue{k}))
		return
	case t.Kind() == reflect.Pointer:
		if v.kind == null {
			return
		}
		p := reflect.New(t.Elem())
		if !dst.IsNil() {
			p.Elem().Set(dst.Elem())
		}
		c.decode(k, p.Elem(), path, f)
		dst.Set(p)
		return
	case readsText(t) && (v.kind == scalar || t.Kind() != reflect.Struct && t.Kind() != reflect.Map):
		c.text(k, dst, path, f)
		return
	}
	switch t.Kind() {
	case reflect.Slice:
		c.slice(k, dst, path, f)
	case reflect.Map:
		c.mapOf(k, dst, path, f)
	case reflect.Struct:
		if v.kind == null {
			c.structure(&key{name: k.name, at: k.at, end: k.end, word: k.word, v: &value{kind: mapping, at: k.at, src: v.src}}, dst, path)
			return
		}
		if c.expect(k, mapping, t, path) {
			c.structure(k, dst, path)
		}
	case reflect.Interface:
		if t.NumMethod() == 0 && v.kind != null {
			dst.Set(reflect.ValueOf(generic(v)))
		}
	default:
		c.scalar(k, dst, path, f)
	}
}

// expect says that a value of another kind was wanted.
func (c *decoder) expect(k *key, want kind, t reflect.Type, path string) bool {
	if k.v.kind == want {
		return true
	}
	at, end := mark(k)
	switch k.v.kind {
	case null:
		help := "give it a value, or leave the key out"
		if k.name == "" {
			help = "give it a value, or leave it out"
		}
		c.say(CodeWrongType, path, k.at, k.ends(), help, "has no value; %s is wanted", wanted(t))
	case scalar:
		c.say(CodeWrongType, path, at, end, "", "is %s; %s is wanted", quote(k.v), wanted(t))
	default:
		c.say(CodeWrongType, path, at, end, "", "is %s; %s is wanted", k.v.kind, wanted(t))
	}
	return false
}

// quote is the raw text of a scalar, so that nothing that was put in is shown, not longer than a message bears.
func quote(v *value) string {
	text := []rune(v.raw)
	if len(text) > 60 {
		text = append(text[:57:57], '.', '.', '.')
	}
	return "`" + string(text) + "`"
}

func (c *decoder) text(k *key, dst reflect.Value, path string, f *field) {
	if !c.expect(k, scalar, dst.Type(), path) || !c.enum(k, path, f) {
		return
	}
	text := k.v.text
	if dst.Type() == sizeType {
		text = strings.ReplaceAll(text, "_", "")
	}
	if err := dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		help := ""
		if f != nil && f.example != "" {
			help = "for example " + f.example
		}
		c.say(CodeBadValue, path, k.v.at, k.v.end(), help, "%s", redact(err.Error(), k.v.put, c.r.secrets))
		return
	}
	c.bounds(k, dst, path, f)
}

// enum checks a value against those that are allowed.
func (c *decoder) enum(k *key, path string, f *field) bool {
	if f == nil || len(f.enum) == 0 || slices.Contains(f.enum, k.v.text) {
		return true
	}
	help := "allowed: " + strings.Join(f.enum, ", ")
	if n := Nearest(k.v.raw, f.enum); n != "" {
		help = "did you mean `" + n + "`? " + help
	}
	c.say(CodeBadValue, path, k.v.at, k.v.end(), help, "%s is not allowed", quote(k.v))
	return false
}

func (c *decoder) scalar(k *key, dst reflect.Value, path string, f *field) {
	t, v := dst.Type(), k.v
	if !c.expect(k, scalar, t, path) || !c.enum(k, path, f) {
		return
	}
	wrong := func(help string) {
		c.say(CodeWrongType, path, v.at, v.end(), help, "%s is not %s", quote(v), wanted(t))
	}
	if t.Kind() == reflect.String {
		v.expr = v.expr || t == exprType
		dst.SetString(v.text)
		return
	}
	if t == durationType {
		d, err := time.ParseDuration(v.text)
		if err != nil {
			help := "durations are written 250ms, 30s, 1m30s"
			if _, bare := strconv.ParseFloat(v.text, 64); bare == nil {
				help = "a duration needs a unit: " + v.raw + "s, " + v.raw + "ms"
			}
			c.say(CodeBadValue, path, v.at, v.end(), help, "%s is not a duration", quote(v))
			return
		}
		dst.SetInt(int64(d))
		c.bounds(k, dst, path, f)
		return
	}
	if v.style != plain && len(v.pieces) == 0 {
		c.say(CodeWrongType, path, v.at, v.end(), "write it without quotes", "%s is text; %s is wanted", quote(v), wanted(t))
		return
	}
	text := strings.TrimSpace(v.text)
	switch t.Kind() {
	case reflect.Bool:
		switch text {
		case "true", "True", "TRUE":
			dst.SetBool(true)
		case "false", "False", "FALSE":
			dst.SetBool(false)
		default:
			wrong("write true or false")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(digits(text), base(text), 64)
		if err != nil && !isRange(err) {
			wrong("")
			return
		}
		if err != nil || dst.OverflowInt(n) {
			bits := t.Bits()
			c.say(CodeBadValue, path, v.at, v.end(), fmt.Sprintf("from %d to %d", int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits)), "%s is out of range", quote(v))
			return
		}
		dst.SetInt(n)
		c.bounds(k, dst, path, f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(digits(text), base(text), 64)
		negative := strings.HasPrefix(text, "-") && isInteger(text[1:])
		if err != nil && !isRange(err) && !negative {
			wrong("")
			return
		}
		if err != nil || dst.OverflowUint(n) {
			c.say(CodeBadValue, path, v.at, v.end(), fmt.Sprintf("from 0 to %d", uint64(math.MaxUint64)>>(64-t.Bits())), "%s is out of range", quote(v))
			return
		}
		dst.SetUint(n)
		c.bounds(k, dst, path, f)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || dst.OverflowFloat(x) {
			wrong("")
			return
		}
		dst.SetFloat(x)
		c.bounds(k, dst, path, f)
	default:
		c.say(CodeWrongType, path, v.at, v.end(), "this is a fault of the plugin", "an option of the type %s cannot be read", t)
	}
}

func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

func isInteger(s string) bool {
	_, err := strconv.ParseUint(digits(s), base(s), 64)
	return err == nil || isRange(err)
}

// base and digits: 10_000 and 0x1f are integers, 010 is ten, as in YAML 1.2.
func base(s string) int {
	s = strings.TrimLeft(s, "+-")
	if len(s) > 1 && s[0] == '0' && strings.ContainsRune("xXoObB", rune(s[1])) {
		return 0
	}
	return 10
}

func digits(s string) string { return strings.ReplaceAll(s, "_", "") }

// bounds checks a number, size or duration against its least and greatest.
func (c *decoder) bounds(k *key, dst reflect.Value, path string, f *field) {
	if f == nil || f.min == "" && f.max == "" {
		return
	}
	of := func(text string) float64 {
		if d, err := time.ParseDuration(text); err == nil && dst.Type() == durationType {
			return float64(d)
		}
		var s sdk.Size
		if err := s.UnmarshalText([]byte(text)); err != nil {
			panic("config: bound " + text)
		}
		return float64(s)
	}
	var x float64
	switch {
	case dst.CanInt():
		x = float64(dst.Int())
	case dst.CanUint():
		x = float64(dst.Uint())
	case dst.CanFloat():
		x = dst.Float()
	}
	help := ""
	if f.example != "" {
		help = "for example " + f.example
	}
	switch {
	case f.min != "" && x < of(f.min):
		c.say(CodeBadValue, path, k.v.at, k.v.end(), help, "%s is too small: the least is %s", quote(k.v), f.min)
	case f.max != "" && x > of(f.max):
		c.say(CodeBadValue, path, k.v.at, k.v.end(), help, "%s is too large: the most is %s", quote(k.v), f.max)
	}
}

// slice: one value may stand for a list of one.
func (c *decoder) slice(k *key, dst reflect.Value, path string, f *field) {
	if k.v.kind == null {
		return
	}
	items := k.v.items
	single := k.v.kind != list
	if single {
		if elem := dst.Type().Elem(); k.v.kind == mapping && elem.Kind() != reflect.Struct && elem.Kind() != reflect.Map && elem.Kind() != reflect.Interface && elem.Kind() != reflect.Pointer {
			c.expect(k, list, dst.Type(), path)
			return
		}
		items = []*value{k.v}
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		ik := itemKey(item)
		if single {
			ik = &key{at: k.at, end: k.end, word: k.word, v: item}
		}
		c.decode(ik, out.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
	}
	dst.Set(out)
}

func (c *decoder) mapOf(k *key, dst reflect.Value, path string, f *field) {
	if k.v.kind == null || !c.expect(k, mapping, dst.Type(), path) {
		return
	}
	out := reflect.MakeMapWithSize(dst.Type(), len(k.v.keys))
	for i := range k.v.keys {
		e := &k.v.keys[i]
		one := reflect.New(dst.Type().Elem()).Elem()
		c.decode(e, one, path+"."+e.name, f)
		out.SetMapIndex(reflect.ValueOf(e.name).Convert(dst.Type().Key()), one)
	}
	dst.Set(out)
}

// structure decodes a map into a struct: unknown keys, then each option, then what is missing.
func (c *decoder) structure(k *key, dst reflect.Value, path string) {
	fs := fieldsOf(dst.Type())
	known := names(fs)
	given := map[string]*key{}
	meant := map[string]bool{} // options that an unknown key was likely meant to be: they are not missing besides
	for i := range k.v.keys {
		if c.r.full() {
			return
		}
		e := &k.v.keys[i]
		given[e.name] = e
		if slices.Contains(known, e.name) {
			continue
		}
		sub := join(path, e.name)
		if c.unknown != nil && path == "" {
			if code, message, help := c.unknown(e); code != "" {
				c.say(code, sub, e.at, e.end, help, "%s", message)
				continue
			}
		}
		meant[Nearest(e.name, known)] = true
		c.say(CodeUnknownKey, sub, e.at, e.end, didYouMean(e.name, known, "known here:"), "unknown key `%s`", e.name)
	}
	for i := range fs {
		f := &fs[i]
		e := given[f.name]
		if e != nil {
			c.decode(e, dst.FieldByIndex(f.index), join(path, f.name), f)
		}
		if f.required && meant[f.name] && e == nil {
			c.failed = append(c.failed, join(path, f.name))
		} else if f.required && (e == nil || e.v.kind == null && f.typ.Kind() != reflect.Struct && !c.saidAbout(join(path, f.name))) {
			help := f.doc
			if f.example != "" {
				help = strings.TrimSuffix("for example `"+f.name+": "+f.example+"`: "+f.doc, ": ")
			}
			site := k
			if e != nil {
				site = e
			}
			at, end := site.at, site.ends()
			c.say(CodeMissing, join(path, f.name), at, end, help, "`%s` is required", f.name)
		}
	}
}

func (c *decoder) saidAbout(path string) bool { return slices.Contains(c.failed, path) }

// generic is the value as YAML types it, for options that take anything.
func generic(v *value) any {
	switch v.kind {
	case list:
		out := make([]any, len(v.items))
		for i, item := range v.items {
			out[i] = generic(item)
		}
		return out
	case mapping:
		out := make(map[string]any, len(v.keys))
		for _, k := range v.keys {
			out[k.name] = generic(k.v)
		}
		return out
	case null:
		return any(nil)
	}
	if v.style == plain || len(v.pieces) > 0 && v.style != block && v.style != folded {
		switch v.text {
		case "true":
			return true
		case "false":
			return false
		}
		if n, err := strconv.ParseInt(digits(v.text), base(v.text), 64); err == nil {
			return n
		}
		if x, err := strconv.ParseFloat(v.text, 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
			return x
		}
	}
	return v.text
}
