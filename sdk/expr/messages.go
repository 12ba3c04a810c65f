package expr

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
)

// What expr-lang says, said to somebody who does not know that there is an expr-lang: a sentence about what is written, and what to
// write instead.

// fault adds what expr-lang says; at is where, in runes, if it does not.
func (c *compilation) fault(err error, at int) {
	e, ok := errors.AsType[*file.Error](err)
	if !ok {
		// Its compiler gives up by panicking: there is no message worth showing.
		c.problem(c.offset(at), "this cannot be computed", "write it in another way")
		return
	}
	for _, s := range sayings {
		if m := s.said.FindStringSubmatch(e.Message); m != nil {
			message, help := s.say(c, e, m[1:])
			c.problem(c.offset(e.From), message, help)
			return
		}
	}
	c.problem(c.offset(e.From), "this cannot be used in a condition", "compare columns with values, as in `bytes > 1000`")
}

// saying puts a message of expr-lang into a user's words. It may move e to a better place.
type saying struct {
	said *regexp.Regexp
	say  func(c *compilation, e *file.Error, m []string) (message, help string)
}

// sayings, in the order of expr-lang's lexer, parser, checker, its functions, and optimizer.
var sayings = []saying{
	{says(`unrecognized character: .*`), func(c *compilation, e *file.Error, m []string) (string, string) {
		return fmt.Sprintf("the character %s has no meaning here", quoted(c.runes(e.From, e.To))), "text goes into quotes"
	}},
	{says(`bad number syntax: .*`), func(c *compilation, e *file.Error, m []string) (string, string) {
		text := c.numberBefore(e)
		return fmt.Sprintf("%s is not a number", quoted(text)), notANumber(text)
	}},
	{says(`unclosed comment`), func(*compilation, *file.Error, []string) (string, string) {
		return "a comment is not closed", "end it with `*/`"
	}},
	{says(`literal not terminated`), func(*compilation, *file.Error, []string) (string, string) {
		return "a string is not closed", "end it with the quote it began with, on the same line"
	}},
	{says(`invalid char escape|unable to unescape.*|too large string`), func(*compilation, *file.Error, []string) (string, string) {
		return "this string has a `\\` with something after it that has no meaning", "write a backslash as `\\\\`"
	}},
	{says(`unexpected token EOF|unexpected end of expression`), func(c *compilation, _ *file.Error, _ []string) (string, string) {
		if strings.TrimSpace(c.text) == "" {
			return "the expression is empty", "write a condition, as in `bytes > 1000`"
		}
		return "the expression ends where something is missing", "write what the last operator goes with, and close every bracket"
	}},
	{says(`unexpected token .*|unknown lexing error`), unexpected},
	{says(`a map key must be .*`), func(c *compilation, e *file.Error, _ []string) (string, string) {
		return fmt.Sprintf("%s cannot be the key of a map", quoted(c.runes(e.From, e.To))), "a key is a name, a string or a number, as in {\"a\": 1}; a list goes into [ ]"
	}},
	{says(`expected name`), func(*compilation, *file.Error, []string) (string, string) {
		return "a name is missing after `.`", "columns are named as they are, without dots"
	}},
	{says(`expected at least (\d+) arguments`), func(c *compilation, e *file.Error, m []string) (string, string) {
		return "the call ends where something is missing", "write what it asks of each element, as in any(as_path, # > 64511)"
	}},
	{says(`wrap predicate with brackets .*`), func(*compilation, *file.Error, []string) (string, string) {
		return "`;` cannot be used", "write one condition"
	}},
	{says(`Operator \((.*)\) and coalesce expressions .*`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s and `??` cannot stand side by side", quoted(m[0])), "put one of them into brackets"
	}},
	{says(`compilation failed: expression exceeds maximum allowed nodes`), func(*compilation, *file.Error, []string) (string, string) {
		return fmt.Sprintf("the expression has more than %d parts", MaxNodes), "split it over several filters, or use `in` with a list of networks or ranges"
	}},
	{says(`(?:integer|float) literal is too large`), tooLarge},
	{says(`invalid (?:hex|float|binary|octal|integer) literal: .*value out of range`), tooLarge},
	{says(`invalid (?:hex|float|binary|octal|integer) literal: .*`), func(c *compilation, e *file.Error, _ []string) (string, string) {
		text := c.numberBefore(e)
		return fmt.Sprintf("%s is not a number", quoted(text)), notANumber(text)
	}},

	{says(`unknown name (.*)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("no column %s", quoted(m[0])), "`weir inspect schema` lists the columns"
	}},
	{says(`invalid operation: (\S+) \(mismatched types (.+) and (.+)\)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return between(m[0], goType(m[1]), goType(m[2]))
	}},
	{says(`invalid operation: (\S+) \(mismatched type (.+)\)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		help := "put the whole comparison into brackets, as in `not (bytes > 1000)`"
		if m[0] == "-" || m[0] == "+" {
			help = "it goes before a number"
		}
		return fmt.Sprintf("`%s` cannot stand before %s", m[0], goType(m[1])), help
	}},
	{says(`cannot use (.+) as type (.+) in (?:map key|array)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s is never among values of which each is %s", goType(m[0]), goType(m[1])), likeWithLike(goType(m[0]), goType(m[1]))
	}},
	{says(`type (.+) has no (?:field|method) (.+)|type (nil) has no field (.+)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s has no %s", goType(m[0]+m[2]), quoted(m[1]+m[3])), "a column is used as it is, without a dot after it"
	}},
	{says(`unknown field (.+)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("there is no %s in it", quoted(m[0])), "use one of the keys it has"
	}},
	{says(`type (.+)\[.+\] is undefined|type (.+) does not support indexing`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s has no elements", goType(m[0]+m[1])), "use the column as it is, without [ ] after it"
	}},
	{says(`array elements can only be selected using an integer \(got (.+)\)|non-integer slice index (.+)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("elements are counted: %s does not say which one", goType(m[0]+m[1])), "write a number, the first is 0"
	}},
	{says(`cannot use (.+) to get an element from .+`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s cannot be the key here", goType(m[0])), "the keys of a map are strings"
	}},
	{says(`cannot slice (.+)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("no part can be taken of %s", goType(m[0])), "[from:to] goes with strings and lists"
	}},
	{says(`(.+) is not callable|(.+) is nil; cannot call nil as function`), func(*compilation, *file.Error, []string) (string, string) {
		return "what stands before `(` is not a function", "use the column as it is, without ( ) after it"
	}},
	{says(`builtin (\w+) takes only array \(got (.+)\)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("`%s` goes over a list, not over %s", m[0], goType(m[1])), "give it a column of lists such as as_path, or a list written as [1, 2, 3]"
	}},
	{says(`predicate should return boolean \(got (.+)\)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("what is asked of each element must be a condition, not %s", goType(m[0])), "compare the element, as in any(as_path, # > 64511)"
	}},
	{says(`predicate should has .*`), func(*compilation, *file.Error, []string) (string, string) {
		return "what is asked of each element has no value", "compare the element, as in any(as_path, # > 64511)"
	}},
	{says(`sortBy order argument must be a string .*`), func(*compilation, *file.Error, []string) (string, string) {
		return "the order of `sortBy` must be a string", "write \"asc\" or \"desc\""
	}},
	{says(`invalid number of arguments (?:for \w+ )?\(expected (.+), got (\d+)\)`), func(c *compilation, e *file.Error, m []string) (string, string) {
		plural := "s"
		if strings.HasSuffix(m[0], "1") {
			plural = ""
		}
		return fmt.Sprintf("%s takes %s argument%s, not %s", quoted(c.word(e.From)), m[0], plural, m[1]), "arguments stand between ( and ), with commas"
	}},
	{says(`(not enough|too many) arguments to call (.+)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s has %s arguments", quoted(m[1]), m[0]), "arguments stand between ( and ), with commas"
	}},
	{says(`cannot use (.+) as argument \(type (.+)\) to call (\S+) ?`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s takes %s here, not %s", quoted(m[2]), goType(m[1]), goType(m[0])), converted(goType(m[1]), goType(m[0]))
	}},
	{says(`no matching overload for (.+)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s does not take these arguments", quoted(m[0])), "give it what its name says"
	}},
	{says(`invalid argument for (\w+) \(type (.+)\)`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("`%s` does not take %s", m[0], goType(m[1])), taken(m[0])
	}},
	{says(`cannot (?:get \w+(?: element)? from|take from|take|transform|reverse|uniq|concat|flatten) (.+?)(?: elements| to pairs| from pairs)?`), func(c *compilation, e *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s does not take %s", quoted(c.word(e.From)), goType(m[0])), "give it a list, such as the column as_path"
	}},
	{says(`cannot use pointer accessor outside predicate|cannot use .* as array|unknown pointer #.*`), func(*compilation, *file.Error, []string) (string, string) {
		return "`#` means nothing here", "it is the element that any, all, count and the like look at, as in any(as_path, # > 64511)"
	}},
	{says(`cannot redeclare .*|empty sequence expression`), func(*compilation, *file.Error, []string) (string, string) {
		return "`let` and `;` cannot be used", "write one condition"
	}},
	{says(`non-bool expression \(type (.+)\) used as condition`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("what is decided on must be a condition, not %s", goType(m[0])), "compare it with something, as in `bytes > 1000 ? ... : ...`"
	}},
	{says(`unknown (?:operator|builtin) \(?(.+?)\)?`), func(_ *compilation, _ *file.Error, m []string) (string, string) {
		return fmt.Sprintf("%s cannot be used", quoted(m[0])), "write it in another way"
	}},
	{says(`integer divide by zero`), func(*compilation, *file.Error, []string) (string, string) {
		return "this divides by zero", "`%` needs a number other than 0 on its right"
	}},
}

