package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/internal/vfs"
)

// ErrRebased is returned by Follow and Lock when transactions that were not
// applied yet are gone, since others wrote a checkpoint after them, and by a
// journal open for reading if a tail that it had applied was not kept. The
// state is to be made anew: Rebase, load the checkpoint, Follow.
var ErrRebased = errors.New("journal: overtaken by a checkpoint")

// ErrMoved is returned by Switch if the log was replaced since the position was
// taken, as another process's checkpoint does. The checkpoint is of no use.
var ErrMoved = errors.New("journal: the log was replaced since that position")

// MaxPayloadBytes is the largest payload of one transaction.
const MaxPayloadBytes = 1 << 30

// Flags say how a transaction was appended. Others than these are refused.
type Flags uint32

const (
	// Durable tells that the transaction was synced when it was appended.
	Durable Flags = 1
	// Unordered tells that what the transaction speaks of was synced beside it
	// and not before: after a crash it may be there without it.
	Unordered Flags = 2
)

// Tx is a committed transaction.
type Tx struct {
	// Seq numbers the transactions of a store, from 1 over all generations.
	Seq   uint64
	Flags Flags
	// Payload is valid during the call.
	Payload []byte
}

// Write is a transaction to append: its payload in parts that are joined.
type Write struct {
	Parts [][]byte
	Flags Flags
}

// Position is a place between two transactions.
type Position struct {
	Generation uint64
	// Offset is where the next transaction begins in the generation's file.
	Offset int64
	// Seq is that of the transaction before.
	Seq uint64
}

// Options say how a journal is opened.
type Options struct {
	// FS is the store's directory.
	FS vfs.FS
	// StoreID is what every generation must carry.
	StoreID [16]byte
	// ReadOnly writes nothing and takes no lock.
	ReadOnly bool
	// Repair goes on past damage, which Damage then lists, and replaces the
	// log by what is left of it.
	Repair bool
	// MustExist makes a log that is not there ErrCorrupt, unless Repair: the
	// caller knows that there was one.
	MustExist bool
	// Damaged, if not nil, is called before a log that lost something is
	// replaced, or one made for a store that lost its own: from then on nothing
	// in the log tells of the damage.
	Damaged func() error
	// Verify is asked about each Unordered transaction that may have been
	// appended just before a crash. True says that what it speaks of is there
	// and, unless ReadOnly, durable: since a sync may have failed, that takes
	// to write it once more and to sync it. False drops the transaction. Nil
	// drops none.
	Verify func(ctx context.Context, tx Tx) (bool, error)
}

// Journal follows the log of one store and appends to it. It is safe for
// concurrent use, except that nothing may be called during or after Close.
type Journal struct {
	o    Options
	turn chan struct{} // held by the one Writer of this journal
	w    *lockFile     // belongs to whoever has the turn; nil: none open
	buf  []byte        // likewise; for what is appended

	failure atomic.Pointer[error]
	view    atomic.Pointer[view]
	bytes   atomic.Int64

	mu      sync.Mutex
	g       *generation // followed
	cur     cursor      // up to here
	applied uint64      // the last transaction that took effect
	scan    scanner     // its buffer is kept
	tail    tail
	damage  []error
	closed  bool
}

// view is what Fresh looks at.
type view struct {
	g    *generation
	seen atomic.Uint64
}

// tail is what a journal open for reading knows without the words: where the
// log ended when it was opened. Nobody has confirmed that end yet.
type tail struct {
	loose     bool
	confirmed cursor // what was committed then
	word      uint64 // while this is the word, end is the end
	end       int64
	dropped   map[int64]bool
}

// lenient tells whether damage is skipped.
func (j *Journal) lenient() bool { return j.o.ReadOnly || j.o.Repair }

// Base is the checkpoint that the state starts from, 0: the empty state.
func (j *Journal) Base() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.g.base
}

// Generation is the number of the log that is followed. What is asked while the
// log is locked is the number of that one.
func (j *Journal) Generation() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.g.generation
}

// Fresh tells that nothing was committed since the last Follow, nor the log
// replaced: one atomic load. It is false, too, if that cannot be told.
func (j *Journal) Fresh() bool {
	v := j.view.Load()
	return v.g.watched() == v.seen.Load()
}

// Bytes is the length of the current generation's transactions.
func (j *Journal) Bytes() int64 { return j.bytes.Load() }

// Damage lists what was lost and skipped; each error wraps ErrCorrupt, and is a
// *LostError where transactions were lost.
func (j *Journal) Damage() []error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.damage)
}

// noteLocked adds to the damage what it does not list yet.
func (j *Journal) noteLocked(all ...error) {
	for _, err := range all {
		same := func(e error) bool { return e.Error() == err.Error() }
		if !slices.ContainsFunc(j.damage, same) {
			j.damage = append(j.damage, err)
		}
	}
}

// enterLocked makes g the generation that is followed, from its beginning.
func (j *Journal) enterLocked(g *generation) {
	old := j.g
	j.g, j.cur, j.tail = g, g.start(), tail{}
	j.scan.forget()
	j.noteLocked(g.faults...)
	v := &view{g: g}
	v.seen.Store(^g.watched()) // not followed yet
	j.view.Store(v)
	if old != nil {
		_ = old.f.Close() // nothing was written through it that matters
	}
}

// Close gives the journal back; no Writer may be held.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	err := j.g.f.Close()
	if j.w != nil {
		err = errors.Join(err, j.w.f.Close())
	}
	if err != nil {
		return fmt.Errorf("journal: close: %w", err)
	}
	return nil
}
