package pager

import "context"

// Engine is what a serving process provides besides its memory, where a package
// like pager/host or pager/gpu makes a Pager of both. The methods have the
// meaning, the errors and the rules on ownership that Pager gives to those of the
// same name; they are called from one goroutine at a time.
type Engine interface {
	// Pause stops the engine between two steps and returns when no page
	// changes any more.
	Pause(ctx context.Context) error
	// Resume lets the engine go on.
	Resume(ctx context.Context) error
	// OccupiedPages returns the pages that hold valid data, ascending.
	OccupiedPages(ctx context.Context) ([]PageID, error)
	// LogicalSeqs returns the live sequences.
	LogicalSeqs(ctx context.Context) ([]LogicalSeq, error)
	// AllocatePages takes n free pages out of the engine's free list; all or
	// none, ErrOutOfMemory if there are too few.
	AllocatePages(ctx context.Context, n int) ([]PageID, error)
	// InstallLogicalSeqs replaces the live sequences. Pages of sequences that
	// disappear go back to the engine's free list as it sees fit.
	InstallLogicalSeqs(ctx context.Context, seqs []LogicalSeq) error
}

// Guard is an optional ability of an Engine: to refuse the copy of a page that
// holds nothing or belongs to nobody. Without it every page within the layout
// can be read and written. It is called from several goroutines.
type Guard interface {
	// CheckRead returns ErrNotFound if page id holds no valid data, ErrClosed
	// if the engine is gone.
	CheckRead(id PageID) error
	// CheckWrite returns ErrNotFound if page id is not allocated, ErrClosed
	// if the engine is gone.
	CheckWrite(id PageID) error
}
