package journal

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry/internal/vfs"
)

// ErrRebased is returned by Follow and Lock when transactions that were not
// applied yet are gone, since others wrote a checkpoint after them, and by a
// journal open for reading if a tail that it had applied was not kept. The
// state is to be made anew: Rebase, load the checkpoint, Follow.
var ErrRebased = errors.New("journal: overtaken by a checkpoint")

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
	// Verify is asked about each Unordered transaction that may have been
	// appended just before a crash. True says that what it speaks of is there
	// and durable; false drops it. Nil drops none.
	Verify func(ctx context.Context, tx Tx) (bool, error)
}
