// Package capture takes a paged KV cache out of an engine into a store and
// puts it back, bit for bit.
//
// Capture pauses the engine, copies its pages through a bounded ring of host
// memory, resumes it with the last copy, and publishes a snapshot only when
// every byte of it is durable. Restore checks every byte before an engine sees
// it and leaves the engine as it was when anything fails. Verify, Diff, Check
// and Convert work on stored snapshots.
//
// A snapshot is kept in kvferry's own format (package capture/manifest) or in
// ProcessFork's (package capture/processfork); both describe the same content.
package capture

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/staging"
)

// Group is one KV group of an engine. An engine with a single group leaves the
// name empty.
type Group struct {
	Name  string
	Pager pager.Pager
}

// Options guide a Capture. The zero value captures in the native format,
// without a name, with one worker per processor.
type Options struct {
	// Names to point at the snapshot; a name that exists is moved.
	Names []string
	// Format of the snapshot; empty means cas.FormatNative. ProcessFork's
	// format holds one group of plain geometry and no identity.
	Format cas.Format
	// Codec chooses how blobs are encoded. A store of package cas/dir keeps
	// those of ProcessFork's format as zstd files in any case.
	Codec codec.Mode
	// Identity says whose pages these are.
	Identity identity.Identity
	// Key addresses the blobs by keyed digests, so that tenants share
	// nothing; native format only.
	Key *digest.Key
	// Image, if set, publishes a ProcessFork image that points at the page
	// manifest, so that ProcessFork's own collector keeps it.
	Image *Image
	// Since is an earlier snapshot of the same engine in the same store, in the
	// same format and under the same key: pages that are as they were then need
	// not be copied out. Zero means that there is none. See Groups.
	Since digest.Digest
	// Lease of the store session; 0 means cas.DefaultLease.
	Lease time.Duration
	// Now is the snapshot's time of creation; zero means the clock.
	Now time.Time
	Transfer
}

// Image describes the ProcessFork image written with a page manifest.
type Image struct {
	AgentKind, AgentVersion, AgentFingerprint string
}

// Transfer bounds the memory and parallelism of moving pages. The zero value
// works.
type Transfer struct {
	// Workers that hash, encode and store; 0 means one per processor.
	Workers int
	// StagingBytes of host memory between engine and store; 0 means
	// DefaultStagingBytes, or MoverStagingBytes for an engine that copies by
	// itself. A capture's pause ends with its last copy, so a
	// ring as large as the cache makes the pause as short as a plain copy.
	StagingBytes int
	// Allocator of the staging memory; nil means anonymous memory.
	Allocator staging.Allocator
	// CopyDeadline bounds each batch that is asked of an engine while it may
	// stand still: a job of its asynchronous mover, pages that are read or
	// written one by one, digests that it makes or compares. A capture or restore
	// fails with one that took longer, as ErrUnknownOutcome (a mover's) or
	// context.DeadlineExceeded, and resumes the engine; a pager may need time of
	// its own to end what is under way, such as gpu.Config.DrainTimeout. Calls
	// that do not heed their context are not bounded. 0 means
	// DefaultCopyDeadline.
	CopyDeadline time.Duration
	// Progress, if set, is called from several goroutines as pages are done.
	Progress func(Progress)
}

// Defaults of Transfer. The staging memory is small enough to stay in a
// processor's cache on its way from copy to store.
const (
	DefaultStagingBytes = 4 << 20
	MoverStagingBytes   = 4 * staging.DefaultExtentBytes
	DefaultCopyDeadline = 30 * time.Second
)

// Progress says how far a transfer is.
type Progress struct {
	Pages, TotalPages int
	Bytes, TotalBytes int64
}

func (t *Transfer) ensureDefaults() {
	if t.Workers == 0 {
		t.Workers = runtime.GOMAXPROCS(0)
	}
	if t.Allocator == nil {
		t.Allocator = staging.Anonymous()
	}
	if t.CopyDeadline == 0 {
		t.CopyDeadline = DefaultCopyDeadline
	}
}

func (t Transfer) validate() error {
	if t.Workers < 0 || t.StagingBytes < 0 || t.CopyDeadline < 0 {
		return fmt.Errorf("capture: %d workers, %d staging bytes, copy deadline %v: %w",
			t.Workers, t.StagingBytes, t.CopyDeadline, kvferry.ErrInvalid)
	}
	return nil
}

// Pause says how long an engine stood still, in parts.
type Pause struct {
	Total  time.Duration // from before Pause to after Resume
	Tables time.Duration // reading page lists and sequences
	Digest time.Duration // digests computed where the pages live
	Copy   time.Duration // copying pages out, or in
}

