package plan

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/weirflow/weir/sdk"
)

// Action is what a reload does with a node.
type Action string

const (
	Keep    Action = "keep"    // the running instance goes on
	Update  Action = "update"  // the same node with other options: one that can takes them while it runs, else it is replaced
	Replace Action = "replace" // a new instance, the old one drains
	Add     Action = "add"
	Remove  Action = "remove"
)

// Change is what becomes of one node, and why, as half sentences.
type Change struct {
	ID     string   `json:"id"`
	Action Action   `json:"action"`
	Why    []string `json:"why,omitempty"`
}

func (c Change) String() string {
	if len(c.Why) == 0 {
		return fmt.Sprintf("%-7s  %s", c.Action, c.ID)
	}
	return fmt.Sprintf("%-7s  %s: %s", c.Action, c.ID, strings.Join(c.Why, ", "))
}

// Diff says what a reload from old to new does with each node: those of new in their order, then those that go. A node is kept
// only if its configuration, its resolved schemas and the columns it needs are equal.
func Diff(old, new *Plan) []Change {
	before := map[string]*Node{}
	for _, n := range old.Nodes {
		before[n.ID] = n
	}
	var out []Change
	for _, n := range new.Nodes {
		o := before[n.ID]
		if o == nil {
			out = append(out, Change{ID: n.ID, Action: Add})
			continue
		}
		delete(before, n.ID)
		c := compare(o, n)
		if !slices.Equal(old.conditions(n.ID), new.conditions(n.ID)) && c.Action != Replace {
			c.Action, c.Why = Replace, append([]string{"applies other filters"}, c.Why...)
		}
		out = append(out, c)
	}
	for _, n := range old.Nodes {
		if before[n.ID] != nil {
			out = append(out, Change{ID: n.ID, Action: Remove})
		}
	}
	return out
}

func compare(o, n *Node) Change {
	var replace, update []string
	differ := func(why *[]string, is bool, what string) {
		if is {
			*why = append(*why, what)
		}
	}
	differ(&replace, o.Kind != n.Kind || o.Type != n.Type, "another type")
	differ(&replace, !slices.Equal(wiring(o), wiring(n)), "reads from elsewhere")
	differ(&replace, !sameColumns([]*sdk.Schema{o.In}, []*sdk.Schema{n.In}), "needs other columns")
	differ(&replace, !sameColumns(o.Out, n.Out), "gives other columns")
	differ(&replace, o.Keyed != n.Keyed || o.Required != n.Required || o.Epoch != n.Epoch, "another promise")
	differ(&update, !sameConfig(o.Config, n.Config), "options")
	differ(&update, o.Batch != n.Batch || o.Retry != n.Retry || o.InFlight != n.InFlight || o.OnError != n.OnError, "batch, retry or on_error")
	differ(&update, !samePlace(o.Stage, n.Stage), "lanes or queue")
	c := Change{ID: n.ID, Action: Keep, Why: append(replace, update...)}
	switch {
	case len(replace) > 0:
		c.Action = Replace
	case len(update) > 0:
		c.Action = Update
	}
	return c
}

// conditions are those that have gone into a source: where its configuration keeps them is its own business.
func (p *Plan) conditions(source string) []sdk.Expr {
	var when []sdk.Expr
	for _, f := range p.Pushed {
		if f.Source == source {
			when = append(when, f.When)
		}
	}
	return when
}

// wiring is what a node reads, in a form that can be compared between plans.
func wiring(n *Node) []string {
	var w []string
	for _, e := range n.Inputs {
		w = append(w, e.From.ID+"."+e.portName())
	}
	slices.Sort(w)
	return w
}

func sameColumns(a, b []*sdk.Schema) bool {
	return slices.EqualFunc(a, b, func(x, y *sdk.Schema) bool { return x.Equal(y) })
}

// samePlace compares the lanes of two stages, their queues and which node they begin with.
func samePlace(a, b *Stage) bool {
	if a.Lanes != b.Lanes || a.MaxLanes != b.MaxLanes || a.ByPartition != b.ByPartition || a.Head().ID != b.Head().ID {
		return false
	}
	return a.Queue == nil && b.Queue == nil || a.Queue != nil && b.Queue != nil && *a.Queue == *b.Queue
}

func sameConfig(a, b any) bool { return equal(reflect.ValueOf(a), reflect.ValueOf(b)) }

// equal compares what users can set in two configuration structs: exported fields. What a plugin derives from them (compiled
// expressions) is left out; a type that has nothing exported is compared as its text, or whole.
func equal(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() {
		return false
	}
	if !a.IsValid() {
		return true
	}
	if a.Type() != b.Type() {
		return false
	}
	if x, ok := text(a); ok {
		y, ok := text(b)
		return ok && bytes.Equal(x, y)
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return equal(a.Elem(), b.Elem())
	case reflect.Struct:
		exported := 0
		for i := range a.NumField() {
			if !a.Type().Field(i).IsExported() {
				continue
			}
			exported++
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return exported > 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			v := b.MapIndex(it.Key())
			if !v.IsValid() || !equal(it.Value(), v) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// text is the value's own text form, if it has one.
func text(v reflect.Value) ([]byte, bool) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, false
	}
	m, ok := v.Interface().(encoding.TextMarshaler)
	if !ok && v.CanAddr() {
		m, ok = v.Addr().Interface().(encoding.TextMarshaler)
	}
	if !ok {
		return nil, false
	}
	t, err := m.MarshalText()
	return t, err == nil
}
