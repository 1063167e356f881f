// Package table is the index of a pack store in memory: it says where the
// record of each blob lies, for hundreds of millions of blobs, in at most 48
// bytes each.
//
// # In memory
//
// The table has 2048 shards, each an open-addressing table with a lock. What
// is looked for in a shard, and from which slot on, is x, a permutation of the
// digest's first word that is keyed with the other words and with a seed of
// the table: digests can be ground so that they share bits, and none that an
// attacker can choose without the seed meet in one shard or slot. The upper 11
// bits of x are the shard's number, so that an entry needs not have the first
// byte of x; its age is in that room:
//
//	word 0     x without its first byte, then the age
//	words 1-3  bytes 8 to 31 of the digest
//	word 4     Place, with the algorithm; 0: the slot is empty
//
// Collisions go to the next slot, in the order of x all through the shard
// (linear probing as Robin Hood's: those far from home before those that are
// near), which bounds how far a search goes in a full shard: one cache miss,
// and lines that follow it. Because the order is that of x, a shard grows and
// shrinks in one pass. The slots of a shard are chunks of 64 out of slabs that
// all shards share, outside the Go heap: a shard takes new chunks, moves over
// and gives the old ones back, so that shards grow by a sixteenth at a time
// and memory is never torn.
//
// # Stored
//
// Save writes, and Load reads, numbers in little-endian order:
//
//	frame     64 bytes
//	blocks    65536 bytes each, the last one as long as its entries need
//	frame     64 bytes, the last of the size that Save returned
//
//	frame:
//	 0  8  magic "KVFTABLE"
//	 8  4  version, 1
//	12  4  1: the frame in front, 2: the frame at the end
//	16  8  number of this table, chosen at random
//	24  8  entries (in front: 0)
//	32  8  blocks (in front: 0)
//	40 20  zero
//	60  4  CRC-32C of the 60 bytes before
//
//	block:
//	 0  4  magic 0x6b6c6274, "tblk"
//	 4  4  CRC-32C of the bytes from 8 to the end of the last entry
//	 8  8  number of this table
//	16  8  number of the block, from 0
//	24  4  entries; 1637 in every block but the last
//	28  4  zero
//	32     entries of 40 bytes; what is left of the block is zero
//
//	entry:
//	 0 32  digest
//	32  8  Place with the number that stands for the pack in place of the
//	       slot, the algorithm of the digest in bits 2-3, and no flags
//
// Either frame is enough to read the blocks. A block whose checksum, numbers
// or length do not hold is lost with its entries and no others; so is an entry
// of an algorithm, a size or a pack that there is not.
package table
