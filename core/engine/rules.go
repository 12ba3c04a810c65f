package engine

// rules are what §7 of the design asks for; tests switch one off to show what it is for. The zero value is all of them.
type rules struct {
	// 1. When a cut is wanted.
	noSize       bool // no cut when a keyed sink's block has its rows or bytes
	noAge        bool // nor when the open segment is old
	ageIfFed     bool // a segment of which nothing is kept does not age
	noFullAsk    bool // a full queue asks for no cut
	noCutLimit   bool // as many cuts by age a second as segments are old enough
	cutsBySource bool // so many for each source, though several come to one sink
	newest       bool // the segment that became old enough last is cut first
	inParts      bool // write a block as several

	// 2. How it is made.
	heldPastCut bool // cut though something of the segment is held
	atOnce      bool // force what is held at the first try
	noPark      bool // do not force when the time to park is over
	noTwice     bool // nor when twice the rows have come
	noBlocked   bool // nor when the lane is blocked
	waitToEnd   bool // a lane that waits for room makes no cut
	noMarkFlush bool // later stages do not flush at a mark
	flushWaits  bool // what a cut flushes waits for room
	noOverdue   bool // a full queue has no room for what the oldest segment waits for
	firstMark   bool // the first mark that arrives ends the segment, whatever other ways there are
	everyInput  bool // a mark is waited for on every input, also those that its partition does not reach
	noAside     bool // what comes behind a mark on one way meets the chain before the mark of the other way

	// 3. How it is prepared.
	noPrepare  bool // write before the plan is saved
	noRoom     bool // cut whether or not the end fits into the saved position
	noNoteTurn bool // a sink that needs notes has several prepared segments
	bareEnds   bool // cut whether or not the notes that are still to be said will fit
	closeFull  bool // a sink closes the block of a segment when it has its rows, not at the mark
	keyHull    bool // key from the hull of what reached the sink
	oneSegment bool // cut only when all before it is settled

	// 4. What is kept.
	noStored   bool // do not keep the end up to which all keyed sinks have stored
	anySinks   bool // what other keyed sinks have stored counts for these
	noDeadWait bool // a sink is done with a segment before the rows that it refused are dead-lettered
	outOfOrder bool // commit what is settled though something before it is not
	keyedAlone bool // commit what the keyed sinks have stored, whatever the other required ones have
	noJoin     bool // save news at once, those too that can wait for the next Prepare
	noIdle     bool // save news that can wait only with others that cannot

	// 5. What an earlier life left.
	noFirst       bool // do not commit a first start position at once
	noPlan        bool // ignore what an earlier life planned
	straddle      bool // cut at a planned end only when the batch that crosses it has been read whole
	waitForEnd    bool // cut at a planned end only when its very position is read
	endWhereRead  bool // a planned segment ends where the input does
	cutBeforePlan bool // cut a segment that an earlier life planned before its end
	storedAgain   bool // write again what is stored

	// 6. Revocation and drain.
	forceAtEnd bool // give out with force what is held when a partition is revoked or the run drains
	endsPlan   bool // a planned segment ends with the assignment
	noFence    bool // go on saving a partition that is gone
	manySaves  bool // begin a save while another is under way

	// 7. Reload.
	swapMidSegment bool // swap a chain without a cut
	swapWaits      bool // a swap waits for a cut that somebody else wants

	// 8. Limits, and what has no segments.
	noDeadline   bool // a write may take for ever
	keyEachTry   bool // a block without a segment is written again under another key
	looseLetters bool // a segment settles before the dead letters of its records have
	noEpoch      bool // `epoch` is not in the keys
}
