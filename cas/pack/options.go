package pack

import (
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Options say how a store is opened. The zero value opens a store for reading
// and writing, creates it where there is none, and bounds nothing.
type Options struct {
	// ReadOnly opens an existing store without creating or changing anything;
	// every write is ErrReadOnly. It waits for no lock and keeps none: Stats and
	// dry runs try those of other processes for a moment, to see who lives.
	ReadOnly bool
	// MustExist makes a directory that is missing, or no store, ErrNotFound
	// instead of a new store.
	MustExist bool
	// QuotaBytes bounds the bytes of the records in all packs, dead ones that
	// were not reclaimed yet included; 0 means no bound. Blobs of class Cache
	// are evicted to make room; then it is ErrQuota.
	QuotaBytes int64
	// CacheBytes bounds the bytes of the packs of class Cache. A full cache
	// evicts and goes on. 0 means that only QuotaBytes bounds them.
	CacheBytes int64
	// CacheTTL is how long a blob of class Cache lives after it was stored;
	// 0 means until it is evicted.
	CacheTTL time.Duration
	// PackBytes is the size at which a pack is full: DefaultPackBytes if 0. A
	// store may hold packs of any sizes.
	PackBytes int64
	// BufferBytes is the size of one write, of which a few are in memory for
	// each class that is written; 0 means 4 MiB.
	BufferBytes int
	// Buffered makes reads and writes go through the page cache also where the
	// file system could do without.
	Buffered bool
	// RepackDead is the dead share of a pack from which a collection copies
	// what is left of it; 0 means DefaultRepackDead.
	RepackDead float64
	// Repair opens a store for writing whose log or index is damaged, with
	// what can be read of it.
	Repair bool
	// Clock tells the time for leases, ages and expiry; nil means time.Now.
	Clock func() time.Time

	// fs replaces the directory, for tests.
	fs vfs.FS
	// logBytes is how long the log becomes before a checkpoint replaces it, and
	// shortLogBytes how long it must be for Close to do so.
	logBytes, shortLogBytes int64
}

// DefaultPackBytes is the size of a full pack.
const DefaultPackBytes = 256 << 20

// DefaultRepackDead is the dead share of a pack that a collection tolerates.
const DefaultRepackDead = 0.1

const (
	maxPackBytes    = 256 << 20 // no record begins behind it
	maxRecordBytes  = 8 << 30
	packHeaderBytes = 4096
	minPackBytes    = 64 << 10
)

// ensureDefaults fills what is not set.
func (o *Options) ensureDefaults() {
	if o.PackBytes == 0 {
		o.PackBytes = DefaultPackBytes
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = 4 << 20
	}
	if o.RepackDead == 0 {
		o.RepackDead = DefaultRepackDead
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.logBytes == 0 {
		o.logBytes = longLogBytes
	}
	if o.shortLogBytes == 0 {
		o.shortLogBytes = shortLogBytes
	}
}

// Validate returns ErrInvalid for each setting that cannot be right.
func (o Options) Validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf("pack: "+format+": %w", append(args, kvferry.ErrInvalid)...))
		}
	}
	bad(o.QuotaBytes < 0, "quota of %d bytes", o.QuotaBytes)
	bad(o.CacheBytes < 0, "cache of %d bytes", o.CacheBytes)
	bad(o.CacheTTL < 0, "cache entries that live %v", o.CacheTTL)
	bad(o.PackBytes != 0 && (o.PackBytes < minPackBytes || o.PackBytes > maxPackBytes || o.PackBytes%vfs.BlockBytes != 0),
		"packs of %d bytes: want %d to %d, a multiple of %d", o.PackBytes, minPackBytes, maxPackBytes, vfs.BlockBytes)
	bad(o.BufferBytes != 0 && (o.BufferBytes < vfs.BlockBytes || o.BufferBytes%vfs.BlockBytes != 0),
		"buffers of %d bytes: want a multiple of %d", o.BufferBytes, vfs.BlockBytes)
	bad(o.RepackDead < 0 || o.RepackDead > 1, "repacking from a dead share of %v: want 0 to 1", o.RepackDead)
	bad(o.ReadOnly && o.Repair, "a repair that only reads")
	return errors.Join(errs...)
}
