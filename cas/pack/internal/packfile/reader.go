package packfile

import (
	"context"

	"github.com/kvferry/kvferry/internal/vfs"
)

// ReaderOptions say how a reader reads. FS must be given.
type ReaderOptions struct {
	FS vfs.FS
	// Direct moves data past the page cache where the file system can.
	Direct bool
	// OpenFiles is how many packs stay open, 256 by default.
	OpenFiles int
}

// Reader reads records of packs. It is safe for concurrent use.
type Reader struct {
	o ReaderOptions
}

// NewReader returns a reader.
func NewReader(o ReaderOptions) *Reader { return &Reader{o: o} }

// Read hands the record at s to use.
func (r *Reader) Read(_ context.Context, _ Spot, _ func(rec []byte) error) error { return errSkeleton }

// ReadBatch hands the records at spots to use.
func (r *Reader) ReadBatch(_ context.Context, _ []Spot, _ int, _ func(i int, rec []byte, err error)) {
}

// Forget closes the pack.
func (r *Reader) Forget(_ uint64) {}

// Header reads the header of a pack.
func (r *Reader) Header(_ context.Context, _ uint64) (Header, error) { return Header{}, errSkeleton }

// Scan visits the records of a pack.
func (r *Reader) Scan(_ context.Context, _ uint64, _, _ int64, _ func(off int64, rec []byte, err error) bool) error {
	return errSkeleton
}

// Close closes all packs.
func (r *Reader) Close() error { return nil }
