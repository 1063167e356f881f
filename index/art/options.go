package art

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// DefaultCompactBytes is how long a log becomes at least before a snapshot takes
// its place, if not said otherwise.
const DefaultCompactBytes = 64 << 20

// Options are those of an index on disk. The zero Options work.
type Options struct {
	index.Options
	// Sync makes every change durable before it returns. Puts that wait for that
	// at the same time share it.
	Sync bool
	// CompactBytes is how long the log becomes at least before a snapshot takes
	// its place; the log of an index that is larger becomes longer. 0:
	// DefaultCompactBytes.
	CompactBytes int64
	// Write makes every change a write to the log, as it is where logs cannot be
	// mapped. Else changes are copied into a mapping of the log: that is as safe
	// when the process is killed, and as unsafe when the power fails before a
	// Flush, and several times faster.
	Write bool
	// FS is the directory instead of the one that is named, for tests.
	FS vfs.FS
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	o.Options.EnsureDefaults()
	if o.CompactBytes == 0 {
		o.CompactBytes = DefaultCompactBytes
	}
}

// Validate returns ErrInvalid for options that cannot be.
func (o *Options) Validate() error {
	if o.CompactBytes < 0 {
		return fmt.Errorf("art: snapshot after %d bytes of log: %w", o.CompactBytes, kvferry.ErrInvalid)
	}
	return o.Options.Validate()
}
