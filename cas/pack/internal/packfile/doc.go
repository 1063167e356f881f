// Package packfile writes and reads packs, the append-only files in which a
// pack store keeps its blobs.
//
// A pack is a header block and records behind it. Integers are little-endian;
// CRC-32C is the Castagnoli polynomial. The header takes the first 4096 bytes:
//
//	 0  8  magic            4b 56 46 52 50 43 4b 0a ("KVFRPCK\n")
//	 8  4  version          1
//	12  4  class            1 snapshot, 2 cache: of all records in the pack
//	16  8  pack id          the number in the file's name
//	24 16  store id
//	40  8  stream id        of the process that made the pack
//	48  8  created          Unix time in nanoseconds, signed
//	56  4  header CRC-32C   of bytes 0 to 55
//	60  -  zeros up to 4096
//
// A record begins at a multiple of 64 bytes and holds one blob:
//
//	 0  4  magic            4b 56 52 43 ("KVRC")
//	 4  1  version          01
//	 5  1  algorithm        of the digest, package digest's numbers
//	 6  2  reserved         00 00
//	 8 32  digest           of the plain bytes
//	40  4  written at       Unix time in seconds, unsigned
//	44  4  header CRC-32C   of bytes 0 to 43
//	48  -  codec frame      header of 32 bytes and payload, package codec
//	 -  -  zeros up to the record's size
//
// The record's size is the smallest representable one that holds the frame: a
// count of 64-byte units of 12 bits, shifted left by at most 15. An index of 16
// bits per size is therefore exact.
//
// What one process writes between two synchronisations is a group, and every
// group begins at a fresh block of 4096 bytes: a block that holds durable
// records is never written again, so a torn write cannot reach them. Blocks are
// filled up with zeros, and a pack that is written to may be longer than what is
// in it, for room is reserved ahead; it reads as zeros.
//
// Nothing in a pack makes a blob visible. A record counts when a committed
// transaction of the store's log names its place.
package packfile
