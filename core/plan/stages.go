package plan

import (
	"fmt"
	"slices"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// require follows required sinks up. The stream `errors` makes nothing required: it leaves nearly every node, and a branch
// for which nobody waits would be waited for because of its dead letters.
func (r *resolver) require() {
	for _, n := range slices.Backward(r.plan.Nodes) {
		if n.Kind == sdk.KindSink {
			n.Required = !n.Optional
		}
		for e := range n.outs() {
			n.Required = n.Required || e.To.Required
		}
	}
	for _, n := range r.plan.Nodes {
		for _, e := range n.Inputs {
			e.Tracked = e.From.Required && e.To.Required
		}
	}
}

// stages fuses neighbours. A node begins a stage of its own only for one of the reasons in alone.
func (r *resolver) stages() {
	for _, n := range r.plan.Nodes {
		var s *Stage
		if n.Kind == sdk.KindSource {
			s = &Stage{}
			s.Lanes, s.MaxLanes = r.sourceLanes(n)
		} else {
			s = common(n)
			if s == nil || alone(n, s) {
				lanes := max(1, n.Lanes)
				s = &Stage{Lanes: lanes, MaxLanes: lanes, Queue: &Queue{}}
			} else {
				for _, e := range n.Inputs {
					e.Fused = true
				}
			}
		}
		if len(s.Nodes) == 0 {
			r.plan.Stages = append(r.plan.Stages, s)
		}
		s.Nodes = append(s.Nodes, n)
		n.Stage = s
	}
	committing, ordered := r.behindCommitting(), r.beforeOrdered()
	for _, s := range r.plan.Stages {
		if s.Queue != nil {
			s.ByPartition = committing[s.Head()] || slices.ContainsFunc(s.Nodes, func(n *Node) bool { return ordered[n] })
		}
	}
}

// common is the stage in which all inputs of n are, nil if they are in several.
func common(n *Node) *Stage {
	s := n.Inputs[0].From.Stage
	for _, e := range n.Inputs {
		if e.From.Stage != s {
			return nil
		}
	}
	return s
}

// alone says whether a queue stands between s and n, which reads nothing but nodes of s.
func alone(n *Node, s *Stage) bool {
	return n.Queue.Asked ||
		n.Kind == sdk.KindSink && !n.spec().Fuses ||
		n.Lanes != 0 && n.Lanes != s.fixedLanes() ||
		s.Head().Kind == sdk.KindSink || // its lane writes blocks and does nothing else
		leaves(n)
}

// leaves says whether n begins an optional branch that leaves a required one: a full queue there must never hold up the rest.
func leaves(n *Node) bool {
	return !n.Required && slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return e.From.Required })
}

// fixedLanes is the number of lanes of s, -1 if it is nowhere written: it is then another on every machine.
func (s *Stage) fixedLanes() int {
	if n := s.Head(); n.Kind == sdk.KindSource && n.Lanes == 0 {
		if count, endless := lanesOf(n); endless && count > 0 {
			return count
		}
		return -1
	}
	return s.Lanes
}

// sourceLanes: endless readers have a lane each (most is how many the source says it has, 0 if it does not know), or if they can
// come and go, as partitions do, they are dealt to a lane for each CPU; `lanes:` says otherwise. Bounded ones are shared out to
// lanes that come and go.
func (r *resolver) sourceLanes(n *Node) (lanes, most int) {
	switch count, endless := lanesOf(n); {
	case n.Lanes > 0:
		return n.Lanes, n.Lanes
	case endless && count == 0 && n.spec().Commits:
		return 0, r.opts.CPUs
	case endless:
		return 0, count
	case count > 0:
		return 1, min(count, r.opts.CPUs)
	default:
		return 1, r.opts.CPUs
	}
}

// lanesOf is what a source says of its lanes: how many, 0 if it does not know, and whether its readers are endless. One that
// says nothing is taken for endless: its lanes must not be shared out.
func lanesOf(source *Node) (n int, endless bool) {
	if f := source.spec().Lanes; f != nil {
		return f(source.Config)
	}
	return 0, true
}

// behindCommitting holds the nodes to which records of a committing source come with their range, the sources included.
func (r *resolver) behindCommitting() map[*Node]bool {
	behind := map[*Node]bool{}
	for _, n := range r.plan.Nodes {
		behind[n] = n.Kind == sdk.KindSource && n.spec().Commits ||
			slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return e.Port != ErrorsPort && behind[e.From] && e.From.keeps() })
	}
	return behind
}

