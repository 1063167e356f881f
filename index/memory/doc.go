// Package memory is a residency index in memory. Its records lie in slabs of
// words without pointers, so that the garbage collector has nothing to look at;
// readers take no lock.
//
// # Layout
//
// A node is a block as Match knows it: scope, group, parent's hash and hash. Its
// first record lies in the same cell, more of them in cells of their own.
//
//	node            words of 64 bits, high half first
//	  0   scope 32         | group 32
//	  1   parent's text 16 | hash's text 16 | more workers 32
//	  2   first record 32  | tier and word of workers 32
//	  3   which of 64 workers have the block in that tier
//	  4   next, previous node of the same hash, in all scopes
//	  5   next, previous node of the same scope and parent
//	  6.. words of the parent's hash, then of the hash, made an even number;
//	      then a record: free if it has no tier
//
//	record
//	  0   index 32         | tokens 32
//	  1   node 32          | refs 32
//	  2   worker 32        | tier, pinned, exact, no adapter, kin 32
//	  3   bytes
//	  4   last access
//	  5   next, previous record of the node
//	  6   next, previous record of the same hash and worker, in one model,
//	      tokenizer and tenant: kin
//	  7   next, previous record of the same worker, in this shard
//
// A block of 64 digits that one worker holds in one tier costs 176 bytes, one
// whose hashes are decimal numbers 128, and its part of two hash tables: of the
// hash, and of scope and parent. What is far behind in a list is in a third and
// a fourth, so that no operation walks over what it does not return. Scopes and
// workers are numbers, which are used again when the last record is gone.
//
// # Shards
//
// A node, its records and all tables but one lie in the shard of its hash. The
// nodes of one parent are listed in the scan shard of scope and parent. A writer
// locks the shards and then the scan shards of what it changes, and makes their
// versions odd meanwhile; a reader that sees another version behind its reading
// than before it reads again. Whoever did so too often locks the shard.
//
// # What readers see
//
// Locate, Scan and ByHash return what was there at one moment between their
// beginning and their end. So does Match of up to 64 blocks; of a longer prompt
// that is written to meanwhile, each block counts as it was at one such moment.
// Calls that change more than a thousand records are seen piece by piece.
package memory
