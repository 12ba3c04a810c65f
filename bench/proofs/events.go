package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

type events []event

func read(out []byte) (es events, err error) {
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return es, nil
		} else if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
}

// outcome counts cases: tests, and of those with parts the parts. A package that fails in no test (it does not compile, or it panics) is
// a case that failed. Skipped says why, if nothing else ran.
func (es events) outcome() (cases, failed int, skipped string) {
	ended, parent := map[string]string{}, map[string]bool{}
	for _, e := range es {
		switch e.Action {
		case "pass", "fail", "skip":
			ended[e.Test] = e.Action
			for name := e.Test; ; {
				i := strings.LastIndexByte(name, '/')
				if i < 0 {
					break
				}
				name = name[:i]
				parent[name] = true
			}
		}
	}
	for name, action := range ended {
		if name == "" || parent[name] {
			continue
		}
		switch action {
		case "pass":
			cases++
		case "fail":
			cases, failed = cases+1, failed+1
		}
	}
	for name, action := range ended { // of its own, not of a part
		if action == "fail" && failed == 0 && (name == "" || parent[name]) {
			return cases + 1, 1, ""
		}
	}
	if cases == 0 {
		for _, e := range es {
			if e.Action == "output" && ended[e.Test] == "skip" && strings.Contains(e.Output, ".go:") {
				_, why, _ := strings.Cut(e.Output, ".go:")
				_, why, _ = strings.Cut(why, ": ")
				skipped = strings.TrimSpace(why)
			}
		}
	}
	return cases, failed, skipped
}

func (es events) output() string {
	var b strings.Builder
	for _, e := range es {
		b.WriteString(e.Output)
	}
	return b.String()
}
