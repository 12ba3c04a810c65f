package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weirflow/weir/core/admin"
	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// generated stands at the top of every page, where only an editor of the page sees it.
const generated = "<!-- Written by `make docs` from the code. Do not edit. -->\n\n"

// pages is the text of each generated file by its path in the repository.
func pages(root, weir string) (map[string]string, error) {
	c := &cli{root: root, path: weir}
	out := map[string]string{
		"docs/reference/columns.md":     columnsPage(),
		"docs/reference/diagnostics.md": diagnosticsPage(),
		"docs/reference/metrics.md":     generated + admin.Table(),
		"docs/reference/plugins.md":     pluginsPage(c),
		"docs/reference/keys.md":        keysPage(c),
		"docs/reference/commands.md":    commandsPage(c),
		"docs/quickstart.svg":           c.run("inspect", "graph", filepath.Join("pipelines", "quickstart", "collect.yaml"), "-o", "svg"),
	}
	return out, c.err
}

// cli asks the binary. After the first failure it asks no more.
type cli struct {
	root, path string
	err        error
}

func (c *cli) run(args ...string) string {
	if c.err != nil {
		return ""
	}
	cmd := exec.Command(c.path, args...)
	cmd.Dir = c.root
	text, err := cmd.Output()
	if err != nil {
		c.err = fmt.Errorf("weir %s: %w", strings.Join(args, " "), err)
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			c.err = fmt.Errorf("%w\n%s", c.err, e.Stderr)
		}
	}
	return string(text)
}

// cell escapes what would end a cell of a table, or be taken for a tag.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

func pluginsPage(c *cli) string {
	var list []config.Description
	if text := c.run("inspect", "plugins", "-o", "json"); c.err == nil {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			c.err = fmt.Errorf("inspect plugins: %w", err)
		}
	}
	var b strings.Builder
	b.WriteString(generated + "# Plugins\n\nAll plugins that are built in, with their options. `weir inspect plugins NAME` prints the same. Options stand under `with:`; " +
		"the keys that every node has are in [Keys and settings](keys.md).\n\n| kind | type | what it does |\n|---|---|---|\n")
	for _, d := range list {
		fmt.Fprintf(&b, "| %s | [%s](#%s) | %s |\n", d.Kind, d.Type, anchor(d), cell(d.Doc))
	}
	for i := range list {
		plugin(&b, &list[i])
	}
	return b.String()
}

func anchor(d config.Description) string { return string(d.Kind) + "-" + d.Type }

func plugin(b *strings.Builder, d *config.Description) {
	fmt.Fprintf(b, "\n## %s %s\n\n%s.\n", d.Kind, d.Type, sentence(d.Doc))
	if d.Long != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(d.Long))
	}
	if len(d.Traits) > 0 {
		fmt.Fprintf(b, "\nThe plan knows that it %s.\n", traits(d.Traits))
	}
	if len(d.Outputs) > 1 {
		fmt.Fprintf(b, "\nOutputs: %s.\n", strings.Join(d.Outputs, ", "))
	}
	if len(d.Options) > 0 {
		b.WriteString("\n| option | type | default | meaning |\n|---|---|---|---|\n")
		options(b, "", d.Options)
	}
	for _, of := range []struct {
		title   string
		reasons []sdk.Reason
	}{{"Reasons for which it drops records", d.Reasons}, {"Reasons under which it counts what was lost before Weir", d.Losses}} {
		for i, r := range of.reasons {
			b.WriteString([]string{"\n" + of.title + ": ", ", "}[min(i, 1)] + code(string(r)))
		}
		if of.reasons != nil {
			b.WriteString(".\n")
		}
	}
}

// traits reads the list as one predicate; one of its items has no verb of its own.
func traits(list []string) string {
	out := make([]string, len(list))
	for i, t := range list {
		if out[i] = t; t == "Linux only" {
			out[i] = "runs on Linux only"
		}
	}
	return strings.Join(out, ", ")
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func options(b *strings.Builder, prefix string, list []config.Option) {
	for _, o := range list {
		name := prefix + o.Name
		if len(o.Options) > 0 && (o.Type == "options") {
			options(b, name+".", o.Options)
			continue
		}
		def := ""
		switch {
		case o.Required:
			def = "required"
		case o.Default != nil:
			def = code(plain(o.Default))
		}
		doc := cell(o.Doc) + "."
		if len(o.Enum) > 0 {
			doc += " One of " + code(strings.Join(o.Enum, "`, `")) + "."
		}
		if o.Example != "" {
			doc += " Example: " + code(o.Example)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", code(name), o.Type, def, doc)
		options(b, name+"[].", o.Options)
	}
}

// plain is a default as a file has it.
func plain(v any) string {
	switch v := v.(type) {
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = plain(v[i])
		}
		return "[" + strings.Join(items, ", ") + "]"
	case float64:
		text, _ := json.Marshal(v) // a number always has a form
		return string(text)
	}
	return fmt.Sprint(v)
}

func columnsPage() string {
	var b strings.Builder
	b.WriteString(generated + "# Columns\n\nEvery column that a flow can have, from the one table in `sdk/flow`. Columns of the default set reach a sink that lists no `columns`; the " +
		"others exist only where somebody names them. What an exporter did not send is the column's zero. A column that no protocol decoded today fills is there for " +
		"processors that come later, and is zero until then.\n\n")
	b.WriteString("| type | what it holds |\n|---|---|\n")
	for t := sdk.Uint8; t <= sdk.Uint32s; t++ {
		fmt.Fprintf(&b, "| %s | %s |\n", t, typeDocs[t])
	}
	for _, extra := range []bool{false, true} {
		title := "The default set"
		if extra {
			title = "On request"
		}
		n := 0
		for _, c := range flow.Columns {
			if c.Extra == extra {
				n++
			}
		}
		fmt.Fprintf(&b, "\n## %s\n\n%d columns.\n\n| column | type | unit | meaning | IPFIX elements |\n|---|---|---|---|---|\n", title, n)
		for _, c := range flow.Columns {
			if c.Extra == extra {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(c.Name), c.Type, c.Unit, cell(c.Doc), elements(c.Elements))
			}
		}
	}
	b.WriteString("\nAn element is written as its number (IANA), or as enterprise/number. Where a record has several, the first that is not zero counts. NetFlow v9 field " +
		"types 1 to 127 are the IANA elements of the same number.\n")
	for _, s := range []struct {
		title, doc string
		schema     *sdk.Schema
	}{
		{"Counters samples", "What `decode` gives out at its output `counters` (`from: decode.counters`): a row for each counters sample of sFlow. The names are those of the MIB " +
			"objects and of sFlow's structures. What a sample's structures do not hold is zero; what an agent does not know is all ones, as on the wire.", flow.CountersSchema},
		{"Datagrams", "What the sources `udp`, `generate` and `pcap` (`payload: udp`) give out.", sdk.Datagram},
		{"Packets", "What the source `pcap` gives out with `payload: packets`.", sdk.Packet},
		{"Errors", "The stream `errors` of refused records.", sdk.Errors},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| column | type | unit | meaning |\n|---|---|---|---|\n", s.title, s.doc)
		for _, f := range s.schema.Fields() {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code(f.Name), f.Type, f.Unit, cell(f.Doc))
		}
	}
	return b.String()
}

