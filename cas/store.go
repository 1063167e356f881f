// Package cas is the contract of kvferry's content-addressed stores.
//
// A store keeps blobs, which are named by the digest of their plain bytes, and
// a catalog of snapshots, which name the blobs that must stay. Blobs are
// written in sessions: a session is a lease during which everything that it
// stored or found present is safe from garbage collection, and it ends in a
// commit, which makes a snapshot visible after all its blobs are durable, in
// an abort, or by expiry.
//
// Stores decode but do not check digests: that is done in one place, by
// Reader, which stands in front of every store. Package cas/castest holds the
// suite that every store passes.
package cas

import (
	"context"
	"iter"
	"time"

	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// Store keeps blobs by digest. It is safe for concurrent use by any number of
// goroutines. After Close every method returns kvferry.ErrClosed.
type Store interface {
	// Get decodes the blob d into dst and returns its plain length. A blob
	// that does not exist is ErrNotFound; one whose stored form is damaged is
	// ErrCorrupt; one longer than dst is ErrShortBuffer, and then n is its
	// plain length if the store knows it without decoding, else 0. Whether the
	// bytes hash to d is not checked here: use a Reader.
	Get(ctx context.Context, d digest.Digest, dst []byte) (n int, err error)

	// Has reports whether the blob d exists, without reading it. A true
	// answer is no promise for the future: Session.Has gives that.
	Has(ctx context.Context, d digest.Digest) (bool, error)

	// Begin opens a session.
	Begin(ctx context.Context, o SessionOptions) (Session, error)

	// Catalog returns the store's snapshots and names. It lives as long as
	// the store.
	Catalog() Catalog

	// Close ends the store's use. Open sessions are aborted.
	Close() error
}

// Class says how long a session's blobs are kept.
type Class uint8

const (
	// Snapshot blobs are durable when Flush or Commit returns and stay as
	// long as a snapshot, or a live session, refers to them. Over quota is
	// ErrQuota.
	Snapshot Class = iota
	// Cache blobs are kept while there is room: a store may evict them at any
	// time, least recently used first, and may lose the last of them in a power
	// failure, so a snapshot cannot rest on them: sessions of class Snapshot do
	// not see them, and Commit of a session of class Cache is ErrInvalid. A
	// store without eviction treats them as Snapshot blobs.
	Cache
)

// DefaultLease is how long a session lives without any call on it.
const DefaultLease = 15 * time.Minute

// SessionOptions describe a session. The zero value works.
type SessionOptions struct {
	Class Class
	// Owner names the holder in listings, for operators.
	Owner string
	// Lease is how long the session lives without any call on it;
	// 0 means DefaultLease. A session of a process that ended is over at once
	// where the store can tell.
	Lease time.Duration
	// Hint guides the codec of the session's blobs.
	Hint codec.Hint
}

// Session is a lease under which blobs are written and found. It is safe for
// concurrent use. Every call renews the lease; after expiry each call but
// Abort is kvferry.ErrExpired. After Commit or Abort every call but Abort is
// ErrClosed.
type Session interface {
	// Put stores plain under d, which the caller computed from exactly these
	// bytes; plain is not kept. Storing a blob that exists writes nothing, but
	// one that is damaged is replaced: a store that can rot compares once in
	// each session (or knows that it was written or found sound lately), and
	// bytes that are not d's are ErrInvalid where that shows.
	// The blob is readable at once and safe from collection until the session
	// ends; it is durable after Flush or Commit.
	Put(ctx context.Context, d digest.Digest, plain []byte) (PutResult, error)

	// Has reports whether the blob d exists and, if so, keeps it from
	// collection until the session ends. The answer rests on the catalog or
	// directory alone: the blob's content is not read.
	Has(ctx context.Context, d digest.Digest) (bool, error)

	// Flush returns when everything put so far is durable.
	Flush(ctx context.Context) error

	// Commit flushes, then records the snapshot durably and makes it visible,
	// then points its names at it, and ends the session. The snapshot's root
	// and image must have been put or found in the session (else ErrInvalid).
	// A snapshot that is in the catalog already is replaced, its image too; its
	// other names stay. If Commit fails, the catalog is as before and the
	// session can only be aborted.
	Commit(ctx context.Context, s Entry) error

	// Abort ends the session without publishing anything; blobs that only it
	// put may be gone at once, and others that nothing refers to become
	// garbage. It may be called at any time, also repeatedly and after Commit,
	// and then does nothing.
	Abort(ctx context.Context) error
}

// PutResult says what a Put did.
type PutResult struct {
	New         bool  // the blob was not there before
	StoredBytes int64 // bytes it takes in the store, header included; 0 if not New
	// Codec is how the blob is stored; 0 if not New, or if the store does not
	// code what it keeps.
	Codec codec.ID
}

// Format says how a snapshot's root blob is to be read.
type Format string

// The formats of snapshots.
const (
	FormatNative      Format = "native"      // kvferry's manifest
	FormatProcessFork Format = "processfork" // ProcessFork's paged-batchinvariant-v1 page manifest
)

// Valid reports whether f is a known format.
func (f Format) Valid() bool { return f == FormatNative || f == FormatProcessFork }

// Entry is one snapshot in a store's catalog.
type Entry struct {
	Root    digest.Digest // digest of the manifest blob
	Format  Format
	Created time.Time // to the nanosecond, UTC
	// Names that point at the snapshot, sorted. In Commit: the names to set;
	// a name that pointed elsewhere is moved.
	Names []string
	// Pages, Sequences and Bytes (plain) describe the content in listings.
	Pages     int64
	Sequences int64
	Bytes     int64
	// Image is the digest of a ProcessFork image manifest that points at
	// Root, or invalid. It is a SHA-256 (else Commit is ErrInvalid). A store in
	// ProcessFork's layout lists it in that layout too, as long as the snapshot
	// is in the catalog, and its Commit is ErrInvalid if the blob is no such
	// manifest. A collection keeps it with the snapshot: References visits it.
	Image digest.Digest
}

// Catalog lists a store's snapshots and names. It is safe for concurrent use.
// Changes are durable and visible to other processes when the call returns.
type Catalog interface {
	// Entries returns every committed snapshot, oldest first, equal times by
	// digest. What cannot be read is reported by an error beside the entries
	// that can: a damaged entry or name by one that wraps ErrCorrupt, one of a
	// newer version by ErrUnsupported, others by the I/O error.
	Entries(ctx context.Context) ([]Entry, error)

	// Lookup returns the snapshot that name points at, or ErrNotFound.
	Lookup(ctx context.Context, name string) (Entry, error)

	// SetName points name at a committed snapshot, atomically replacing what
	// it pointed at before. A snapshot that is not there is ErrNotFound, a
	// malformed name ErrInvalid.
	SetName(ctx context.Context, name string, root digest.Digest) error

	// Remove removes a name, and drops the snapshot that it pointed at if no
	// name is left, both in one step that no other change of the catalog comes
	// between. ErrNotFound if there is no such name. One that cannot be read
	// is removed too; the snapshot then stays, as it does where another name
	// cannot be read, which might be its own.
	Remove(ctx context.Context, name string) (Removed, error)

	// Drop removes a snapshot and every name that points at it; its blobs
	// become garbage unless something else refers to them. ErrNotFound if it
	// is not in the catalog.
	Drop(ctx context.Context, root digest.Digest) error
}

// Removed says what the removal of a name did.
type Removed struct {
	// Entry is the snapshot that the name pointed at, with the names that are
	// left. Of a snapshot that is damaged or missing only the root is known,
	// and of an unreadable name nothing.
	Entry   Entry
	Dropped bool // the snapshot was dropped with its last name
}

// BlobInfo describes a stored blob.
type BlobInfo struct {
	Digest      digest.Digest
	StoredBytes int64
}

// Enumerator is the optional ability to list every blob, in no order. A blob
// that comes or goes meanwhile may be listed or not. The sequence ends after
// the first error.
type Enumerator interface {
	Blobs(ctx context.Context) iter.Seq2[BlobInfo, error]
}

// Viewer is the optional ability to show a blob's plain bytes where they lie,
// without a copy. The bytes must not be modified nor used after release, which
// must be called exactly once; until then the blob's memory stays. Like Get it
// does not check the digest.
type Viewer interface {
	View(ctx context.Context, d digest.Digest) (View, error)
}

// View is a blob's plain bytes in a store's memory.
type View interface {
	// Bytes returns the plain bytes; they are the store's.
	Bytes() []byte
	// Release ends the view. It must be called exactly once.
	Release()
}

// Request is one blob of a batch: Dst receives it, and N and Err are as Get
// returns them.
type Request struct {
	Digest digest.Digest
	Dst    []byte
	N      int
	Err    error
}

// BatchGetter is the optional ability to read many blobs in the order that
// suits the store. It returns an error only if nothing was tried; otherwise
// each request has its own.
type BatchGetter interface {
	GetBatch(ctx context.Context, reqs []Request) error
}

// Quarantiner is the optional ability to set a blob aside whose bytes are not
// what its digest says: from then on it is ErrNotFound, it is counted in
// Stats, and a Put stores it anew. A session that held it cannot commit until
// the blob is there again (else ErrCorrupt). A store that can tell looks again
// and leaves a blob that is sound, as one is that was stored anew since.
type Quarantiner interface {
	Quarantine(ctx context.Context, d digest.Digest) error
}

// Stats describes a store's content in bytes as stored.
type Stats struct {
	Blobs            int64 `json:"blobs"`
	StoredBytes      int64 `json:"stored_bytes"`
	Quarantined      int64 `json:"quarantined"`
	QuarantinedBytes int64 `json:"quarantined_bytes"`
	QuotaBytes       int64 `json:"quota_bytes"` // 0: none
	Sessions         int64 `json:"sessions"`    // live ones

	// Blobs of class Cache are counted in Blobs and StoredBytes too.
	CacheBlobs      int64 `json:"cache_blobs"`
	CacheBytes      int64 `json:"cache_bytes"`
	CacheQuotaBytes int64 `json:"cache_quota_bytes"` // 0: only QuotaBytes bounds them
	EvictedBytes    int64 `json:"evicted_bytes"`     // by this store since it was opened

	// DeadBytes are taken by what was deleted or never committed and not
	// reclaimed yet; DiskBytes are all bytes that the store takes, indexes and
	// logs included. Zero where blobs are files.
	DeadBytes int64 `json:"dead_bytes"`
	DiskBytes int64 `json:"disk_bytes"`
}

// Amplification returns how many bytes the store takes for each byte that it
// stores; 0 if it does not know.
func (s Stats) Amplification() float64 {
	if s.StoredBytes == 0 {
		return 0
	}
	return float64(s.DiskBytes) / float64(s.StoredBytes)
}

// Stater is the optional ability to describe the content.
type Stater interface {
	Stats(ctx context.Context) (Stats, error)
}
