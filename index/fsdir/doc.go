// Package fsdir is a residency index in a directory that an operator reads with
// ls and cat, and mends with rm. Reads are those of an index in memory, which is
// filled when the directory is opened; the files are the truth.
//
// # The directory
//
//	format                                   what this is, and under which rules
//	lock                                     held by who has it open
//	sequence.json                            the number of the newest change, or one that none reached
//	scopes/SCOPE/PARENT/BLOCK.json           a record
//	scopes/SCOPE/PARENT/BLOCK.json.new       the same, newer: not yet flushed
//	workers/WORKER.json, WORKER.json.new     the incarnation of a worker that announced itself
//	tmp/                                     what is being written
//
//	SCOPE    model=m,tokenizer=t,tenant=a  or  model=m,tokenizer=t,adapter=x,tenant=a
//	PARENT   the hash of the parent, root, or @unknown
//	BLOCK    HASH,worker=w,tier=hbm,index=0,group=0     and ,tokens=16 where tokens tell records apart
//
// So ls of a scope and its directory root shows how its prompts begin, and ls of
// a hash how they go on. In names the bytes A-Z a-z 0-9 - _ and . (not as the first)
// stand for themselves, all others are written as %2F. A part of a path that would
// be longer than 240 bytes is @ and the SHA-256 of what it says instead, in
// hexadecimal; the record in the file says it in full.
//
// # Files
//
// A file has two lines, JSON documents both:
//
//	{"key":{"model_id":"m", ...},"worker_id":"w0","tier":"Hbm", ...}
//	{"crc32c":"0a1b2c3d"}
//
// The first is the record's document, see index.Record.AppendJSON, or one of
// worker_id and incarnation, or of newest_change; the second the CRC-32C of the
// first with its line feed. A file that does not say so, or that lies where its
// record does not belong, is damaged: it is left alone, not read as a record, and
// Check tells of it.
//
// # What is durable
//
// A write has reached the operating system when it returns: it survives the end of
// the process. Flush, or every write if Options say Sync, makes files durable, then
// gives those that end with .new their names, and makes the directories durable. A
// power failure thus never takes what was flushed; of what was not, any part may
// be there, records of one Put apart from each other, and a file that it left
// torn still ends with .new and goes at the next opening.
//
// Where sequence.json is damaged the opening is kvferry.ErrCorrupt; where it was
// removed, which mends that, changes are numbered on from the time in microseconds,
// so that none has the number of an earlier one.
//
// A failed write leaves everything as it was where that is possible, as on a full
// disk. After any other failure all writes are kvferry.ErrPoisoned.
//
// # Cost
//
// A record is a file, and most often a directory too, and so a write costs about
// five system calls for each and a Flush two synchronisations, of which many are
// done at a time: some 9 KiB and two inodes reach the disk for a record of a hundred
// bytes. Put and Remove know where to go; ClearWorker, Expire and an Announce with
// another incarnation look at all records in memory. An incarnation is kept for
// every worker with records and for the last tens of thousands without. It is the
// index for some ten thousand records, and for eyes.
package fsdir
