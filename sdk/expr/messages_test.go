package expr

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/expr-lang/expr/file"
	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// Guarantees: what is said of each fault of an expression, and where. Everything that the language behind ours can say is in the
// table, or below it where no expression reaches it.
func TestMessages(t *testing.T) {
	table, err := os.ReadFile("testdata/messages.txt")
	if err != nil {
		t.Fatal(err)
	}
	said := record(t)
	var now strings.Builder
	for line := range strings.Lines(string(table)) {
		switch {
		case strings.HasPrefix(line, "# An"):
			now.WriteString(line)
		case !strings.HasPrefix(line, "    "):
			text := strings.TrimSuffix(line, "\n")
			now.WriteString(line)
			_, err := Compile(sdk.Expr(text), flows, Bool)
			ps, _ := errors.AsType[sdk.Problems](err)
			if len(ps) == 0 {
				t.Errorf("%s: no fault found", text)
			}
			for _, p := range ps {
				readable(t, p)
				fmt.Fprintf(&now, "    %d %s | %s\n", p.Offset, p.Message, p.Help)
			}
		}
	}
	if diff := cmp.Diff(string(table), now.String()); diff != "" {
		t.Errorf("(-table +said)\n%s", diff)
	}

	// What only its own compiler guards against, or another build of it could say.
	for raw, want := range map[string]string{
		"integer literal is too large": "the number `1` is too large",
		"unknown name x":               "no column `x`",
		"unknown field x":              "there is no `x` in it",
		"predicate should has one input and one output param":             "what is asked of each element has no value",
		"no matching overload for x":                                      "`x` does not take these arguments",
		"cannot redeclare x":                                              "`let` and `;` cannot be used",
		"unknown operator (~)":                                            "`~` cannot be used",
		"int is not callable":                                             "what stands before `(` is not a function",
		"compilation failed: expression exceeds maximum allowed nodes":    "the expression has more than 4096 parts",
		"something that was never said before about interface {} strconv": "this cannot be used in a condition",
	} {
		c := newCompiler("bytes > 1", flows)
		c.fault(&file.Error{Message: raw, Location: file.Location{To: 5}}, 0)
		if got := c.problems[0]; got.Message != want {
			t.Errorf("%s: said as %q, want %q", raw, got.Message, want)
		}
		readable(t, c.problems[0])
	}
	for i, s := range sayings {
		if !said[i] {
			t.Errorf("nothing in the tables says %s", s.said)
		}
	}
}

// record notes which sayings are used.
func record(t *testing.T) map[int]bool {
	said, before := map[int]bool{}, sayings
	t.Cleanup(func() { sayings = before })
	sayings = nil
	for i, s := range before {
		sayings = append(sayings, saying{s.said, func(c *compilation, e *file.Error, m []string) (string, string) {
			said[i] = true
			return s.say(c, e, m)
		}})
	}
	return said
}

// Words of Go and of expr-lang that mean nothing to whoever writes a pipeline.
var foreign = regexp.MustCompile(`strconv|reflect|interface \{|func\(|struct \{|mismatched|netip|time\.|map\[|\b(Operator|Identifier|Bracket|Number)\(|runtime error|nil pointer|goroutine|<nil>`)

// readable says that a problem is one line of bounded length without foreign words, and has something to do.
func readable(t *testing.T, p *sdk.Problem) {
	t.Helper()
	own := regexp.MustCompile("`[^`]*`|\"[^\"]*\"").ReplaceAllString(p.Message, "") // the user's own words may be anything
	if p.Message == "" || p.Help == "" || strings.ContainsAny(p.Message+p.Help, "\n\r") || len(p.Message)+len(p.Help) > 500 || foreign.MatchString(own) {
		t.Errorf("not a message for people: %q, %q", p.Message, p.Help)
	}
}
