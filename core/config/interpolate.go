package config

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode"
)

// piece is a part of a scalar's text: where it begins there and in the raw text, and whether it was copied or put in.
type piece struct {
	text, raw int
	copied    bool
}

// secret is a value that was put in, and what stands for it in messages.
type secret struct{ value, shown string }

const (
	maxComplaints = 8        // about one scalar
	maxPutFile    = 1 << 20  // bytes of a file that is put in
	maxPutTotal   = 16 << 20 // bytes of all that is put in
	minSecret     = 4        // bytes of a value that is hidden also outside quotes
)

// fill puts values in for ${...} in v and all below it. Keys are left alone.
func (r *reading) fill(v *value, path string) {
	if v == nil || v.filled || r.full() {
		return
	}
	v.filled = true
	switch v.kind {
	case scalar:
		r.fillScalar(v, path)
	case list:
		for i, item := range v.items {
			r.fill(item, fmt.Sprintf("%s[%d]", path, i))
		}
	case mapping:
		for i := range v.keys {
			r.fill(v.keys[i].v, join(path, v.keys[i].name))
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (r *reading) fillScalar(v *value, path string) {
	raw := v.raw
	if !strings.Contains(raw, "${") {
		return
	}
	if r.hidden == nil {
		r.hidden = map[secret]bool{}
	}
	own := map[secret]bool{}
	var b strings.Builder
	complaints := 0
	bad := func(code string, at, n int, help, format string, args ...any) {
		v.broken = true
		if complaints++; complaints > maxComplaints {
			return
		}
		from, to := v.locate(at), v.locate(at+n)
		if to.Line != from.Line {
			to = Pos{}
		}
		r.say(code, from, to, path, help, format, args...)
	}
	for i := 0; i < len(raw); {
		at := strings.Index(raw[i:], "${")
		if at < 0 {
			v.pieces = append(v.pieces, piece{b.Len(), i, true})
			b.WriteString(raw[i:])
			break
		}
		at += i
		if at > i {
			v.pieces = append(v.pieces, piece{b.Len(), i, true})
			b.WriteString(raw[i:at])
		}
		if at > 0 && raw[at-1] == '$' && at > i { // $${ stands for ${
			v.pieces = append(v.pieces, piece{b.Len(), at + 1, true})
			b.WriteByte('{')
			i = at + 2
			continue
		}
		stop := strings.IndexByte(raw[at:], '}')
		if stop < 0 {
			bad(CodeInterpolation, at, 2, "close it with `}`, or write `$${` for a literal `${`", "`${` is not closed")
			return
		}
		n := stop + 1
		inner := raw[at+2 : at+stop]
		i = at + n
		kind, rest, ok := strings.Cut(inner, ":")
		name, fallback, hasFallback := strings.Cut(rest, ":-")
		shown := "${" + kind + ":" + name + "}"
		switch {
		case strings.Contains(inner, "${"):
			bad(CodeInterpolation, at, n, "", "`${...}` does not nest")
			continue
		case !ok && isName(inner):
			bad(CodeInterpolation, at, n, "write `${env:"+inner+"}` for an environment variable", "`${%s}` does not say where the value comes from", inner)
			continue
		case !ok || kind != "env" && kind != "file" && kind != "param":
			help := didYouMean(kind, []string{"env", "file", "param"}, "known are")
			bad(CodeInterpolation, at, n, help, "`%s` is not a place that values come from", kind)
			continue
		case name == "":
			bad(CodeInterpolation, at, n, "", "`${%s:}` names nothing", kind)
			continue
		}
		value, help, why := r.lookup(kind, name, hasFallback)
		if value == "" && hasFallback {
			v.pieces = append(v.pieces, piece{b.Len(), at, false})
			b.WriteString(fallback)
			continue
		}
		if why != "" {
			bad(CodeNotSet, at, n, help, "%s", why)
			continue
		}
		if r.put += len(value); r.put > maxPutTotal {
			bad(CodeTooMuch, at, n, "", "more than %d bytes are put in by `${...}`", maxPutTotal)
			return
		}
		if value != "" && kind != "param" { // parameters stand in the file or on the command line; what they are made of is hidden by itself
			s := secret{value, shown}
			if !own[s] {
				own[s] = true
				v.put = append(v.put, s)
			}
			if !r.hidden[s] {
				r.hidden[s] = true
				r.secrets = append(r.secrets, s)
			}
		}
		v.pieces = append(v.pieces, piece{b.Len(), at, false})
		b.WriteString(value)
	}
	v.text = b.String()
	if len(v.put) > 0 && !v.broken && v.text != v.put[0].value {
		v.put = append([]secret{{v.text, raw}}, v.put...)
	}
}

// isName says whether s could be the name of an environment variable.
func isName(s string) bool {
	for i, c := range s {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

// lookup finds a value. why says that there is none.
func (r *reading) lookup(kind, name string, optional bool) (value, help, why string) {
	switch kind {
	case "env":
		value, ok := r.opts.Env(name)
		if !ok {
			return "", "set it, or give a default: `${env:" + name + ":-value}`", "the environment variable " + name + " is not set"
		}
		return value, "", ""
	case "file":
		text, err := r.opts.ReadFile(name)
		if err == nil && len(text) > maxPutFile {
			err = fmt.Errorf("it has more than %d bytes", maxPutFile)
		}
		if err != nil {
			return "", readable(err), "the file " + name + " cannot be put in: " + reason(err)
		}
		return strings.TrimRight(string(text), "\r\n"), "", ""
	}
	value, ok := r.params[name]
	if !ok && !optional {
		known := make([]string, 0, len(r.params))
		for p := range r.params {
			known = append(known, p)
		}
		help = "declare it under `params:`, or give it with --param " + name + "=value"
		if n := Nearest(name, known); n != "" {
			help = "did you mean `" + n + "`?"
		}
		return "", help, "parameter " + name + " has no value"
	}
	return value, "", ""
}

// reason is the error without the path it begins with: the message names it already.
func reason(err error) string {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// redact takes values that were put in out of a message: those of the option itself, then all others. A short value is taken out only
// where it stands in quotes, else every "on" in a message would go.
func redact(message string, own, all []secret) string {
	for _, list := range [][]secret{own, all} {
		for _, s := range list {
			message = s.hide(message)
		}
	}
	return message
}

func (s secret) hide(message string) string {
	if s.value == "" {
		return message
	}
	quoted := strconv.Quote(s.value)
	if len(s.value) >= minSecret {
		message = strings.ReplaceAll(message, s.value, s.shown)
		return strings.ReplaceAll(message, quoted[1:len(quoted)-1], s.shown)
	}
	for _, q := range []string{quoted, "'" + s.value + "'", "`" + s.value + "`"} {
		message = strings.ReplaceAll(message, q, q[:1]+s.shown+q[:1])
	}
	return message
}
