package sdk

// Inspector is implemented by sources, and by objects under [Env.Share], that can tell people what they know: exporters, sockets,
// tables. The admin interface serves it at /api/v1/inspect/TOPIC, for `weir inspect`.
//
// Inspect may be called by any goroutine, at any time between creation and Close, so it must not make lanes wait for long. The
// answer is a value that encoding/json can encode, made for the caller, and bounded: a table of 65,536 entries is the most that
// is sensible. Without anything to say about the topic it returns nil and no error.
type Inspector interface {
	Inspect(topic string) (answer any, err error)
}

// Topics that more than one plugin answers.
const (
	// TopicExporters: who sends, how much, what is missing. The answer has a list `exporters`, whose elements say in
	// `exporter_addr` whom they are about: what several nodes know of one exporter is put together by it.
	TopicExporters = "exporters"
	// TopicSockets: what the system gave of what was asked. The answer has a list `sockets`.
	TopicSockets = "sockets"
)
