package engine

// The rules of DESIGN 7, line by line.

import (
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// rule is one of those of DESIGN 7 and what it is for.
type rule struct {
	says   string
	off    func(*rules)
	breaks string // what goes wrong without it
	life   lived
	works  func(*seen) bool // that a life with it met what it is for
}

// needed are the rules that can be broken, in the order of DESIGN 7.
var needed = []rule{
	// Wanted.
	{"(1) a cut is wanted when a keyed sink's block has its rows", func(r *rules) { r.noSize = true },
		"a block of", manyAtOnce.live, func(s *seen) bool { return s.largest >= 100 }},
	{"(1) or its bytes", func(r *rules) { r.noSize = true },
		"a block of", manyBytes.live, func(s *seen) bool { return s.blocks["a"] > 4 }},
	{"(1) or the segment its age", func(r *rules) { r.noAge = true },
		"not all is committed", trickle.live, func(s *seen) bool { return s.prepared > 4 }},
	{"(1) from the first position read, also if nothing of it is kept", func(r *rules) { r.ageIfFed = true },
		"not all is committed", nothingKept, func(s *seen) bool { return s.received == 400 }},
	{"(1) or when a full queue asks", func(r *rules) { r.noFullAsk = true },
		"not all is committed", fullQueue.live, func(s *seen) bool { return s.prepared > 4 }},
	{"(1) cuts by age are so many a second", func(r *rules) { r.noCutLimit = true },
		"too many blocks", manyTrickle(blocksASecond(5, 25)).live, func(s *seen) bool { return s.blocks["a"] > 5*20 }},
	{"(1) for each sink, whatever sources come to it", func(r *rules) { r.cutsBySource = true },
		"too many blocks", manyOfTwoSources.live, func(s *seen) bool { return s.blocks["a"] > 5*20 }},
	{"(1) of the oldest segment first", func(r *rules) { r.newest = true },
		"not all is committed", manyTrickle(committedUpTo(50)).live, func(s *seen) bool { return s.blocks["a"] > 5*20 }},
	{"(1) a block is one write", func(r *rules) { r.inParts = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.dead > 0 }},

	// Made.
	{"(2) what is held is given out before a cut", func(r *rules) { r.heldPastCut = true },
		"lost", livesOf(newScene), func(s *seen) bool { return s.parked > 0 }},
	{"(2) a cut waits for what is held", func(r *rules) { r.atOnce = true },
		"were dropped", nothingDropped(heldShortly), func(s *seen) bool { return s.prepared > 4 && s.parked == 0 }},
	{"(2) until the time to park is over", func(r *rules) { r.noPark = true },
		"not all is committed", heldForEver.live, func(s *seen) bool { return s.parked > 0 }},
	{"(2) or twice its rows have come", func(r *rules) { r.noTwice = true },
		"a block of", heldAndMany.live, func(s *seen) bool { return s.parked > 0 }},
	{"(2) or the lane is blocked", func(r *rules) { r.noBlocked = true },
		"not all is committed", heldAndFull.live, func(s *seen) bool { return s.parked > 0 }},
	{"(2) a blocked lane counts as at a batch end", func(r *rules) { r.waitToEnd = true },
		"not all is committed", fullQueue.live, func(s *seen) bool { return s.prepared > 4 }},
	{"(2) later stages flush at a mark", func(r *rules) { r.noMarkFlush = true },
		"lost", livesOf(joinedScene, withoutTwoWays), func(s *seen) bool { return s.prepared > 0 }},
	{"(2) what a flush gives out passes a full queue", func(r *rules) { r.flushWaits = true },
		"not all is committed", fullQueue.live, func(s *seen) bool { return s.prepared > 4 }},
	{"(2) what the oldest segment waits for has room", func(r *rules) { r.noOverdue = true },
		"not all is committed", littleRoom, func(s *seen) bool { return s.prepared > 0 }},
	{"(2) the mark is waited for on every way", func(r *rules) { r.firstMark = true },
		"lost", livesOf(joinedScene, withoutTwoWays), func(s *seen) bool { return s.prepared > 0 }},
	{"(2) but on no input that its partition does not reach", func(r *rules) { r.everyInput = true },
		"not all is committed", twoSources.live, func(s *seen) bool { return s.prepared > 4 }},
	{"(2) what comes behind it on one way waits for it on the others", func(r *rules) { r.noAside = true },
		"lost", livesOf(joinedScene, withoutTwoWays, gatheredJoin), func(s *seen) bool { return s.prepared > 0 }},

	// Prepared.
	{"(3) the plan is saved before the segment is stored", func(r *rules) { r.noPrepare = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.prepared > 0 && s.again > 0 }},
	{"(3) no cut whose end does not fit", func(r *rules) { r.noRoom = true },
		"not all is committed", manyPrepared, func(s *seen) bool { return s.most > 500 }},
	{"(3) nor one whose notes do not fit", func(r *rules) { r.bareEnds = true },
		"positions could not be saved", manyNotes, func(s *seen) bool { return s.most > 5 }},
	{"(3) a sink that needs notes has one prepared segment at a time", func(r *rules) { r.noNoteTurn = true },
		"notes were said", notesInTurn, func(s *seen) bool { return s.received == 400 }},
	{"(3) a sink closes its block at the mark", func(r *rules) { r.closeFull = true },
		"lost", livesOf(newScene), func(s *seen) bool { return s.prepared > 0 }},
	{"(3) the key is the segment's, not the hull's", func(r *rules) { r.keyHull = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.again > 0 }},
	{"(3) several segments are in flight", func(r *rules) { r.oneSegment = true },
		"cuts wait", fileIsOpen.live, func(s *seen) bool { return s.ahead > 0 }},

	// Stored and committed.
	{"(4) what is stored is kept while a file is open", func(r *rules) { r.noStored = true },
		"twice", killedWithAFileOpen(3, "", delivery.Want{Stores: []string{"a"}, Keyed: true}), func(s *seen) bool { return s.ahead > 0 && s.stored > 0 }},
	{"(4) what other sinks have stored is void", func(r *rules) { r.anySinks = true },
		"lost", killedWithAFileOpen(0, another, delivery.Want{Stores: []string{"a"}}, delivery.Want{Stores: []string{"b"}, Keyed: true}),
		func(s *seen) bool { return s.ahead > 0 }},
	{"(4) what is stored waits for dead letters", func(r *rules) { r.noDeadWait = true },
		"lost", livesOf(newScene, openFile), func(s *seen) bool { return s.dead > 0 && s.stored > 0 }},
	{"(4) committed is what all required sinks have settled", func(r *rules) { r.keyedAlone = true },
		"lost", killedWithAFileOpen(0, "", delivery.Want{Stores: []string{"a"}, Keyed: true}), func(s *seen) bool { return s.ahead > 0 }},
	{"(4) in order", func(r *rules) { r.outOfOrder = true },
		"lost", lettersLate, func(s *seen) bool { return s.prepared > 0 && s.dead > 0 }},
	{"(4) both are joined with the next Prepare", func(r *rules) { r.noJoin = true },
		"too many saves", savedTogether.live, func(s *seen) bool { return s.blocks["a"] > 20 }},
	{"(4) an idle timer writes the last", func(r *rules) { r.noIdle = true },
		"not all is committed", nothingKept, func(s *seen) bool { return s.received == 400 }},

	// On assignment.
	{"(5) a first start position is committed at once", func(r *rules) { r.noFirst = true },
		"lost", livesOf(newScene, func(s *scene) { s.latest = true }), func(s *seen) bool { return s.first == 12 }},
	{"(5) ends that an earlier life planned are kept", func(r *rules) { r.noPlan = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.resumed > 0 && s.again > 0 }},
	{"(5) no batch crosses a planned end", func(r *rules) { r.straddle = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.resumed > 0 && s.again > 0 }},
	{"(5) if its position is gone, the next record ends the segment there", func(r *rules) { r.waitForEnd = true },
		"not all is committed", endIsGone, func(s *seen) bool { return s.resumed > 0 }},
	{"(5) and so does the end of the input", func(r *rules) { r.endWhereRead = true },
		"twice", endIsGoneAtTheEnd, func(s *seen) bool { return s.again == 2 }},
	{"(5) the first cuts are where they were planned", func(r *rules) { r.cutBeforePlan = true },
		"twice", smallerBlocks, func(s *seen) bool { return s.resumed > 0 && s.again > 0 }},
	{"(5) what is stored is not written again", func(r *rules) { r.storedAgain = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.stored > 0 }},

	// Revocation and drain.
	{"(6) revocation and drain force nothing", func(r *rules) { r.forceAtEnd = true },
		"dropped", stoppedWhileHeld, func(s *seen) bool { return s.returned > 0 }},
	{"(6) nor do they end what was planned", func(r *rules) { r.endsPlan = true },
		"lost", endIsGoneAndRevoked, func(s *seen) bool { return s.returned > 0 }},
	{"(6) a member fences itself", func(r *rules) { r.noFence = true },
		"twice", livesOf(newScene), func(s *seen) bool { return s.returned > 0 }},
	{"(6) one commit is under way for each member", func(r *rules) { r.manySaves = true },
		"twice", slowCommits, func(s *seen) bool { return s.atOnce == 1 && s.resumed > 0 && s.again > 0 }},

	// Reload.
	{"(7) a chain is swapped at a cut", func(r *rules) { r.swapMidSegment = true },
		"generations", livesOf(newScene), func(s *seen) bool { return s.prepared > 0 }},
	{"(7) and the swap asks for one", func(r *rules) { r.swapWaits = true },
		"not swapped", swappedSoon, func(s *seen) bool { return s.received >= 150 }},

	// Limits, and what has no segments.
	{"(8) a segment settles when its dead letters have", func(r *rules) { r.looseLetters = true },
		"lost", lettersLate, func(s *seen) bool { return s.dead > 0 }},
	{"(8) a write has a deadline", func(r *rules) { r.noDeadline = true },
		"not all is committed", firstHangs.live, func(s *seen) bool { return s.blocks["a"] > 5 }},
	{"(-) a block without a segment keeps its key", func(r *rules) { r.keyEachTry = true },
		"twice", triedAgain, func(s *seen) bool { return s.again > 0 }},
	{"(-) an epoch is stored again", func(r *rules) { r.noEpoch = true },
		"times, want 2", replayed, func(s *seen) bool { return s.again == 0 }},
}
