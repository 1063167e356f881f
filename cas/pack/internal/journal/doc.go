// Package journal keeps the commit log of a pack store: opaque transactions in
// the order in which they were committed, appended by one process at a time,
// followed by all, and whole again after a crash.
//
// # Generations
//
// The log is one file, replaced from time to time by its successor. Each of
// these generations starts from a checkpoint that the caller wrote, or from the
// empty state, and only the newest one counts:
//
//	log/<16 hex>.log    a generation
//	log/<16 hex>.new    one that is being written; becomes .log by a rename
//	index/<16 hex>.idx  a checkpoint, written by the caller; the generation that
//	                    says base = its number starts from it
//
// A generation is written under its .new name, synced, and only then renamed,
// so a .log file whose header is wrong was damaged. The right to append is the
// lock (flock) on the newest .log file; a successor is locked before it gets
// its name. Committed bytes are never written again: a log that a crash has
// left untidy is replaced by a tidy copy, not mended in place.
//
// # The file
//
// Integers are little-endian, CRC is CRC-32C. The header lies in block 0 twice,
// at 0 and at 2048, so that one bad sector does not lose it.
//
//	 0  8  "KVFRLOG\n"
//	 8  4  version, 1
//	12  4  zero
//	16  8  generation, as in the name
//	24  8  base: the checkpoint that it starts from, 0 for none
//	32  8  sequence number of its first transaction
//	40 16  store id
//	56  4  zero
//	60  4  CRC of the 60 bytes before
//
// Block 1 tells the living what is there. Each word is a number below 2^48 and
// above it, in the upper 16 bits, a check on it (the two halves of the CRC of
// its six bytes, combined by exclusive or), since a reader may see a word half
// written. The words are hints: what they say is believed only together with
// what the transactions say.
//
//	4096  8  committed: the offset up to which transactions count, plus 1 if
//	         there is a successor
//	4104  8  durable: the offset up to which they were synced, too
//	4112  8  generation of the successor, 0 for none
//	4120  8  1 before the name of the file is durable and after a failed sync:
//	         what is not durable may never be, so the log is to be replaced
//
// Transactions follow from 8192 on, each at a multiple of 8 and padded with
// zeros to one. The log is written over zeros that were written ahead, and ends
// where a transaction would begin with a zero word.
//
//	 0  4  magic "KTX1"
//	 4  4  link of the transaction before, of the first one: the salt
//	 8  8  sequence number, 1 more than the one before
//	16  8  offset up to which this log was durable when this was written
//	24  4  bytes of the payload
//	28  4  CRC of the payload
//	32  4  flags: 1 durable, 2 unordered, 4 void
//	36  4  CRC of the 36 bytes before, begun with the salt
//	40     payload
//
// The salt is the CRC of store id and generation: a transaction of another log
// is none of this one. The link is the CRC, begun with the salt, of a
// transaction's first 32 bytes: a transaction is the next one only after the
// one that it was written after. A void transaction stands for lost or dropped
// ones: it has no payload and may be several numbers ahead of the one before.
//
// A sector is taken to be written whole or not at all, and a write to leave the
// sectors alone that it does not touch.
package journal
