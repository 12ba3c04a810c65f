package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirflow/weir/core/config"
)

// A short file cannot ask for millions of connections: it is refused, and soon.
func TestConnectionsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("sources:\n")
	for i := range 1500 {
		fmt.Fprintf(&b, "  s%d: {type: file}\n", i)
	}
	b.WriteString("sinks:\n")
	for i := range 1500 {
		fmt.Fprintf(&b, "  k%d: {type: clickhouse}\n", i)
	}
	from := time.Now()
	p, d := config.Parse("many.yaml", []byte(b.String()), config.Options{Plugins: registry})
	if d.Failed() {
		t.Fatal(d.List[0])
	}
	plan, diags := Resolve(p, Options{CPUs: 2})
	found := false
	for _, x := range diags {
		found = found || x.Code == config.CodeTooManyEdges
	}
	if plan != nil || !found {
		t.Errorf("2,250,000 connections are accepted: %v", diags)
	}
	if took := time.Since(from); took > 20*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}