// typeDocs says what a type means to a reader of the page; a test sees to it that none is missing.
var typeDocs = map[sdk.Type]string{
	sdk.Uint8:     "unsigned integer of 8 bits",
	sdk.Uint16:    "unsigned integer of 16 bits",
	sdk.Uint32:    "unsigned integer of 32 bits",
	sdk.Uint64:    "unsigned integer of 64 bits",
	sdk.Int64:     "signed integer of 64 bits",
	sdk.Float64:   "floating-point number of 64 bits",
	sdk.Timestamp: "nanoseconds since the Unix epoch, UTC; 0: not known",
	sdk.Addr:      "IPv6 address, or an IPv4 one mapped into it; all zero: not known",
	sdk.MAC:       "48 bits in the low bits of a uint64",
	sdk.Name:      "text with few different values, kept as an index into a dictionary",
	sdk.Bytes:     "bytes of any length",
	sdk.Text:      "UTF-8 of any length",
	sdk.Uint32s:   "list of unsigned integers of 32 bits",
}

func elements(es []flow.Element) string {
	out := make([]string, len(es))
	for i, e := range es {
		if out[i] = fmt.Sprint(e.ID); e.PEN != 0 {
			out[i] = fmt.Sprintf("%d/%d", e.PEN, e.ID)
		}
	}
	return strings.Join(out, ", ")
}

func diagnosticsPage() string {
	var b strings.Builder
	b.WriteString(generated + "# Diagnostics\n\nEvery code that `weir validate` can give, with its story. `weir explain CODE` prints the same. E1 is about the file as text, E2 about one " +
		"node, E3 about the graph, E4 about columns and expressions, E5 about the process's settings; a W is a warning. A code keeps its meaning for ever.\n\n" +
		"| code | what it says |\n|---|---|\n")
	for _, c := range config.Codes {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.Code, strings.ToLower(c.Code), cell(c.Title))
	}
	for _, c := range config.Codes {
		fmt.Fprintf(&b, "\n## %s\n\n**%s**\n\n%s\n", c.Code, sentence(cell(c.Title)), c.Story)
		for _, p := range []struct{ name, text string }{{"Wrong", c.Wrong}, {"Right", c.Mend}} {
			fmt.Fprintf(&b, "\n%s:\n\n```text\n%s\n```\n", p.name, strings.TrimRight(strings.ToValidUTF8(p.text, "\uFFFD"), "\n"))
		}
	}
	return b.String()
}

func commandsPage(c *cli) string {
	var b strings.Builder
	b.WriteString(generated + "# Commands\n\nThe help of every command. Reading commands take `-o json`.\n\n" +
		"| exit code | meaning |\n|---|---|\n| 0 | fine |\n| 1 | it went wrong while running, or the ledger does not balance |\n| 2 | the command line is wrong |\n" +
		"| 75 | the environment is not ready: a port in use, a directory that is not there |\n| 78 | a file is wrong |\n")
	helpOf(&b, c, nil)
	return b.String()
}

func helpOf(b *strings.Builder, c *cli, path []string) {
	help := strings.TrimRight(c.run(append(append([]string{}, path...), "--help")...), "\n")
	fmt.Fprintf(b, "\n## %s\n\n```text\n%s\n```\n", strings.Join(append([]string{"weir"}, path...), " "), trimLines(help))
	if len(path) > 0 && path[0] == "completion" { // a script for each shell, all alike
		return
	}
	for _, name := range subcommands(help) {
		if name != "help" {
			helpOf(b, c, append(append([]string{}, path...), name))
		}
	}
}

// subcommands are those that a help lists.
func subcommands(help string) (names []string) {
	_, rest, _ := strings.Cut(help, "Available Commands:\n")
	list, _, _ := strings.Cut(rest, "\n\n")
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 0 {
			names = append(names, f[0])
		}
	}
	return names
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
