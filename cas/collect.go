package cas

import (
	"context"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// References calls visit for every blob that the snapshot needs, its root
// included, and returns the first error of visit. A snapshot whose references
// cannot be told (an unreadable manifest or page table) is an error, so that a
// collection stops instead of taking its blobs for garbage.
type References func(ctx context.Context, e Entry, visit func(digest.Digest) error) error

// CollectOptions says what a collection keeps. The zero value of the policy
// keeps every snapshot.
type CollectOptions struct {
	// References tells what a snapshot needs; required.
	References References
	// KeepLast and KeepWithin, if set, drop snapshots that are neither among
	// the newest KeepLast nor younger than KeepWithin. A named snapshot is
	// never dropped.
	KeepLast   int
	KeepWithin time.Duration
	// Now is the time that ages are counted from; zero means the clock.
	Now time.Time
	// DryRun reports what would be done and changes nothing. It does not read
	// what would be moved, so it counts a damaged blob there as moved.
	DryRun bool
}

// Validate returns ErrInvalid if a collection cannot be run with o.
func (o CollectOptions) Validate() error {
	if o.References == nil || o.KeepLast < 0 || o.KeepWithin < 0 {
		return fmt.Errorf("cas: collect with references: %t, keep last %d, keep within %v: %w",
			o.References != nil, o.KeepLast, o.KeepWithin, kvferry.ErrInvalid)
	}
	return nil
}

// Split applies the policy to a catalog's entries, which are in the order of
// Catalog.Entries. Ages are counted from now; o.Now is not looked at. Both
// results keep the order.
func (o CollectOptions) Split(entries []Entry, now time.Time) (kept, dropped []Entry) {
	all := o.KeepLast == 0 && o.KeepWithin == 0
	for i, e := range entries {
		newest := len(entries)-i <= o.KeepLast
		young := o.KeepWithin > 0 && now.Sub(e.Created) < o.KeepWithin
		if all || newest || young || len(e.Names) > 0 {
			kept = append(kept, e)
		} else {
			dropped = append(dropped, e)
		}
	}
	return kept, dropped
}

// CollectReport says what a collection did, or would do.
type CollectReport struct {
	Kept         []Entry // snapshots that stay
	Dropped      []Entry // snapshots that the policy dropped
	Live         int64   // blobs that stay
	LiveBytes    int64   // their stored bytes
	Deleted      int64   // blobs deleted
	DeletedBytes int64   // bytes freed
	// Stores that pack blobs together copy what stays to reclaim the room of
	// what went: MovedBytes were copied, and FreedBytes is by how much the
	// packs became smaller together, not counting padding. Zero elsewhere.
	MovedBytes int64
	FreedBytes int64
	// Stale counts leftovers of ended processes that were removed: temporary
	// files, dead sessions.
	Stale int64
}

// Collector is the optional ability to delete what nothing refers to. It is
// safe beside running sessions, also those of other processes. On error the
// report tells what was done until then.
type Collector interface {
	Collect(ctx context.Context, o CollectOptions) (CollectReport, error)
}

// Problem is one finding of a Check.
type Problem struct {
	// Digest of the damaged or missing blob; invalid if the damage is
	// elsewhere.
	Digest digest.Digest
	Path   string // file or entry, if the store has such a thing
	// Leftover says that this is no damage: an ended process left it behind,
	// and a collection removes it.
	Leftover bool
	Err      error // wraps ErrCorrupt, ErrNotFound or the I/O error
}

// Checker is the optional ability to look for damage outside the blobs'
// content: catalog entries, names, sessions, leftovers. Contents are scrubbed
// by the caller through Enumerator and Reader.
type Checker interface {
	Check(ctx context.Context, report func(Problem)) error
}

// ScrubOptions say how a scrub reports.
type ScrubOptions struct {
	// Report is told each damage, Progress how many bytes were read, of how
	// many. Both may be nil and may be called from several goroutines.
	Report   func(Problem)
	Progress func(doneBytes, totalBytes int64)
}

// Scrubber is the optional ability to read everything that is stored, in the
// order in which it lies, and to check it against the checksums of the stored
// bytes: no blob is decoded or hashed, so that this runs at the speed of the
// disk. Problems carry the digest where it is known; a blob that the catalog
// or index has and the disk has not is a Problem that wraps ErrCorrupt.
type Scrubber interface {
	Scrub(ctx context.Context, o ScrubOptions) error
}

// RepairOptions say how a repair reports.
type RepairOptions struct {
	// Progress is told how many bytes were read, of how many; it may be nil.
	Progress func(doneBytes, totalBytes int64)
}

// RepairReport says what a repair did.
type RepairReport struct {
	// Lost is the damage that was found. What it hit is as it was before only
	// as far as it was found again; snapshots and names may be missing.
	Lost []Problem
	// Found counts the blobs that nothing knew of and that are stored again,
	// FoundBytes their stored bytes. Some may have been deleted before.
	Found, FoundBytes int64
	// Incomplete says that the catalog may lack snapshots and names, or have
	// some that were removed.
	Incomplete bool
	// Renamed counts the files that have their own name again.
	Renamed int64
}

// Repairer is the optional ability to mend what a store keeps beside its
// blobs: its log and index. It comes before blobs are looked at one by one.
type Repairer interface {
	Repair(ctx context.Context, o RepairOptions) (RepairReport, error)
}
