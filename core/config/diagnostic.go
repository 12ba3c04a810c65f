package config

// Severity of a diagnostic.
type Severity string

const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Diagnostic is one thing to say about a configuration, with its place. How it looks is render's business (text, json, github).
type Diagnostic struct {
	Severity Severity
	Code     string // "E101": `weir explain E101` tells its story
	At       Pos
	End      Pos    // of the excerpt to underline; zero: one character
	Path     string // "sinks.clickhouse.with.address"
	Message  string // one sentence, without a full stop
	Help     string // what to do: "did you mean `listen`?"
}

// Diagnostics is a list of them, with what they are about: files' texts for the excerpts.
type Diagnostics struct {
	List  []Diagnostic
	Texts map[string][]byte

	// Arguments are those of the texts that are no files: values of flags and environment variables, by their names. They have no lines.
	Arguments map[string]bool
}

// Failed says whether there is an error among them.
func (d *Diagnostics) Failed() bool {
	for i := range d.List {
		if d.List[i].Severity == SeverityError {
			return true
		}
	}
	return false
}
