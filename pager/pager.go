// Package pager is the contract between kvferry and an engine's paged KV
// cache.
//
// A Pager is one KV group of one engine: pages of equal size, addressed by
// index, and the logical sequences that own them. kvferry reads pages out of
// it and writes pages into it in one canonical byte order, whatever the layout
// in the engine's memory; package pager/host shows how a layout is described.
// The operations are those of ProcessFork's CachePager with the rules that it
// leaves open made explicit. Further abilities are optional interfaces of this
// package, found by type assertion.
package pager

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// PageID is the index of a page within one Pager.
type PageID uint32

// Pager is one KV group of an engine.
//
// Calls come from one goroutine at a time, except that ReadPage and WritePage
// may be called concurrently for different pages. Pages are read under Pause;
// they are allocated, written and released whether the engine runs or not,
// because until a sequence holds them they are nobody else's. Slices that a Pager returns
// belong to the caller; buffers given to it are used until the call returns
// and not kept. A cancelled context ends the waiting with the context's error
// and never leaves a page half written by a call that returned nil.
//
// Failures are typed: a page that does not exist is kvferry.ErrNotFound, too
// few free pages kvferry.ErrOutOfMemory, a buffer of the wrong length
// kvferry.ErrInvalid, any use after the engine is gone kvferry.ErrClosed.
type Pager interface {
	// Meta returns the geometry of the cache. It never changes.
	Meta() Meta

	// Pause makes page contents and sequences stable until Resume. If it
	// fails, the pager is not paused and Resume is not called.
	Pause(ctx context.Context) error

	// Resume undoes one successful Pause. It is called exactly once after
	// each, whatever happened in between, with a context that is not cancelled.
	Resume(ctx context.Context) error

	// OccupiedPages returns the indices that hold valid data, ascending,
	// without repeats. While the engine runs the answer is an estimate.
	OccupiedPages(ctx context.Context) ([]PageID, error)

	// LogicalSeqs returns every live sequence.
	LogicalSeqs(ctx context.Context) ([]LogicalSeq, error)

	// ReadPage fills dst, which is Meta().PageBytes() long, with the page's
	// parts in canonical order. On error the content of dst is unspecified.
	ReadPage(ctx context.Context, id PageID, dst []byte) error

	// AllocatePages takes n distinct free pages, in the order in which they
	// are to be filled; all or none.
	AllocatePages(ctx context.Context, n int) ([]PageID, error)

	// WritePage replaces the content of a page that AllocatePages returned
	// (or ReservePages took) with src, which is Meta().PageBytes() long. On
	// error the page's content is unspecified.
	WritePage(ctx context.Context, id PageID, src []byte) error

	// InstallLogicalSeqs replaces the list of live sequences by seqs. Pages
	// are not touched. On error the list is as before.
	InstallLogicalSeqs(ctx context.Context, seqs []LogicalSeq) error
}

// LogicalSeq is one sequence of tokens and the pages that hold it.
type LogicalSeq struct {
	ID string // the engine's stable name for the sequence
	// Pages in token order. Sequences may share pages, and one sequence may
	// name a page repeatedly.
	Pages []PageID
	// FillInLastPage is the number of occupied token slots of the last page;
	// 0 means that it is full (or that there is no page).
	FillInLastPage uint32
}

// Tokens returns the number of tokens in s when a page holds pageTokens.
func (s LogicalSeq) Tokens(pageTokens uint32) uint64 {
	m := uint64(len(s.Pages))
	switch {
	case m == 0:
		return 0
	case s.FillInLastPage == 0:
		return m * uint64(pageTokens)
	}
	return (m-1)*uint64(pageTokens) + uint64(s.FillInLastPage)
}

// Clone returns a copy of s that shares no memory with it.
func (s LogicalSeq) Clone() LogicalSeq {
	s.Pages = slices.Clone(s.Pages)
	return s
}

// Equal reports whether s and o are the same sequence on the same pages.
func (s LogicalSeq) Equal(o LogicalSeq) bool {
	return s.ID == o.ID && s.FillInLastPage == o.FillInLastPage && slices.Equal(s.Pages, o.Pages)
}

// CheckSeqs returns ErrInvalid if a sequence's id repeats, if a fill is not
// less than pageTokens (a full page is spelt 0), or if a page is not one that
// exists reports. A fill without any page is tolerated: it stands for no token,
// and ProcessFork's synthetic engine makes such sequences.
func CheckSeqs(seqs []LogicalSeq, pageTokens uint32, exists func(PageID) bool) error {
	ids := make(map[string]struct{}, len(seqs))
	for i := range seqs {
		s := &seqs[i]
		if _, dup := ids[s.ID]; dup {
			return fmt.Errorf("pager: sequence id %q occurs twice: %w", s.ID, kvferry.ErrInvalid)
		}
		ids[s.ID] = struct{}{}
		if s.FillInLastPage != 0 && s.FillInLastPage >= pageTokens {
			return fmt.Errorf("pager: sequence %q: fill %d in the last of %d pages of %d tokens (0 means full): %w",
				s.ID, s.FillInLastPage, len(s.Pages), pageTokens, kvferry.ErrInvalid)
		}
		for _, p := range s.Pages {
			if !exists(p) {
				return fmt.Errorf("pager: sequence %q names page %d, which does not exist: %w", s.ID, p, kvferry.ErrInvalid)
			}
		}
	}
	return nil
}
