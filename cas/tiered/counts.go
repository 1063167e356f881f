package tiered

import (
	"sync/atomic"
	"time"
)

// State tells what the store did since it was opened, and how far behind far
// is.
type State struct {
	NearReads  int64 `json:"near_reads"`  // blobs that near had
	FarReads   int64 `json:"far_reads"`   // blobs that far was asked for
	Shared     int64 `json:"shared"`      // reads that waited for another one's far read
	NearErrors int64 `json:"near_errors"` // failures of near that far or nobody had to make up for

	Promoted      int64 `json:"promoted"`
	PromotedBytes int64 `json:"promoted_bytes"` // plain
	NotPromoted   int64 `json:"not_promoted"`   // no room, no time, no key, or not the digest's bytes
	Healed        int64 `json:"healed"`         // blobs that were damaged in near and stored anew

	CopiedBlobs int64 `json:"copied_blobs"` // from near to far
	CopiedBytes int64 `json:"copied_bytes"` // plain
	FoundInFar  int64 `json:"found_in_far"` // blobs that did not need to be copied
	Sweeps      int64 `json:"sweeps"`       // collections of near that nobody asked for

	// The queue of write-back: changes and the bytes that count, the time of
	// the oldest, and why it stands, if it does.
	QueuedChanges int       `json:"queued_changes"`
	QueuedBytes   int64     `json:"queued_bytes"`
	QueueErr      error     `json:"-"`
	QueueErrSince time.Time `json:"queue_err_since,omitzero"`
}

// counts are the counters of State.
type counts struct {
	nearReads, farReads, shared, nearErrors      atomic.Int64
	promoted, promotedBytes, notPromoted         atomic.Int64
	healed, copiedBlobs, copiedBytes, foundInFar atomic.Int64
	copyBegins, copyEnds                         atomic.Int64 // of puts into far
	sweeps                                       atomic.Int64
}

// State returns the counters and the queue's length. It may be called after
// Close.
func (s *Store) State() State {
	c := &s.counts
	st := State{
		NearReads: c.nearReads.Load(), FarReads: c.farReads.Load(), Shared: c.shared.Load(),
		NearErrors: c.nearErrors.Load(), Promoted: c.promoted.Load(), PromotedBytes: c.promotedBytes.Load(),
		NotPromoted: c.notPromoted.Load(), Healed: c.healed.Load(), CopiedBlobs: c.copiedBlobs.Load(),
		CopiedBytes: c.copiedBytes.Load(), FoundInFar: c.foundInFar.Load(), Sweeps: c.sweeps.Load(),
	}
	if s.queue != nil {
		s.queue.describe(&st)
	}
	return st
}