func says(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// unexpected is about a token that cannot stand where it does.
func unexpected(c *compilation, e *file.Error, _ []string) (message, help string) {
	token := c.runes(e.From, e.To)
	message = fmt.Sprintf("%s does not belong here", quoted(token))
	before, at := c.text[:c.offset(e.From)], strings.ToLower(token)
	last := before[len(strings.TrimRightFunc(strings.TrimRight(before, " \t\n"), isWord)):]
	switch {
	case strings.TrimSpace(last) == "NOT" || strings.TrimSpace(last) == "Not":
		return message, "write `not`, in small letters"
	case at == "and" || at == "or" || at == "not" || at == "in":
		if token == at {
			return message, "write a comparison on both sides of it"
		}
		return message, "write `" + at + "`, in small letters"
	case at == "=":
		return message, "write `==` to compare"
	case at == "&":
		return message, "write `and`; bits are tested with bitand(tcp_flags, 2) != 0"
	case at == ">" && strings.HasSuffix(before, "<"):
		return message, "write `!=`"
	case at == ")" || at == "]" || at == "}":
		return message, "something is missing before it, or its bracket was not opened"
	case addressLike.MatchString(c.around(before)):
		return message, "addresses are written in quotes, as in src_addr == \"10.0.0.1\""
	case lexerKind(c.text, e.From) == lexer.Operator:
		return message, "write something before and after it"
	}
	return message, "join comparisons with `and` or `or`; text goes into quotes"
}

var addressLike = regexp.MustCompile(`(?i)^(\d+\.\d+\.\d*\.?\d*|[0-9a-f]*::?[0-9a-f:.]*)`)

// around is the text from the beginning of the last word of before.
func (c *compilation) around(before string) string {
	at := len(strings.TrimRight(before, ".:0123456789abcdefABCDEF"))
	if at == len(before) {
		return c.text[min(len(before), len(c.text)):]
	}
	return c.text[at:]
}

func tooLarge(c *compilation, e *file.Error, _ []string) (message, help string) {
	text := c.numberBefore(e)
	if strings.ContainsAny(text, ".") || strings.ContainsAny(text, "eE") && !strings.HasPrefix(strings.ToLower(text), "0x") {
		return fmt.Sprintf("the number %s is too large", quoted(text)), "fractions go up to 1.79e308"
	}
	return fmt.Sprintf("the number %s is too large", quoted(text)),
		"integers go up to 9223372036854775807 (2^63-1), and a larger value of a column counts as that: `bytes >= 9223372036854775807` finds them"
}

// numberBefore is the number e is about, and moves e to it: expr-lang speaks of the token after it.
func (c *compilation) numberBefore(e *file.Error) string {
	var last lexer.Token
	l := lexer.New()
	l.Reset(file.NewSource(c.text))
	for {
		t, err := l.Next()
		if err != nil {
			// The lexer itself stumbled: the number is the run of letters and digits that ends there.
			from := e.To
			runes := []rune(c.text)
			for from = min(from, len(runes)); from > 0 && isWord(runes[from-1]); from-- {
			}
			to := from
			for to < len(runes) && isWord(runes[to]) {
				to++
			}
			if to > from {
				e.From, e.To = from, to
			}
			return c.runes(e.From, e.To)
		}
		if t.Kind == lexer.EOF || t.From >= e.From && last.Kind == lexer.Number {
			break
		}
		if t.Kind == lexer.Number {
			last = t
		}
	}
	if last.Kind == lexer.Number {
		e.From, e.To = last.From, last.To
	}
	return c.runes(e.From, e.To)
}

func isWord(r rune) bool {
	return r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

func notANumber(text string) string {
	switch {
	case sized.MatchString(text):
		return "units do not exist here: write 10485760, or 10 * 1024 * 1024"
	case lasting.MatchString(text):
		return "durations are written as duration(\"" + text + "\")"
	}
	return "text goes into quotes"
}

var (
	sized   = regexp.MustCompile(`(?i)^\d+([kmgt]i?b?|b)$`)
	lasting = regexp.MustCompile(`^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$`)
)

// lexerKind is the kind of the token at a rune of text.
func lexerKind(text string, at int) lexer.Kind {
	l := lexer.New()
	l.Reset(file.NewSource(text))
	for {
		t, err := l.Next()
		if err != nil || t.Kind == lexer.EOF || t.From >= at {
			return t.Kind
		}
	}
}

// between says that op does not go with these types on its sides.
func between(op, left, right string) (message, help string) {
	message = fmt.Sprintf("`%s` cannot be used between %s and %s", op, left, right)
	switch op {
	case "==", "!=", "<", "<=", ">", ">=":
		help = cmp.Or(likeWithLike(left, right), "both sides must be numbers, strings, times or durations")
	case "and", "&&", "or", "||":
		help = "both sides must be conditions, as in `bytes > 1000`"
	case "in":
		help = "on its right stands a list as in [1, 2, 3], or a range as in 1..10"
	case "matches", "contains", "startsWith", "endsWith":
		help = "both sides must be strings"
	case "..":
		help = "a range goes from an integer to an integer"
	case "%":
		help = "both sides must be integers"
	case "+":
		help = "both sides must be numbers or strings, or a time and a duration"
	case "-":
		help = "both sides must be numbers, times or durations"
	default:
		help = "both sides must be numbers"
	}
	return message, help
}

// likeWithLike says how values are written that are compared with the one or the other type.
func likeWithLike(a, b string) string {
	has := func(t string) bool { return a == t || b == t }
	switch {
	case a == b:
		return ""
	case has("an address"):
		return "an address goes with another address, or with networks, as in src_addr in \"10.0.0.0/8\""
	case has("a MAC address"):
		return "a MAC address is compared with one such as \"00:11:22:33:44:55\""
	case has("a time"):
		return "a time is compared with one such as \"2026-01-01T00:00:00Z\""
	case has("a duration"):
		return "durations are written as duration(\"1s\")"
	case strings.HasPrefix(a, "a list") || strings.HasPrefix(b, "a list"):
		return "a list is searched with `in`, as in 64512 in as_path"
	case has("a string") && (has("an integer") || has("a number")):
		return "numbers are written without quotes, strings in quotes"
	}
	return "compare values of one type"
}

// converted says how a value of one type is had from what was given.
func converted(wanted, given string) string {
	switch wanted {
	case "an integer":
		return "int(...) makes an integer of a number, or of a string of digits"
	case "a number":
		return "float(...) makes a number of a string of digits"
	case "a string":
		return "string(...) makes a string of it"
	case "a list", "a list of strings":
		return "lists are written as [1, 2, 3] or [\"a\", \"b\"]"
	}
	return likeWithLike(wanted, given)
}

// taken is what a function takes.
func taken(function string) string {
	switch function {
	case "len":
		return "give it a string or a list"
	case "abs", "ceil", "floor", "round", "int", "float":
		return "give it a number"
	}
	return "give it numbers, or a list of numbers"
}

// runes is the part of the text between two places that expr-lang counts in runes.
func (c *compilation) runes(from, to int) string {
	return c.text[c.offset(from):max(c.offset(from), c.offset(to))]
}

// word is the name that begins at a rune of the text.
func (c *compilation) word(at int) string {
	rest := c.text[c.offset(at):]
	return rest[:len(rest)-len(strings.TrimLeftFunc(rest, isWord))]
}

// goType is a type as expr-lang names it, as users do.
func goType(t string) string {
	switch t {
	case "netip.Addr":
		return "an address"
	case "expr.mac":
		return "a MAC address"
	case "time.Time":
		return "a time"
	case "time.Duration":
		return "a duration"
	case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64":
		return "an integer"
	case "float32", "float64":
		return "a number"
	case "string":
		return "a string"
	case "bool":
		return "a condition"
	case "[]uint8":
		return "bytes"
	case "nil", "unknown", "interface {}":
		return "a value of unknown type"
	}
	switch {
	case t == "[]int":
		return "a list of integers"
	case t == "[]string":
		return "a list of strings"
	case strings.HasPrefix(t, "["):
		return "a list"
	case strings.HasPrefix(t, "map["):
		return "a map"
	case strings.HasPrefix(t, "func("):
		return "a function"
	}
	return "a value of another kind"
}
