// Package art is a residency index on disk: adaptive radix trees in memory that
// has no pointers, a log of changes, and snapshots that are that memory.
//
// # Trees
//
// Two trees (nodes of 4, 16, 48 and 256 children, with compressed paths) lead to
// the same blocks: one by scope, prefix, hash, index and group, the other by hash
// first. Scopes and workers have numbers (below 2^24: more names at a time are
// ErrNoSpace); a worker's blocks are a list that goes through them. So Locate,
// Scan, ByHash, Match, Remove and ClearWorker cost what their keys and results are
// long; Expire alone looks at all records, if any can be as old as that, beside
// readers.
//
// All of it lies in up to 16 GiB of memory that is not given back before Close.
// What is taken away leaves room for objects of about the same length alone, until
// nothing is left: an index whose records are long at times and short at others
// takes what the most of each took.
//
// Beside the trees, and not stored, are hints: from a scope and a prefix to the
// block, where it has one alone. Scan, Locate, Match and Put of such a one need no
// way down the tree, and Match looks up many blocks of a prompt at a time. See
// hint.go; they take 16 bytes a block.
//
// Strings in keys are escaped (00 becomes 00 FF, the end is 00 00) and not
// preceded by their length: then the tree's order is the contract's, and results
// and snapshots come out of it without sorting; no key is the beginning of
// another, and no field runs into the next.
//
// Readers share a lock that writers take for the change in memory alone, which
// is about a microsecond for each record: not for the log, a sync or a snapshot.
//
// # Files
//
// The directory has one Index at a time (the file lock is locked), and holds
//
//	G.log       the changes since the snapshot of generation G was frozen
//	G.snapshot  everything before G.log
//
// where G is a generation in 16 hexadecimal digits; X.new is not finished. There
// are up to two snapshots, and the logs from the older one on. See frame.go and
// snaphead.go for the formats byte by byte.
//
// A frame of a log has entries; each begins with its kind:
//
//	1  scope     number, model, tokenizer, 0 or 1 and the adapter, tenant
//	2  worker    number, name
//	3  put       flags, scope, worker, prefix, hash, index, tokens, bytes, last
//	             access; refs and group if the flag 40 is there. The flags: tier
//	             (07), pinned (08), no adapter under AsHolt (10), the prefix is
//	             the hash of the put before (20)
//	4  remove    flags, scope, worker, hash; group with the flag 10. The flags:
//	             tier (07), any adapter (08), one group (10)
//	5  clear worker  worker
//	6  clear
//	7  expire    time
//	8  announce  worker, incarnation
//	9  vanish    worker: its records in volatile tiers are gone
//	10 mark      C3 "durable", offset in 8 bytes: alone in its frame
//	11 scope's use   number, blocks; in snapshots
//	12 worker's use  number, first block, records and their bytes, those in
//	             volatile tiers and their bytes; in snapshots
//	13 numbers   in 8 bytes, behind which changes go on: alone in its frame
//	14 closed    the index was closed: alone in its frame
//
// Flags are a byte, numbers are unsigned varints, strings their length and bytes.
//
// # What is safe when
//
// A change that was acknowledged is in the system's page cache, by a write or, if
// the log can be mapped, by a copy into a mapping: it survives the death of the
// process. When the power fails, what was changed since the last Flush may be
// lost, a suffix of the changes and never the middle; with Options.Sync nothing
// is.
//
// The log says itself up to where it was durable (marks). What does not hold
// behind that is the trace of a crash and is cut off, see Recovery; before it,
// it is damage: ErrCorrupt with the file and the offset. The frames behind the
// last mark cannot be told apart so. A snapshot that does not hold is replaced by
// the one before and the logs; one that cannot be read at all (an I/O error) is
// what Open returns, since it may hold.
//
// An index that was not closed goes on with numbers of changes that were never
// given, the next that 2^32 divides: then whoever watched what is lost now is told
// (ErrExpired). See numbers.go.
//
// After a write or sync failed nothing more is written (ErrPoisoned) until the
// index is opened again, but if there was no room: then what was written of it is
// gone, and ErrNoSpace. The next Open writes and syncs again what no mark says is
// durable, since the system may show what is not on the disk.
//
// # Snapshots
//
// When the log is longer than CompactBytes and twice the last snapshot, another
// log is begun and the arena frozen: a goroutine packs it chunk by chunk, and
// writers copy the chunks that they change before it comes there. Close makes a
// snapshot too if the log is so long that reading it again would take time.
package art
