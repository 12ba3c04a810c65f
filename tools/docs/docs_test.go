package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// root is the repository, weir a binary built of it.
var root, weir string

func TestMain(m *testing.M) {
	code, err := prepared(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func prepared(m *testing.M) (code int, err error) {
	if root, err = moduleRoot(); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "weir-docs-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if weir, err = build(root, dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func TestReferenceIsUpToDate(t *testing.T) {
	want, err := pages(root, weir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Errorf("%v: `make docs` writes it", err)
			continue
		}
		if d := cmp.Diff(strings.Split(text, "\n"), strings.Split(string(got), "\n")); d != "" {
			t.Errorf("%s is not what `make docs` writes (-code +page):\n%s", name, d)
		}
	}
}

func TestEveryTypeIsExplained(t *testing.T) {
	for ty := sdk.Uint8; ty <= sdk.Uint32s; ty++ {
		if typeDocs[ty] == "" {
			t.Errorf("the page of columns does not say what %s holds", ty)
		}
	}
	if next := sdk.Uint32s + 1; !strings.HasPrefix(next.String(), "type(") {
		t.Errorf("the page of columns ends before the type %s", next)
	}
}

// pagesOf are the Markdown files that people write: the README and its neighbours, docs without the reference and the decisions,
// examples and tools.
func pagesOf(t *testing.T) (list []string) {
	t.Helper()
	for _, glob := range []string{"*.md", "docs/*.md", "docs/guides/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	if len(list) < 10 {
		t.Fatalf("only %d pages were found in %s", len(list), root)
	}
	return list
}

func TestExamplesRun(t *testing.T) {
	for _, file := range pagesOf(t) {
		name, _ := filepath.Rel(root, file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := blocks(string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.ContainsFunc(list, func(b block) bool { return known[b.lang] != nil && !b.has("skip") }) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time is waiting
			p := newPage(t)
			for i := range list {
				b := &list[i]
				at := fmt.Sprintf("%s:%d", name, b.line)
				switch {
				case b.has("skip"):
				case b.lang == "yaml":
					p.pipeline(at, b, i)
				case b.lang == "console":
					p.console(at, b)
				}
			}
		})
	}
}

// page is one page being run, in a directory of its own: with the ready-made pipelines, and what the page says so far.
type page struct {
	t     *testing.T
	dir   string
	ports []string // what the page says, and what is put in its place: the real one may be in use
}

func newPage(t *testing.T) *page {
	p := &page{t: t, dir: t.TempDir(), ports: []string{"2055", freePort(t, "udp"), "8686", freePort(t, "tcp")}}
	if err := os.Symlink(weir, filepath.Join(p.dir, "weir")); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(root, "pipelines")
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		p.write(rel, string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"archive", "bin"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(weir, filepath.Join(p.dir, "bin", "weir")); err != nil {
		t.Fatal(err)
	}
	return p
}

var (
	givenMu sync.Mutex
	given   = map[string]bool{} // ports that pages have
)

// freePort is a port of the loopback that nobody has, no other page was given, and the system does not give to connections.
func freePort(t *testing.T, network string) string {
	t.Helper()
	givenMu.Lock()
	defer givenMu.Unlock()
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		if !given[port] && isFree(network, "127.0.0.1:"+port) {
			given[port] = true
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func isFree(network, addr string) bool {
	var c io.Closer
	var err error
	if network == "udp" {
		c, err = net.ListenPacket("udp", addr)
	} else {
		c, err = net.Listen("tcp", addr)
	}
	return err == nil && c.Close() == nil
}

func (p *page) there(s string) string {
	return strings.NewReplacer(p.ports[0], p.ports[1], p.ports[2], p.ports[3]).Replace(s)
}

func (p *page) back(s string) string {
	return strings.NewReplacer(p.ports[1], p.ports[0], p.ports[3], p.ports[2]).Replace(s)
}

func (p *page) write(name, text string) {
	path := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(p.there(text)), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", p.there(line))
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "PATH="+p.dir+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1", "WEIR_ADMIN=off", "WEIR_DATA_DIR="+filepath.Join(p.dir, "data"))
	return cmd
}

// pipeline validates a block of YAML.
func (p *page) pipeline(at string, b *block, i int) {
	name := b.value("file")
	if name == "" {
		name = fmt.Sprintf("block-%d.yaml", i)
	}
	text, command := b.text, "weir validate "+name
	switch {
	case b.has("fragment"):
		text = whole(text)
	case b.has("settings"):
		command = "weir validate --config " + name
	}
	p.write(name, text)
	cmd := p.shell(p.t.Context(), command)
	out, err := cmd.CombinedOutput()
	if code := b.value("wrong"); code != "" {
		if !bytes.Contains(out, []byte("["+code+"]")) {
			p.t.Errorf("%s: validate does not give %s:\n%s", at, code, out)
		}
		return
	}
	if err != nil || bytes.Contains(out, []byte("warning[")) {
		p.t.Errorf("%s: the pipeline is not fine: %v\n%s\n%s", at, err, text, out)
	}
}

// console runs the commands of a block, and ends those that it leaves in the background.
func (p *page) console(at string, b *block) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	list := commands(b.text)
	if len(list) == 0 {
		p.t.Errorf("%s: there is no command, a line that begins with `$ `", at)
	}
	for i, c := range list {
		if c.background {
			cmd := p.shell(ctx, "exec "+c.line)
			cmd.Env = append(cmd.Env, p.there("WEIR_ADMIN=127.0.0.1:8686"))
			if err := cmd.Start(); err != nil {
				p.t.Fatalf("%s: %s: %v", at, c.line, err)
			}
			defer func() {
				_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
				if err := cmd.Wait(); err != nil {
					p.t.Errorf("%s: %s: %v", at, c.line, err)
				}
			}()
			if strings.Contains(c.line, "weir run ") {
				p.awaitAdmin(ctx)
			}
			continue
		}
		var out bytes.Buffer
		cmd := p.shell(ctx, c.line)
		if strings.Contains(c.line, "weir inspect ") { // it asks the process in the background
			cmd.Env = append(cmd.Env, p.there("WEIR_ADMIN=127.0.0.1:8686"))
		}
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		want := 0
		if i == len(list)-1 {
			want, _ = strconv.Atoi(b.value("exit"))
		}
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			p.t.Errorf("%s: `%s` ends with %v, want exit code %d:\n%s", at, c.line, err, want, out.String())
			continue
		}
		got := strings.Split(strings.TrimRight(p.back(out.String()), "\n"), "\n")
		if out.Len() == 0 {
			got = nil
		}
		if missing, ok := matches(got, c.want, b.has("loose")); !ok {
			p.t.Errorf("%s: `%s` does not print, in this place:\n%s\nbut:\n%s", at, c.line, missing, p.back(out.String()))
		}
	}
}

// awaitAdmin waits until a process answers.
func (p *page) awaitAdmin(ctx context.Context) {
	for ctx.Err() == nil {
		if c, err := net.Dial("tcp", "127.0.0.1:"+p.ports[3]); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// A link within the repository leads to a file that is there, and to a heading of it.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, file := range pagesOf(t) {
		name, _ := filepath.Rel(root, file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), filepath.FromSlash(path))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(headings(t, target), anchor) {
				t.Errorf("%s: the link %s leads to no heading", name, m[1])
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// headings are the anchors of a page.
func headings(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if title := strings.TrimLeft(line, "#"); !fenced && title != line {
			list = append(list, strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-"))
		}
	}
	return list
}

func TestMatches(t *testing.T) {
	got := []string{"a ran 3.1s", "  in   out", "  1,200  7", "end"}
	for _, c := range []struct {
		want  []string
		loose bool
		ok    bool
	}{
		{want: got, ok: true},
		{want: []string{"a ran 3.1s", "...", "end"}, ok: true},
		{want: []string{"a ran 3.1s", "..."}, ok: true},
		{want: []string{"a ran 3.1s", "end"}},
		{want: []string{"a ran 3.1s"}},
		{want: []string{"...", "end", "more"}},
		{want: []string{"a ran 2m3s", "in out", "  5  81,000", "end"}, loose: true, ok: true},
		{want: []string{"a ran 2m3s", "in out", "  5  81,000", "end"}},
		{want: []string{"b ran 3.1s", "..."}, loose: true},
	} {
		if missing, ok := matches(got, c.want, c.loose); ok != c.ok {
			t.Errorf("%q, loose %v: %v (%s)", c.want, c.loose, ok, missing)
		}
	}
}

func TestFragmentsBecomePipelines(t *testing.T) {
	for _, f := range []string{"sinks:\n  out: { type: discard }\n", "# a filter\nprocessors: []\n", "drain_timeout: 1m\n"} {
		for _, p := range parts {
			if n := strings.Count("\n"+whole(f), "\n"+p.section+":"); n != 1 {
				t.Errorf("%d %s in\n%s", n, p.section, whole(f))
			}
		}
	}
}

var quoted = regexp.MustCompile("`([a-z]+)`")

// What the README says is there today is what the binary has.
func TestReadmeNamesWhatIsThere(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	c := &cli{root: root, path: weir}
	want := map[string][]string{}
	for line := range strings.Lines(c.run("inspect", "plugins")) {
		if f := strings.Fields(line); f[0] != "kind" {
			want[f[0]+"s"] = append(want[f[0]+"s"], f[1])
		}
	}
	for _, name := range subcommands(c.run("--help")) {
		if name != "help" && name != "completion" {
			want["commands"] = append(want["commands"], name)
		}
	}
	if c.err != nil {
		t.Fatal(c.err)
	}
	for row, names := range want {
		_, rest, ok := strings.Cut(string(text), "\n| "+row+" | ")
		if !ok {
			t.Errorf("the README has no row %q", row)
			continue
		}
		today, _, _ := strings.Cut(rest, " | ")
		var got []string
		for _, m := range quoted.FindAllStringSubmatch(today, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		slices.Sort(names)
		if d := cmp.Diff(names, got); d != "" {
			t.Errorf("the README's row %q (-binary +README):\n%s", row, d)
		}
	}
}

// The guides to plugins show lines of the examples that are compiled and tested; the one about columns shows its example whole.
func TestTheGuidesShowTheExamples(t *testing.T) {
	for guide, example := range map[string]string{"plugin.md": "*", "enrich.md": "enrich"} {
		page, err := os.ReadFile(filepath.Join(root, "docs", "guides", guide))
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(root, "examples", example, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				there[strings.Join(strings.Fields(line), " ")] = true
			}
		}
		list, err := blocks(string(page))
		if err != nil {
			t.Fatal(err)
		}
		shown := 0
		for _, b := range list {
			if b.lang != "go" {
				continue
			}
			for line := range strings.Lines(b.text) {
				if shown++; !there[strings.Join(strings.Fields(line), " ")] {
					t.Errorf("%s, line %d and on: not in the example: %s", guide, b.line, line)
				}
			}
		}
		if shown < 20 {
			t.Errorf("%s shows %d lines of the example", guide, shown)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "guides", "enrich.md"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(root, "examples", "enrich", "enrich.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```go\n"+string(whole)+"```\n") {
		t.Error("docs/guides/enrich.md does not show examples/enrich/enrich.go whole")
	}
	if n := strings.Count(string(whole), "\n"); n > 60 {
		t.Errorf("the processor in sixty lines has %d", n)
	}
}
