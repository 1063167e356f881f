package pager

import (
	"context"
	"time"

	"github.com/kvferry/kvferry/digest"
)

// Releaser is the optional ability to give allocated pages back. A restore
// that fails releases what it allocated with it.
type Releaser interface {
	// ReleasePages frees pages that AllocatePages or ReservePages returned;
	// all or none. A page that no caller holds is ErrNotFound.
	ReleasePages(ctx context.Context, ids []PageID) error
}

// Reserver is the optional ability to take given pages instead of any: a
// restore can then keep the captured indices.
type Reserver interface {
	// ReservePages takes exactly the given free pages; all or none. A page in
	// use is ErrExists, one beyond the cache ErrNotFound.
	ReservePages(ctx context.Context, ids []PageID) error
}

// Generations is the optional ability to tell whether a page was given to
// somebody else or written since an earlier look.
type Generations interface {
	// Generations stores the generation of each page in dst, which is as long
	// as ids. The number of a page changes whenever the page is allocated,
	// released or written; equal numbers mean equal bytes.
	Generations(ctx context.Context, ids []PageID, dst []uint64) error
}

// Digester is the optional ability to compute digests where the pages live, so
// that pages which are known already need not be copied out.
type Digester interface {
	// DigestPages stores the digests of the pages' parts in dst, page by page,
	// each in canonical part order: dst is len(ids) x len(Meta().Parts) long.
	// An algorithm that cannot be had there is ErrUnsupported; key is nil
	// except for keyed digests. Pages must not change meanwhile: it is called
	// under Pause.
	DigestPages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []PageID, dst []digest.Digest) error
}

// Comparer is the optional ability of a Digester to compare pages with digests
// that they had before, so that only the differences come back. A Pager that
// Compose made has it by its type whenever it has a Digester; without the
// ability its answer is ErrUnsupported.
type Comparer interface {
	// ComparePages appends to changed the positions in ids, ascending, of the
	// pages of which some part has another digest than want says, and their new
	// digests to sums, page by page in canonical part order. want is
	// len(ids) x len(Meta().Parts) long; a page with a want that is invalid, or of
	// another algorithm, counts as changed. On error both lists come back as they
	// were given. The rules of DigestPages hold.
	ComparePages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []PageID, want []digest.Digest,
		changed []int, sums []digest.Digest) ([]int, []digest.Digest, error)
}

// Direction is the way in which a Job's bytes go.
type Direction uint8

// The directions of a Job.
const (
	Out Direction = 1 // from the pager into frames
	In  Direction = 2 // from frames into the pager
)

// Job is a batch of page copies. Pages and Frames are equally long; each frame
// is Meta().PageBytes() long and belongs to the Mover until the job is
// complete.
type Job struct {
	Direction Direction
	Pages     []PageID
	Frames    [][]byte
	// Deadline is when the job is given up; the zero time means never.
	Deadline time.Time
}

// Ticket names a submitted Job. It is unique within a Mover.
type Ticket uint64

// Outcome is how a Job ended.
type Outcome uint8

// The outcomes of a Job. After NotStarted nothing of the job moves, or moves
// any more: what it was to write to is unspecified, and may be used again. After
// Unknown, bytes may still move: the frames and pages stay fenced.
const (
	Done       Outcome = 1
	NotStarted Outcome = 2
	Unknown    Outcome = 3
)

// Completion reports the end of a Job.
type Completion struct {
	Ticket  Ticket
	Outcome Outcome
	Err     error // nil exactly if Outcome is Done; wraps ErrUnknownOutcome for Unknown
}

// Mover is the optional ability to copy batches of pages asynchronously. It is
// safe for concurrent use. Jobs of one direction complete in the order of
// submission, jobs of different directions in any.
type Mover interface {
	// Submit queues the job and returns without waiting for its bytes. If it
	// returns an error nothing was started.
	Submit(ctx context.Context, job Job) (Ticket, error)

	// Wait blocks until the job is complete or ctx is done. A completion is
	// handed out once; waiting again for it is ErrNotFound. A done context
	// ends the waiting, not the job.
	Wait(ctx context.Context, t Ticket) (Completion, error)
}
