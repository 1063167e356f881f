package index

import (
	"context"
	"iter"
)

// Index is a residency index. It is safe for concurrent use. After Close every
// method is ErrClosed. A context that has ended stops what waits; what was
// acknowledged stays.
//
// Strings and slices that are handed in are not kept beyond the call unless they
// are strings, which are immutable; a backend that keeps strings for long
// copies them, so that they hold no larger buffer. Records that come back are
// the caller's.
//
// A write is seen by every reader that begins after it returned. It is durable,
// where the index is, when a Flush that began after it returned nil.
//
// One that is persistent and not shared, see Info, is open once at a time: to open
// it again while another has it, in this process or another, is ErrReadOnly, and
// changes nothing for the other.
//
// Each change has a number, one more than the change before. An index that is not
// shared gives none twice: where it was not closed it goes on with one beyond all
// that it may have given, which may be 2^32 further on. To Watch behind a number of
// before is ErrExpired then.
type Index interface {
	Writer
	Reader
	Announcer
	Watcher
	Keeper
}

// Writer changes an index. Each call is one change with one sequence number, and
// none if nothing could differ. On an error nothing of the call is seen, unless
// the error says so (redis, whose scopes may lie on several servers).
type Writer interface {
	// Put inserts or replaces records, the later of two with one identity wins.
	// An invalid record is ErrInvalid.
	Put(ctx context.Context, rs []Record) error
	// Remove takes away the records that each removal selects, and returns how
	// many there were, stale ones included.
	Remove(ctx context.Context, rs []Removal) (int, error)
	// ClearWorker takes away all records of a worker, in all scopes and tiers,
	// and returns how many there were.
	ClearWorker(ctx context.Context, worker string) (int, error)
	// Clear takes away all records. Counters stay.
	Clear(ctx context.Context) error
	// Expire takes away the records that were last used before a time, in
	// milliseconds since 1970, are not pinned and have no Refs.
	Expire(ctx context.Context, before uint64) (int, error)
}

// Removal selects records of one worker by the block's content hash, under every
// prefix and position. It is comparable.
type Removal struct {
	Scope
	AnyAdapter bool // Scope.Adapter is not looked at
	Worker     string
	Hash       string
	Tier       Tier   // 0: every tier
	OneGroup   bool   // only Group
	Group      uint32 // looked at if OneGroup
}

// Reader looks into an index. Results are appended to dst, in the order of
// Compare, and the longer slice is returned; nothing found is no error.
type Reader interface {
	// Locate returns the records of a key on all workers and tiers.
	Locate(ctx context.Context, k *Key, dst []Record) ([]Record, error)
	// Scan returns the records of a scope whose parent is prefix, exactly.
	Scan(ctx context.Context, s *Scope, prefix string, dst []Record) ([]Record, error)
	// ByHash returns the records of a content hash in all scopes.
	ByHash(ctx context.Context, hash string, dst []Record) ([]Record, error)
	// Match returns how much of a prompt each worker holds, see Query.
	Match(ctx context.Context, q *Query, dst []Match) ([]Match, error)
	// Snapshot calls visit for every record, in the order of Compare, and returns a
	// sequence number: every change up to it is in what was visited, and changes
	// behind it may be. The record is visit's only during the call. An error
	// of visit ends it and is returned.
	Snapshot(ctx context.Context, visit func(r *Record) error) (seq uint64, err error)
}

// Announcer is told of workers' incarnations.
type Announcer interface {
	// Announce tells that a worker runs, in an incarnation: a number that is
	// another one after each start of its process, as the time of the start; 0 is
	// ErrInvalid, and so is a name longer than MaxFieldBytes. If the index knew another incarnation, or the worker's records
	// are stale and the incarnation is not the one that is known, its records in
	// volatile tiers are removed. Else stale ones are live again.
	Announce(ctx context.Context, worker string, incarnation uint64) error
	// Workers returns what is known of the workers that were announced or have
	// records, ordered by name.
	Workers(ctx context.Context) ([]Worker, error)
}

// Worker is what an index knows of one worker.
type Worker struct {
	Name        string
	Incarnation uint64 // 0: never announced
	Stale       bool   // its records in volatile tiers are stale
	Blocks      uint64 // live records
}

// Watcher streams changes.
type Watcher interface {
	// Watch yields the changes behind a sequence number, in order, and waits for
	// more until ctx ends, whose error is the last. The Change is the caller's
	// during one step. Changes that the index has no more are ErrExpired,
	// and so are those behind a number that was not given yet: a snapshot tells where
	// to go on. Index.Metrics has the newest number.
	Watch(ctx context.Context, after uint64) iter.Seq2[*Change, error]
}

// Keeper is what every index has besides its records.
type Keeper interface {
	// Info returns what kind of index this is.
	Info() Info
	// Metrics returns counts. They cost nothing like a scan.
	Metrics(ctx context.Context) (Metrics, error)
	// Flush makes durable what was written. An index in memory has nothing to do.
	Flush(ctx context.Context) error
	// Close flushes and lets go of everything. A second Close does nothing.
	Close() error
}

// Info says what kind of index one is.
type Info struct {
	Name       string // of the backend
	Persistent bool   // survives the process
	Shared     bool   // several processes may have it open
	Rules      Rules
}

// Metrics are counts of an index; those of events count since it was opened. A
// stale record is not resident.
type Metrics struct {
	ResidentBlocks uint64
	ResidentBytes  uint64
	Puts           uint64 // records put
	Removes        uint64 // records taken away by Remove
	PrefixScans    uint64
	BytesWritten   uint64 // handed to the file system or server, headers and rewriting included

	StaleBlocks uint64
	Locates     uint64
	Matches     uint64
	Cleared     uint64 // records taken away by Clear, ClearWorker and Announce
	Expired     uint64
	Workers     uint64
	Seq         uint64 // of the newest change
}