// beforeOrdered holds the nodes from which a sink that wants order is reached, the sinks included.
func (r *resolver) beforeOrdered() map[*Node]bool {
	before := map[*Node]bool{}
	for _, n := range slices.Backward(r.plan.Nodes) {
		before[n] = n.Kind == sdk.KindSink && n.spec().Ordered
		for e := range n.outs() {
			before[n] = before[n] || before[e.To]
		}
	}
	return before
}

// keeps says whether records leave n with the range they came in.
func (n *Node) keeps() bool { return n.Kind == sdk.KindSource || n.spec().KeepsRange }

// parks reports nodes that hold records back and are not in the stage of the committing source they read: a cut could not wait
// for what they hold.
func (r *resolver) parks() {
	behind := r.behindCommitting()
	for _, n := range r.plan.Nodes {
		head := n.Stage.Head()
		if n.Kind != sdk.KindProcessor || !n.spec().Parks || !behind[n] || head.Kind == sdk.KindSource {
			continue
		}
		path, what := "", "no queue may stand between the two"
		help := "let it read one source only, or give each source a node of its own"
		switch {
		case head.Queue.Asked:
			path, help = "queue", "remove `queue` here, or put it on a node behind `"+n.ID+"`"
		case head.Lanes != 0:
			path, help = "lanes", "remove `lanes` here, or put it on the source"
		case leaves(head):
			help = "`" + n.ID + "` leads to optional sinks only: put it in front of the place where they leave the required ones"
		default:
			path, what = "from", "it must run with one reader"
		}
		r.report(head, path, config.CodeParks, fmt.Sprintf("`%s` may hold records back, so behind a source that commits %s", n.ID, what), help)
	}
}

const (
	fullBatches = 2 // the fewest full batches a queue holds
	laneBytes   = 4 << 20
	waitBytes   = 64 << 20 // in front of a sink that waits for something outside
	maxBatches  = 4096
)

// queues sizes the queue in front of each stage.
func (r *resolver) queues() {
	for _, s := range r.plan.Stages {
		if s.Queue == nil {
			continue
		}
		n, q := s.Head(), s.Queue
		least := int64(0)
		for _, e := range n.Inputs {
			// A queue holds what the batch holds: all its columns, also those which this reader does not want.
			row := sdk.Errors.RowBytes()
			if e.Port != ErrorsPort {
				if e.From.Out == nil {
					continue // a schema is not known: that has been reported
				}
				row = e.From.Out[e.Port].RowBytes()
			}
			least = max(least, fullBatches*sdk.MaxRows*int64(row))
		}
		q.Bytes, q.Batches, q.WhenFull = int64(n.Queue.Bytes), n.Queue.Batches, n.Queue.WhenFull
		switch {
		case q.Bytes != 0 && q.Bytes < least:
			r.report(n, "queue.bytes", config.CodeQueueSmall, fmt.Sprintf("a queue of %s does not hold two full batches of what comes here", n.Queue.Bytes),
				fmt.Sprintf("the least is %s", sdk.Size(least)))
		case q.Bytes == 0 && n.Kind == sdk.KindSink && !n.spec().Fuses:
			q.Bytes = max(waitBytes, least)
		case q.Bytes == 0:
			q.Bytes = max(laneBytes*int64(s.Lanes), least)
		}
		if n.Kind == sdk.KindSink {
			n.BlockBytes = min(n.BlockBytes, share(q.Bytes, s.Lanes))
		}
		if q.Batches == 0 {
			q.Batches = maxBatches
		} else if q.Batches < fullBatches {
			r.report(n, "queue.batches", config.CodeQueueSmall, "a queue of one batch makes the lanes in front of it and behind it wait for each other", "the least is 2")
		}
		switch {
		case leaves(n) && q.WhenFull == "":
			q.WhenFull = config.DropOldest
		case leaves(n) && q.WhenFull == config.Block:
			r.report(n, "queue.when_full", config.CodeBlockOptional, fmt.Sprintf("`%s` is optional: its full queue would hold up sinks that are required", n.ID),
				"use drop_oldest or drop_newest, or remove `ack: optional`")
		case q.WhenFull == "":
			q.WhenFull = config.Block
		}
	}
}

// share is what a block of one of a sink's lanes may take of their queue, all of them together the half of it: the queue is charged
// with a block until it is stored, and one that filled it would have the lanes in front stand still meanwhile.
func share(queue int64, lanes int) sdk.Size {
	n := queue / 2 / int64(lanes)
	if n > 1<<20 {
		n &^= 1<<20 - 1
	}
	return sdk.Size(n)
}
