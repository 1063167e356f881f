// Package art is a residency index on disk: an adaptive radix tree in memory
// with a log and snapshots.
package art

import (
	"context"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Options are those of an index on disk. The zero Options work.
type Options struct {
	index.Options
	// Sync makes every change durable before it returns.
	Sync bool
	// CompactBytes is how long the log becomes at least before a snapshot takes
	// its place. 0: DefaultCompactBytes.
	CompactBytes int64
	// FS is the directory instead of the one that is named; tests set it.
	FS vfs.FS
}

// Index is a residency index on disk.
type Index struct{ index.Index }

// Open opens the index in the directory dir, which is made if it is missing.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	panic("not written yet")
}
