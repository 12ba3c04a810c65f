package config

import (
	"fmt"
	"strings"
)

// Codes of diagnostics. E1 the file as text, E2 one node, E3 the graph, E4 columns and expressions, E5 process settings; W
// warnings. A code keeps its meaning for ever: people search for it.
const (
	CodeSyntax          = "E101" // not YAML
	CodeUnreadable      = "E102" // the file cannot be read
	CodeEmpty           = "E103" // nothing in it
	CodeTooLarge        = "E104" // over MaxFileBytes
	CodeTooDeep         = "E105" // nested deeper than MaxDepth
	CodeTooMuch         = "E106" // more values than MaxValues, by aliases or by length
	CodeAlias           = "E107" // an alias or a merge key that cannot be followed
	CodeSeveralDocs     = "E108" // more than one YAML document
	CodeEncoding        = "E109" // not UTF-8, or control characters
	CodeUnknownKey      = "E201" // an option or a framework key that does not exist
	CodeDuplicateKey    = "E202" // a key twice in one map
	CodeMissing         = "E203" // a required option is not there
	CodeWrongType       = "E204" // a list where a number is wanted
	CodeBadValue        = "E205" // the right type, a value that is not allowed
	CodeUnknownType     = "E206" // no plugin of this kind and name
	CodeBadID           = "E207" // an id that cannot be written in `from`
	CodeDuplicateID     = "E208" // two nodes of one id
	CodeNotSet          = "E209" // ${...} names something that is not there
	CodeInterpolation   = "E210" // ${...} is not well formed
	CodeKeyNotHere      = "E211" // a framework key that this kind of node does not have
	CodeOverride        = "E212" // --set or --param leads nowhere
	CodeUnknownNode     = "E301" // `from` names no node
	CodeUnknownOutput   = "E302" // `from` names no output of the node
	CodeCycle           = "E303" // a node reads what comes of itself
	CodeNoSource        = "E304" // no node of kind source
	CodeNoSink          = "E305" // no node of kind sink
	CodeQueueSmall      = "E306" // a queue below two full batches
	CodeBlockOptional   = "E307" // `block` where a required branch would wait for an optional one
	CodeErrorsElsewhere = "E308" // a node that reads `errors` also reads something else, or feeds it
	CodeFromSink        = "E309" // `from` names a node that gives nothing out
	CodeUnread          = "W310" // an output, or a whole node, that nobody reads
	CodeUnreached       = "E311" // a sink reads `errors` and nobody sends there
	CodeParks           = "E312" // a node that holds records back, away from the reader of the committing source
	CodeManyKeyed       = "E313" // more sinks that store under keys than a saved position has room for
	CodeReadTwice       = "E314" // one output named twice in `from`
	CodeTooManyEdges    = "E315" // more connections between nodes than a pipeline may have
	CodeUnknownColumn   = "E401" // an expression or option names a column that does not arrive
	CodeFanInType       = "E402" // two inputs have one column with two types
	CodeExpression      = "E403" // an expression does not parse or type-check
	CodeMissingColumn   = "E404" // the input of a node lacks what the node must have
	CodeSchema          = "E405" // a plugin cannot say what it gives out
	CodeUnknownSetting  = "E501" // a process setting that does not exist
	CodeBadSetting      = "E502" // a process setting with a value that cannot be used
)

// Code is what `weir explain` says about a code.
type Code struct {
	Code     string
	Severity Severity
	Title    string
	Story    string // what happened and why it is refused, a paragraph or two
	Wrong    string // a whole file, or a command, that gives the code
	Mend     string // the same without the fault
	ByPlan   bool   // given by package plan, for it takes more than one node to see it
}

// Explain is the story of a code with an example and its mend, as text. Codes are matched without regard to case.
func Explain(code string) (text string, ok bool) {
	c, ok := Lookup(code)
	if !ok {
		return "", false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s[%s]: %s\n\n%s\n", c.Severity, c.Code, c.Title, c.Story)
	for _, part := range []struct{ name, text string }{{"Wrong", c.Wrong}, {"Right", c.Mend}} {
		fmt.Fprintf(&b, "\n%s:\n\n", part.name)
		for line := range strings.Lines(part.text) {
			b.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
		}
	}
	return b.String(), true
}

// Lookup finds a code in the table, without regard to case.
func Lookup(code string) (Code, bool) {
	for _, c := range Codes {
		if strings.EqualFold(c.Code, code) {
			return c, true
		}
	}
	return Code{}, false
}
