package tiered

import (
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Mode says which store a commit waits for.
type Mode uint8

const (
	// WriteThrough commits in far.
	WriteThrough Mode = iota
	// WriteBack commits in near and copies to far later.
	WriteBack
)

// Promotion says which blobs that were read from far are put into near.
type Promotion uint8

const (
	// PromoteRead puts each blob that is read into near.
	PromoteRead Promotion = iota
	// PromoteNone puts none, except to replace one that is damaged in near.
	PromoteNone
)

// Options say how a store is opened. Near and Far are required, and References
// and QueueDir for WriteBack; otherwise the zero value works.
type Options struct {
	// Near and Far are open stores. In WriteBack near must keep what it commits
	// (no store in memory) and serve this store alone. A near store of package
	// dir is to be opened with DropUnlisted then, for what was copied is no
	// capture of ProcessFork's any more.
	Near, Far cas.Store
	Mode      Mode
	// CloseStores makes Close close near and far too.
	CloseStores bool

	// Promote says what reads put into near. Blobs are checked before; keyed
	// ones that Key does not fit cannot be, and are not promoted.
	Promote Promotion
	Key     *digest.Key
	// PromoteBytes bounds the bytes on their way into near; what is read beyond
	// is not promoted. 0 means DefaultPromoteBytes.
	PromoteBytes int64

	// References tells what the snapshots in a store need, as
	// capture.References does.
	References func(cas.Store) cas.References
	// QueueDir is the directory of the queue, which is made if it is missing.
	QueueDir string
	// QueueBytes bounds the queue; 0 means DefaultQueueBytes.
	QueueBytes int64
	// FailWhenFull makes a commit beyond the bound ErrQuota instead of waiting.
	FailWhenFull bool
	// Workers is how many blobs are copied to far at a time; 0 means 8.
	Workers int
	// Retry is the pause after far failed, which doubles up to 64 times itself;
	// 0 means 250 ms.
	Retry time.Duration

	// Clock tells the time for the leases of sessions and is to be the clock of
	// both stores; nil means time.Now.
	Clock func() time.Time
	// Fault, if not nil, is asked before every operation on the queue's files
	// and makes it fail by returning an error. It is for tests and must be safe
	// for concurrent use.
	Fault func(op, path string) error
}

// DefaultPromoteBytes bounds the bytes on their way into near.
const DefaultPromoteBytes = 64 << 20

// DefaultQueueBytes bounds the queue of write-back.
const DefaultQueueBytes = 16 << 30

// EnsureDefaults fills in what was left out.
func (o *Options) EnsureDefaults() {
	if o.PromoteBytes == 0 {
		o.PromoteBytes = DefaultPromoteBytes
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Retry == 0 {
		o.Retry = 250 * time.Millisecond
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
}

// Validate returns ErrInvalid for each setting that cannot be right.
func (o *Options) Validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf("tiered: "+format+": %w", append(args, kvferry.ErrInvalid)...))
		}
	}
	bad(o.Near == nil, "no near store")
	bad(o.Far == nil, "no far store")
	bad(o.Mode > WriteBack, "mode %d", o.Mode)
	bad(o.Promote > PromoteNone, "promotion %d", o.Promote)
	bad(o.PromoteBytes < 0, "promotions of %d bytes", o.PromoteBytes)
	bad(o.QueueBytes < 0, "queue of %d bytes", o.QueueBytes)
	bad(o.Workers < 0, "%d workers", o.Workers)
	bad(o.Retry < 0, "pauses of %v", o.Retry)
	if o.Mode == WriteBack {
		bad(o.References == nil, "write-back without references")
		bad(o.QueueDir == "", "write-back without a directory for the queue")
	}
	return errors.Join(errs...)
}
