package journal

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry/internal/vfs"
)

// Journal follows the log of one store and appends to it. It is safe for
// concurrent use, except that nothing may be called during or after Close.
type Journal struct{}

// Create makes the directories of a log, if they are missing, and generation 1,
// if there is none. Several processes may do so at once.
func Create(ctx context.Context, fs vfs.FS, id [16]byte) error { return errors.ErrUnsupported }

// Open opens the newest generation, made if there is none, and positions the
// journal at its beginning: the caller loads the checkpoint Base and Follows.
func Open(ctx context.Context, o Options) (*Journal, error) { return nil, errors.ErrUnsupported }

// Base is the checkpoint that the state starts from, 0: the empty state.
func (j *Journal) Base() uint64 { return 0 }

// Fresh tells that nothing was committed since the last Follow: one atomic load.
func (j *Journal) Fresh() bool { return false }

// Follow applies what was committed since, in order, and moves on to successor
// generations. It never waits for those who append.
func (j *Journal) Follow(ctx context.Context, apply func(Tx) error) error {
	return errors.ErrUnsupported
}

// Rebase moves to the beginning of the newest generation after ErrRebased, or
// when the checkpoint Base is gone because it was replaced meanwhile.
func (j *Journal) Rebase(ctx context.Context) (base uint64, err error) {
	return 0, errors.ErrUnsupported
}

// Lock waits for the right to append and Follows to the end of the log.
func (j *Journal) Lock(ctx context.Context, apply func(Tx) error) (*Writer, error) {
	return nil, errors.ErrUnsupported
}

// Bytes is the length of the current generation's transactions.
func (j *Journal) Bytes() int64 { return 0 }

// Damage lists the transactions that were lost and skipped; each wraps ErrCorrupt.
func (j *Journal) Damage() []error { return nil }

// Close gives the journal back; no Writer may be held.
func (j *Journal) Close() error { return nil }

// Writer is the right to append. It is used by one goroutine at a time.
type Writer struct{}

// Append appends one transaction, durably if flags say so.
func (w *Writer) Append(payload [][]byte, flags Flags) error { return errors.ErrUnsupported }

// AppendAll appends transactions with one write and, if sync, one sync.
func (w *Writer) AppendAll(txs []Write, sync bool) error { return errors.ErrUnsupported }

// AppendBeside appends transactions durably while beside makes durable what
// they speak of; they count after both.
func (w *Writer) AppendBeside(txs []Write, beside func() error) error {
	return errors.ErrUnsupported
}

// Sync makes everything that was appended durable.
func (w *Writer) Sync() error { return errors.ErrUnsupported }

// Position is the end of the log.
func (w *Writer) Position() Position { return Position{} }

// Switch replaces the log by generation base, which starts from the checkpoint
// of that number and holds the transactions after from.
func (w *Writer) Switch(ctx context.Context, base uint64, from Position) error {
	return errors.ErrUnsupported
}

// Unlock gives the right back.
func (w *Writer) Unlock() {}
