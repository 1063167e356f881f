package lsm

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// The defaults of Options.
const (
	DefaultCacheBytes    = 64 << 20
	DefaultMemTableBytes = 32 << 20
)

// Options are those of an index on Pebble. The zero Options work.
type Options struct {
	index.Options
	// Sync makes every write durable before it returns. Writers at the same time
	// share a synchronisation of the log.
	Sync bool
	// CacheBytes is the memory for blocks of the tables, besides what tables in memory
	// may take and do not. 0: DefaultCacheBytes.
	CacheBytes int64
	// MemTableBytes is how much is collected in memory before it becomes a table;
	// up to four times as much is held. 0: DefaultMemTableBytes.
	MemTableBytes int
	// FS is the file system; nil is the system's own. Tests put others in.
	FS vfs.FS
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	o.Options.EnsureDefaults()
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = DefaultMemTableBytes
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
}

// Validate returns ErrInvalid for options that cannot be.
func (o *Options) Validate() error {
	if o.CacheBytes < 0 || o.MemTableBytes < 64<<10 || o.MemTableBytes > 1<<30 {
		return fmt.Errorf("lsm: cache of %d bytes, table in memory of %d (64 KiB to 1 GiB): %w",
			o.CacheBytes, o.MemTableBytes, kvferry.ErrInvalid)
	}
	return o.Options.Validate()
}
