package lsm

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

const (
	// format is the newest of Pebble's formats whose log claims nothing about what
	// of it is durable. Those behind it say in the log how far it was synchronised,
	// which is not true of a log that was only handed to the system.
	format = pebble.FormatColumnarBlocks

	maxOpenFiles    = 256       // tables that are open at the same time
	bloomBitsPerKey = 10        // one in a hundred absent keys is looked for
	indexBytes      = 256 << 10 // of a block of a table's index, of which most have one
	maxTableBytes   = 16 << 20  // of the first level, doubled from level to level
	maxBaseBytes    = 64 << 20  // of the first level before it is merged into the next
	neverStop       = 1 << 20   // tables at which Pebble's writers wait, see pressure
)

// openPebble opens the database in dir, whose lock is held.
func openPebble(dir string, o *Options, fs *watchedFS, lock *pebble.Lock, load *pressure) (*pebble.DB, error) {
	// Pebble takes what its tables in memory hold off the cache's bytes, and with as
	// many as may wait there would be no cache left when it is needed most.
	cache := pebble.NewCache(o.CacheBytes + maxTables*int64(o.MemTableBytes))
	defer cache.Unref()
	p := &pebble.Options{
		Cache: cache, FS: fs, Lock: lock, FormatMajorVersion: format, Logger: quiet{fs}, MaxOpenFiles: maxOpenFiles,
		MemTableSize: uint64(o.MemTableBytes), LBaseMaxBytes: maxBaseBytes, EventListener: load.listener(fs),
		MemTableStopWritesThreshold: neverStop, L0StopWritesThreshold: neverStop,
	}
	// The usual one has a goroutine that outlives an Open that fails; it only looks
	// again at what this one is told of.
	p.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	for i := range p.Levels {
		l := &p.Levels[i]
		l.FilterPolicy, l.FilterType = bloom.FilterPolicy(bloomBitsPerKey), pebble.TableFilter
		l.IndexBlockSize = indexBytes
		l.Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	p.TargetFileSizes[0] = maxTableBytes
	return pebble.Open(dir, p)
}

// quiet is a log that keeps errors and prints nothing.
type quiet struct{ fs *watchedFS }

func (quiet) Infof(string, ...any) {}

func (quiet) Errorf(string, ...any) {}

// Fatalf may return where Pebble calls it for a failed write, of which the file
// system knows. For all else, which is a broken invariant, it does not.
func (q quiet) Fatalf(format string, args ...any) {
	if q.fs.failed() == nil {
		panic(fmt.Sprintf("lsm: "+format, args...))
	}
}
