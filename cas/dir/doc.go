// Package dir is a content-addressed store in a directory, one file per blob.
// It reads and writes the layout of ProcessFork's FsBlobStore, so that both
// programs can share a directory.
//
//	<root>/blobs/sha256/<aa>/<64 hex>.zst         ProcessFork's: one zstd file
//	<root>/blobs/blake3/<aa>/<64 hex>.kvf         a frame of package codec
//	<root>/blobs/blake3-keyed/<aa>/<64 hex>.kvf   likewise
//	<root>/blobs/<alg>/<aa>/.kvf-<id>-<n>.<64 hex>  a blob that is not durable yet
//	<root>/images/<64 hex>.json      image markers, ProcessFork's and ours: roots
//	<root>/snapshots/<alg>-<64 hex>  one snapshot of the catalog
//	<root>/names/<name>              the snapshot that a name points at
//	<root>/sessions/<16 hex>         a live session and what it protects
//	<root>/quarantine/<alg>-<64 hex>.<16 hex>.<reason>   blobs set aside, never served
//	<root>/dropped/<64 hex>          a SHA-256 manifest that was dropped from the catalog
//	<root>/locks/{gate,turn,collect,catalog}             empty, for flock
//	<root>/kvferry.json              format version and origin
//
// <aa> are the first two of the 64 digits. ".kvf-<16 hex>-<n>" is a temporary
// file in any of the directories. Files of other names are ignored and never
// deleted.
//
// kvferry.json:
//
//	{
//		"format": "kvferry-dir",
//		"version": 1,
//		"origin": "kvferry"        (or "processfork", if blobs were there first)
//	}
//
// A snapshot and a name are lines of a key, a space and a value. The last one
// holds the BLAKE3 of all bytes before it:
//
//	kvferry snapshot 1                          kvferry name 1
//	root blake3:<64 hex>                        name <name>
//	format native                               root blake3:<64 hex>
//	created 2026-11-20T08:00:00.000000000Z      sum <64 hex>
//	pages 64
//	sequences 3
//	bytes 262144
//	image sha256:<64 hex>                       (only if it has one)
//	sum <64 hex>
//
// A marker has the bytes of the image manifest whose digest is its name. That
// of a snapshot's image is written once the snapshot is in the catalog, and
// removed before it is dropped, so that no crash leaves one that keeps what is
// not in the catalog. An entry whose marker is missing gets it from the next
// collection. Other markers are ProcessFork's and left alone.
//
// ProcessFork has no catalog: any page or image manifest among the SHA-256
// blobs may be a capture of its own, and is a root of every collection with
// what it refers to. That of a snapshot of ours that was dropped is told apart
// by a file in dropped/: the file that the snapshot had, or an empty one for an
// image that another one replaced. A commit of the manifest removes it, and so
// does a collection once the blob is gone.
//
// A session's file, which its process holds an exclusive flock of:
//
//	0    8   "kvfses1\n"
//	8  120   owner, padded with zeros
//	then records of 40 bytes:
//	0    1   1, 2, 3: algorithm of a digest that the session needs; 'T': time
//	1   32   the digest; or Unix nanoseconds until which the session lives,
//	         8 bytes little-endian, padded with zeros
//	33   3   zero
//	36   4   CRC-32C of bytes 0 to 35, little-endian
//
// # Durability
//
// A blob is written to a temporary file and readable in its own process at
// once. Flush and Commit, or a session that has 16384 blobs waiting, first
// make the bytes durable, then rename, then make the directories durable. So
// whatever has a blob's name was complete on the device before it got the
// name, and another process may take it for stored. Few files are synchronised
// one by one, many by one syncfs, where the kernel (5.8 and later) reports
// errors through it. A commit also makes the directories durable in which it
// found blobs, because ProcessFork does not, and in the same step the content
// of its own files, which it then renames. Blobs of a session that ended
// without publishing them stay readable in their process, as garbage.
//
// A file in a blob's place is not trusted for being there: a Put reads it and
// compares it with the bytes that it was given, once per session, and stores
// a damaged one anew. Has looks at its size and the headers of its frames or
// blocks.
//
// # Sharing
//
// Any number of processes may use a store. Session operations take a shared
// lock, the gate, while they record a digest in the session's file and look
// for the blob; a collector takes it exclusively for each small batch, reads
// what the sessions recorded meanwhile, and deletes only what nobody needs. A
// session whose process died has lost its flock and is over; one whose lease
// ran out is over when a collector has removed its file, after which it cannot
// commit. The original locks nothing: do not run its gc beside a capture.
package dir
