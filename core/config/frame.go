package config

import (
	"reflect"
	"time"

	"github.com/weirflow/weir/sdk"
)

// The framework's keys, as the file has them. Validation and the JSON schema both come from these structs.
type (
	fileKeys struct {
		Doc          string        `yaml:"doc" doc:"what the pipeline is for"`
		Params       rawValue      `yaml:"params" doc:"parameters with their defaults, for ${param:NAME}; set by --param NAME=value"`
		DrainTimeout time.Duration `yaml:"drain_timeout" doc:"bound of the shutdown; what is not settled by then is dropped and counted. 0s: nothing is waited for but what sinks have taken, for at most 5s" example:"30s" min:"0s" max:"24h"`
		Park         time.Duration `yaml:"park" doc:"how long a cut waits for records that are held for a template; 0s: not at all" example:"2s" min:"0s" max:"1h"`
		Sources      rawValue      `yaml:"sources" doc:"where records come from, by id"`
		Processors   rawValue      `yaml:"processors" doc:"what is done with them; each reads the one before it unless it says from"`
		Sinks        rawValue      `yaml:"sinks" doc:"where records go, by id; each reads the last processor unless it says from"`
	}
	commonKeys struct {
		Type  string   `yaml:"type" doc:"the plugin" required:"true"`
		With  rawValue `yaml:"with" doc:"the plugin's options"`
		Lanes int      `yaml:"lanes" doc:"how many instances run side by side; default: as the plan decides" min:"1" max:"1024"`
	}
	readerKeys struct {
		From    rawValue  `yaml:"from" doc:"what to read: id, id.output, errors, or a list of those"`
		Queue   queueKeys `yaml:"queue" doc:"the queue in front of the node"`
		OnError OnError   `yaml:"on_error" doc:"what becomes of a refused record: to the stream errors, dropped and counted, or the pipeline stops" enum:"dead_letter,drop,fail"`
	}
	sourceKeys struct {
		commonKeys
	}
	processorKeys struct {
		ID string `yaml:"id" doc:"names the node" required:"true" example:"decode"`
		commonKeys
		readerKeys
	}
	sinkKeys struct {
		commonKeys
		readerKeys
		Batch    batchKeys `yaml:"batch" doc:"bounds of a block, whichever is reached first"`
		Retry    retryKeys `yaml:"retry" doc:"what is done when a write fails for the moment"`
		Ack      string    `yaml:"ack" doc:"optional: this sink never holds up the others, and may lose records when it is slow" enum:"required,optional"`
		InFlight int       `yaml:"in_flight" doc:"blocks being written at a time" min:"1" max:"1024"`
		Epoch    string    `yaml:"epoch" doc:"prefix of the idempotency keys, for a replay that is meant to store again"`
	}
	queueKeys struct {
		Bytes    sdk.Size `yaml:"bytes" doc:"most bytes held" example:"256MiB" min:"1"`
		Batches  int      `yaml:"batches" doc:"most batches held" min:"1"`
		WhenFull WhenFull `yaml:"when_full" doc:"what a full queue does with the next batch" enum:"block,drop_oldest,drop_newest"`
	}
	batchKeys struct {
		Rows  int           `yaml:"rows" doc:"most rows of a block" example:"100_000" min:"1" max:"1_000_000_000"`
		Bytes sdk.Size      `yaml:"bytes" doc:"most bytes of a block, and at most half of the queue in front of the sink" example:"32MiB" min:"1"`
		Age   time.Duration `yaml:"age" doc:"longest a row waits for its block to fill" example:"1s" min:"1ms" max:"24h"`
	}
	retryKeys struct {
		Initial  time.Duration `yaml:"initial" doc:"first pause" example:"250ms" min:"1ms" max:"1h"`
		Max      time.Duration `yaml:"max" doc:"longest pause; it doubles up to here" example:"30s" min:"1ms" max:"24h"`
		Attempts int           `yaml:"attempts" doc:"how often a block is tried; 0: for ever" min:"0"`
	}
)

// Defaults of framework keys where 0 could not mean "as the plan decides".
const (
	DefaultDrainTimeout = 30 * time.Second
	DefaultPark         = 2 * time.Second
	DefaultRetryInitial = 250 * time.Millisecond
	DefaultRetryMax     = 30 * time.Second
)

// section is a top-level key that holds nodes.
type section struct {
	name string
	kind sdk.Kind
	keys reflect.Type
}

var sections = []section{
	{"sources", sdk.KindSource, reflect.TypeFor[sourceKeys]()},
	{"processors", sdk.KindProcessor, reflect.TypeFor[processorKeys]()},
	{"sinks", sdk.KindSink, reflect.TypeFor[sinkKeys]()},
}

// kindsWith names the kinds of node that have a framework key.
func kindsWith(name string) []string {
	var kinds []string
	for _, s := range sections {
		for _, f := range fieldsOf(s.keys) {
			if f.name == name {
				kinds = append(kinds, s.name)
			}
		}
	}
	return kinds
}
