package events

import "sync/atomic"

// Stats count what was taken from engines. They only grow, but for LagMs.
type Stats struct {
	Batches        uint64
	Events         uint64
	StoredBlocks   uint64
	RemovedBlocks  uint64 // hashes in removals, whether the index had them or not
	Clears         uint64 // events AllBlocksCleared
	UnknownEvents  uint64
	UnknownMediums uint64 // events that were skipped for their medium
	UnknownParents uint64 // blocks stored whose parent is not known
	Unremembered   uint64 // blocks stored beyond Engine.MaxBlocks: their parents and positions may be lost
	DecodeErrors   uint64 // payloads that could not be read, clear the worker
	Gaps           uint64 // batches missing in a sequence, once per gap
	Replays        uint64 // gaps closed by a replay
	ReplayErrors   uint64
	Resets         uint64 // sequences that began anew
	Duplicates     uint64 // batches that came again, ignored
	WorkersCleared uint64 // after a gap, a reset or a payload that could not be read
	UnknownTopics  uint64 // messages that no worker was named for
	Connects       uint64
	Disconnects    uint64
	IndexErrors    uint64 // failed writes to the index, all of which were tried again
	LagMs          uint64 // age of the newest batch when it was in the index
}

// counters are Stats that several goroutines count.
type counters struct {
	batches, events, stored, removed, clears, unknownEvents, unknownMediums, unknownParents, unremembered, decodeErrors,
	gaps, replays, replayErrors, resets, duplicates, cleared, unknownTopics, connects, disconnects, indexErrors, lagMs atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		Batches: c.batches.Load(), Events: c.events.Load(), StoredBlocks: c.stored.Load(), RemovedBlocks: c.removed.Load(),
		Clears: c.clears.Load(), UnknownEvents: c.unknownEvents.Load(), UnknownMediums: c.unknownMediums.Load(),
		UnknownParents: c.unknownParents.Load(), Unremembered: c.unremembered.Load(), DecodeErrors: c.decodeErrors.Load(), Gaps: c.gaps.Load(),
		Replays: c.replays.Load(), ReplayErrors: c.replayErrors.Load(), Resets: c.resets.Load(),
		Duplicates: c.duplicates.Load(), WorkersCleared: c.cleared.Load(), UnknownTopics: c.unknownTopics.Load(),
		Connects: c.connects.Load(), Disconnects: c.disconnects.Load(), IndexErrors: c.indexErrors.Load(), LagMs: c.lagMs.Load(),
	}
}