// Report says what a Capture did. Byte counts are plain bytes unless they say
// stored.
type Report struct {
	Root      digest.Digest
	Format    cas.Format
	Names     []string
	ImageRoot digest.Digest // of the ProcessFork image, if one was asked for
	Pages     int
	Sequences int
	Bytes     int64 // all pages
	NewBytes  int64 // of blobs that the store did not have
	// StoredBytes is what the new blobs take in the store, the manifest and
	// page tables included.
	StoredBytes int64
	NewBlobs    int64
	// Codecs says how the new blobs are stored, the manifest and page tables
	// included, most bytes first; empty if the store does not code them.
	Codecs      []CodecReport
	SkippedCopy int64 // bytes not copied out because their digests were known
	// Since is the snapshot that the capture was built on, if any, and
	// Unchanged the number of pages that have the same digests at the same
	// engine index as in it.
	Since     digest.Digest
	Unchanged int
	// CopiedPages and CopiedBytes are what was copied out of the engine.
	CopiedPages int
	CopiedBytes int64
	// Groups tells the same for each KV group, in the order of the snapshot.
	Groups []GroupReport
	// Omitted lists sequences that a lenient Convert left out.
	Omitted []processfork.Omission
	Pause   Pause
	Elapsed time.Duration
}

// CodecReport says what a codec did: it coded Blobs blobs of Bytes plain bytes,
// which take StoredBytes in the store.
type CodecReport struct {
	Codec                     codec.ID
	Blobs, Bytes, StoredBytes int64
}

// GroupReport says what a Capture did with one KV group.
type GroupReport struct {
	Name        string
	Pages       int
	Unchanged   int // as Report.Unchanged
	CopiedPages int
	CopiedBytes int64
	Digests     Place
}

// Place says where the digests were made by which a capture knew which pages it
// need not copy.
type Place string

// The places.
const (
	// AtHost: nowhere but here. Every page was copied out, because the engine
	// cannot digest pages, or not with this algorithm.
	AtHost Place = "host"
	// AtEngine: where the pages live, and all of them were brought out.
	AtEngine Place = "engine"
	// Compared: where the pages live, and compared there with those of the
	// base, so that only the ones that differ were brought out.
	Compared Place = "engine-compared"
)

// Capture takes a snapshot of one pager into s. See Groups for the rules.
func Capture(ctx context.Context, p pager.Pager, s cas.Store, o Options) (Report, error) {
	return Groups(ctx, []Group{{Pager: p}}, s, o)
}

// RestoreOptions guide a Restore.
type RestoreOptions struct {
	// Sequences to restore by id; nil means all of them, and the pages that
	// no sequence holds.
	Sequences []string
	// Rename gives a sequence another id in the engine; nil keeps ids.
	Rename func(id string) string
	// Busy allows an engine that already holds pages and sequences; what is
	// restored is added to them.
	Busy bool
	// KeepIndices restores every page at the engine index that it had at the
	// capture. The pager must be a pager.Reserver (else ErrUnsupported).
	KeepIndices bool
	// Identity, if set, must match the snapshot's (else
	// ErrIdentityMismatch).
	Identity *identity.Identity
	// Key of a tenant's snapshot.
	Key *digest.Key
	// Lenient accepts ProcessFork manifests that the original would accept
	// although they are inconsistent, and those of its Python adapters.
	Lenient bool
	Transfer
}

// RestoreReport says what a Restore did.
type RestoreReport struct {
	Root      digest.Digest
	Format    cas.Format
	Pages     int
	Sequences int
	Bytes     int64
	// Mappings says where the pages went, per group of the snapshot.
	Mappings []Mapping
	// Omitted lists sequences that a lenient reader left out.
	Omitted []processfork.Omission
	Pause   Pause
	Elapsed time.Duration
}

// Mapping says where the pages of a group went: page Numbers[i] of the snapshot
// was at the engine index Captured[i] and is at Restored[i]. Captured is nil if
// the snapshot does not tell.
type Mapping struct {
	Group              string
	Numbers            []uint32
	Captured, Restored []pager.PageID
}

// Restore puts a snapshot back into one pager. See RestoreGroups for the
// rules.
func Restore(ctx context.Context, s cas.Store, root digest.Digest, p pager.Pager, o RestoreOptions) (RestoreReport, error) {
	return RestoreGroups(ctx, s, root, []Group{{Pager: p}}, o)
}
