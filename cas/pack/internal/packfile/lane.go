package packfile

import (
	"context"
	"errors"
	"time"

	"github.com/kvferry/kvferry/internal/vfs"
)

// Spot is the place of a record.
type Spot struct {
	Pack  uint64
	Off   int64 // of its first byte in the pack
	Bytes int64 // its size, padding included
}

// LaneOptions say where and how a lane writes. FS, Class and NextID must be
// given.
type LaneOptions struct {
	FS      vfs.FS
	Class   Class
	StoreID [16]byte
	Stream  uint64
	// PackBytes is how long a pack may become, unless a single record is
	// longer; at most and by default 256 MiB.
	PackBytes int64
	// BufferBytes is how much is written at a time, 4 MiB by default.
	BufferBytes int
	// Buffers is how many buffers there are: one is being filled while the
	// others are written. 3 by default, at least 2.
	Buffers int
	// Direct moves data past the page cache where the file system can.
	Direct bool
	// NextID returns a candidate for the id of a new pack. If there is such a
	// pack already, it is asked again.
	NextID func() uint64
	// Adopt, if not nil, returns a pack of a dead process to go on with, and
	// the end of what the log says is in it.
	Adopt func() (id uint64, end int64, ok bool)
	// Lost is called once for each pack of which a write or synchronisation
	// failed, before anything that waits for the pack returns: what is in it
	// from the offset on may not be there. No lock of the lane is held; the
	// function must not wait for the lane.
	Lost func(pack uint64, from int64, err error)
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Lane writes records one behind the other into packs of one class. It is safe
// for concurrent use.
type Lane struct {
	o LaneOptions
}

var errSkeleton = errors.ErrUnsupported

// NewLane returns a lane. It makes no file before the first Append.
func NewLane(o LaneOptions) *Lane { return &Lane{o: o} }

// Append reserves the place of a record and lets fill write it there.
func (l *Lane) Append(_ context.Context, _ int64, _ func(dst []byte)) (Spot, error) {
	return Spot{}, errSkeleton
}

// ReadBuffered copies the record at s to dst if it is not written yet.
func (l *Lane) ReadBuffered(_ Spot, _ []byte) bool { return false }

// Check returns the error of the pack that s lies in if the record is lost.
func (l *Lane) Check(_ Spot) error { return nil }

// Flush writes what was appended before.
func (l *Lane) Flush(_ context.Context) error { return errSkeleton }

// Sync makes durable what was appended before.
func (l *Lane) Sync(_ context.Context) error { return errSkeleton }

// Active returns the pack that is being written and its end.
func (l *Lane) Active() (id uint64, end int64, ok bool) { return 0, 0, false }

// Seal closes the pack that is being written.
func (l *Lane) Seal(_ context.Context) error { return errSkeleton }

// Close ends the lane.
func (l *Lane) Close(_ context.Context) error { return errSkeleton }
