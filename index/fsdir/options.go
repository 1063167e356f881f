package fsdir

import (
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Options are those of an index in a directory. The zero Options work.
type Options struct {
	index.Options
	// Sync makes every write durable before it returns.
	Sync bool
	// FS is the directory; nil is the system's own. Tests put others in, and
	// the index closes it.
	FS vfs.FS
}
