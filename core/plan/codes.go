package plan

// Codes of the diagnostics that only this package gives, beside those that package config lists: E3 is about the graph.
const (
	CodeUnreached = "E311" // nothing can come to a sink that reads `errors`
	CodeParks     = "E312" // a node that holds records back is cut off from the reader of the committing source it must run with
	CodeManyKeyed = "E313" // more than 64 sinks that store under keys behind committing sources
	CodeReadTwice = "E314" // `from:` names one output twice, once by its name and once as the default one
)
