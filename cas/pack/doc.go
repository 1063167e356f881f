// Package pack is a content-addressed store in append-only files, durable,
// crash-safe, and shared by processes.
//
//	<root>/kvferry.json             what this is; locked by the collector that runs
//	<root>/log/<16 hex>.log         the log of commits (package journal)
//	<root>/log/repair               there while a repair has to read all packs
//	<root>/index/<16 hex>.idx       the state at the beginning of that log
//	<root>/packs/<16 hex>.pack      packs of records (package packfile)
//	<root>/streams/<16 hex>         one for each process that writes, locked while it lives
//	<root>/streams/<16 hex>.<n>     one for each of its sessions: what it holds
//
// Other files are ignored and never deleted. kvferry.json:
//
//	{
//		"format": "kvferry-pack",
//		"version": 1,
//		"id": "<32 hex>"            (in the head of every other file, too)
//	}
//
// # Visibility
//
// A blob exists if the log says where it is, and the log says so only after
// the blob is durable in its pack. A snapshot exists if the log has it, which
// is after all of its blobs. What several goroutines ask for at a time becomes
// one synchronisation of the packs and one of the log. Each process writes to
// packs of its own, which it keeps locked until what is in them is in the log;
// the log is locked for the moment of appending to it. Other processes follow
// the log: whether it has something new is one load from memory.
//
// A pack's number is the clock in microseconds when it was made, or one more than
// the greatest known: it does not come again, also if the pack is long gone, so
// that whoever has it open, or is about to remove it, has the right one.
//
// There are no lock files to delete: locks lie on files that have a content,
// and a process that ends, however it does, lets go of them.
//
// # Transactions
//
// The payload of a transaction is a sequence of operations. Numbers are
// unsigned varints (package encoding/binary), a digest is one byte of its
// algorithm and 32 of its sum, a text its length and its bytes, a time 8 bytes
// of Unix nanoseconds, little-endian. An offset in a list counts units of 64
// bytes from the end of the blob before, where a size is given, else from its
// beginning; a size counts units, too.
//
//	 1 add         pack, class (0 snapshot, 1 cache), Unix seconds, n, n x (digest, offset, size)
//	 2 remove      pack, n, n x (digest, offset)
//	 3 drop        pack: it is gone with all that the log still has in it
//	 4 snapshot    root, format, created, pages, sequences, bytes, 0 | 1 and the image's digest
//	 5 name        name, root
//	 6 unname      name
//	 7 forget      root: the snapshot and every name of it
//	 8 quarantine  pack, n, n x (digest, offset, size)
//	 9 condemn     pack, n, n x (digest, offset): a collector is about to remove them
//	10 pardon      no blob is condemned any more
//	11 pack        pack, class, end in bytes, Unix seconds; in checkpoints only
//
// Operations say what is, so that applying a stretch of the log twice in order
// changes nothing. A checkpoint is therefore written while the log goes on.
//
// # Checkpoints
//
//	   0  8  "KVFRIDX\n"
//	   8  4  version, 1
//	  12  4  zero
//	  16 16  store id
//	  32  8  generation, as in the name
//	  40  8  bytes of the operations
//	  48  4  CRC-32C of the operations
//	  52  8  bytes of the blobs
//	  60  4  CRC-32C of the 60 bytes before
//	2048 64  the same once more
//	4096  -  operations: the packs in the order in which the table numbers
//	         them, the catalog, the quarantine; zeros up to a multiple of 4096
//	   -  -  the blobs (package table); zeros up to a multiple of 4096
//	   -  -  the operations once more: what is in the packs can be read there
//	         again, the catalog cannot
//
// # Sessions
//
// A session file tells collectors of other processes what the session holds.
//
//	  0  8  "KVFRSES\n"
//	  8  4  version, 1
//	 12  4  class
//	 16  8  Unix nanoseconds until which the session lives, unless it is renewed
//	 24  8  zero
//	 32 96  owner, zeros behind
//	128  8n the first 8 bytes of each digest, exclusive or its algorithm, lowest bit set
//
// It is never synchronised: after a crash of the machine no session lives.
//
// # Damage
//
// Every byte that counts has a checksum; the zeros between them do not count. A damaged record is ErrCorrupt for
// whoever reads it, and only for them; damage of the log or of a checkpoint is
// found when the store is opened: for reading it opens with what is left, for
// writing it does not unless for repair. A repair takes the store's id from the
// files that have it under a checksum, and reads all packs for the blobs that
// the log and the index do not know of any more; what it cannot find again are
// the snapshots and names of damaged transactions. From before the first damaged
// part is replaced until all packs were read, the file log/repair keeps everybody
// from taking what nothing knows for garbage. A write or synchronisation that fails
// ends the use of the file, is never tried again, and fails every session whose
// blobs were in it; what was acknowledged before is not touched.
//
// # Versions
//
// A build opens stores of its own version and of all before it. A store of a
// newer one is ErrUnsupported, also in each of its files. testdata/ keeps a
// store of every version.
package pack
