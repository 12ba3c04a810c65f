package plan

// Codes of the diagnostics of this package. Each has a story in `weir explain`.
const (
	CodeDuplicate    = "E201" // two nodes have one id; sources, processors and sinks share one name space
	CodeReserved     = "E202" // an id that has a meaning of its own: errors
	CodeUnknownNode  = "E203" // `from:` names a node that does not exist
	CodeUnknownPort  = "E204" // `from:` names an output that the node does not have
	CodeReadsSink    = "E205" // `from:` names a sink, which hands on nothing
	CodeReadTwice    = "E206" // `from:` names one output twice: its records would come twice
	CodeCycle        = "E207" // nodes read each other in a circle
	CodeErrorsReader = "E208" // the stream `errors` is read by something that cannot, or together with something else
	CodeNoSource     = "E209" // the pipeline has no source
	CodeNoSink       = "E210" // the pipeline has no sink
	CodeUnreached    = "E211" // no record can reach a processor or a sink
	CodeDeadEnd      = "E212" // no sink can be reached from a source or a processor: its records would be lost
	CodeFanIn        = "E213" // inputs of one node have a column of one name with different types
	CodeSchema       = "E214" // a node's options do not fit the columns it gets
	CodeColumn       = "E215" // a node needs a column that its input does not have
	CodeSpec         = "E216" // a plugin contradicts its own specification
	CodeSourceOption = "E217" // an option that makes no sense on a source: from, queue
	CodeQueueSize    = "E218" // a queue below two full batches
	CodeBlock        = "E219" // `when_full: block` where an optional branch leaves a required one
	CodeParks        = "E220" // a node that holds records back is cut off from the committing source it must run with
	CodeSinkLanes    = "E221" // `lanes:` above 1 on a sink
	CodeKeyed        = "E222" // more than 64 sinks that honour keys behind committing sources
)
