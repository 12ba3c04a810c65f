package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// override applies one --set to the tree and returns the tree with it. What it changes it copies first: an alias may share it.
func (r *reading) override(top *value, i int, set string) *value {
	path, text, ok := strings.Cut(set, "=")
	name := "--set"
	if len(r.opts.Set) > 1 {
		name = fmt.Sprintf("--set[%d]", i+1)
	}
	r.d.argument(name, []byte(set))
	at := Pos{File: name, Line: 1, Col: 1}
	path = strings.TrimSpace(path)
	bad := func(help, format string, args ...any) {
		r.say(CodeOverride, at, after(at, path, 0), path, help, format, args...)
	}
	if !ok {
		bad("write --set path=value", "an override needs a path and a value")
		return top
	}
	steps, ok := split(path)
	if !ok {
		bad("write it as in diagnostics: sinks.out.batch.rows, processors.decode.with.fields[0]", "this is not a path")
		return top
	}
	if !r.canEncode(at, path, set) {
		return top
	}
	v := &value{kind: null, at: at, src: newSource(name, set)}
	if strings.TrimSpace(text) != "" {
		outer := r.src
		r.src = newSource(name, text)
		r.src.base = len([]rune(set)) - len([]rune(text))
		v = r.tree()
		r.src = outer
		if v == nil {
			return top
		}
	}
	out, err := r.with(top, steps, nil, &key{at: at, end: after(at, path, 0), v: v})
	if err != nil {
		bad(err.help, "%s", err.message)
		return top
	}
	return out
}

// canEncode refuses overrides that are not text.
func (r *reading) canEncode(at Pos, path, set string) bool {
	outer := r.src
	defer func() { r.src = outer }()
	r.src = newSource(at.File, set)
	if len(set) > MaxFileBytes {
		r.say(CodeTooLarge, at, Pos{}, path, "", "the override has more than %d bytes", MaxFileBytes)
		return false
	}
	return r.encoding()
}

// split takes a path apart: names between dots, each followed by any number of [index].
func split(path string) ([]string, bool) {
	var steps []string
	for _, part := range strings.Split(path, ".") {
		name, rest, indexed := strings.Cut(part, "[")
		if name == "" {
			return nil, false
		}
		steps = append(steps, name)
		for indexed {
			var index, tail string
			if index, tail, indexed = strings.Cut(rest, "]"); !indexed {
				return nil, false
			}
			if _, err := strconv.ParseUint(index, 10, 31); err != nil {
				return nil, false
			}
			steps = append(steps, "["+index+"]")
			if indexed = tail != ""; indexed && tail[0] != '[' {
				return nil, false
			}
			rest = strings.TrimPrefix(tail, "[")
		}
	}
	return steps, len(steps) <= MaxDepth
}

type overrideError struct{ message, help string }

// with returns v with the value of k at steps below it. done is the steps already taken.
func (r *reading) with(v *value, steps, done []string, k *key) (*value, *overrideError) {
	if len(steps) == 0 {
		return k.v, nil
	}
	step, where := steps[0], strings.Join(done, ".")
	c := *v
	c.keys, c.items = slices.Clone(v.keys), slices.Clone(v.items)
	next := append(done[:len(done):len(done)], step)
	if len(done) == 1 && done[0] == "processors" && step[0] != '[' { // by id
		var ids []string
		for i, item := range c.items {
			if id := item.get("id"); id != nil {
				if id.v.text == step {
					step = fmt.Sprintf("[%d]", i)
					break
				}
				ids = append(ids, id.v.text)
			}
		}
		if step[0] != '[' {
			return nil, &overrideError{"there is no processor `" + step + "`", didYouMean(step, ids, "known are")}
		}
	}
	if step[0] == '[' {
		n, _ := strconv.Atoi(step[1 : len(step)-1])
		if v.kind != list || n >= len(c.items) {
			return nil, &overrideError{fmt.Sprintf("`%s` is no list with an item %s", where, step), ""}
		}
		item, err := r.with(c.items[n], steps[1:], next, k)
		c.items[n] = item
		return &c, err
	}
	switch v.kind {
	case mapping:
	case null:
		c.kind = mapping
	default:
		return nil, &overrideError{fmt.Sprintf("`%s` is %s and has no `%s`", where, v.kind, step), ""}
	}
	for i := range c.keys {
		if c.keys[i].name == step {
			child, err := r.with(c.keys[i].v, steps[1:], next, k)
			c.keys[i].v = child
			return &c, err
		}
	}
	if len(done) == 1 && (done[0] == "sources" || done[0] == "sinks") {
		have := make([]string, len(c.keys))
		for i := range c.keys {
			have[i] = c.keys[i].name
		}
		return nil, &overrideError{"there is no node `" + step + "` among the " + done[0], didYouMean(step, have, "known are")}
	}
	child, err := r.with(&value{kind: null, at: k.at, src: k.v.src}, steps[1:], next, k)
	c.keys = append(c.keys, key{name: step, at: k.at, end: k.end, v: child})
	return &c, err
}
