// Package wire holds the bytes by which stores on disk know records: keys that
// are ordered as index.Compare orders records, values, and in Original the
// keys of QuillCache's stores.
//
// # Strings
//
// A string is written with 00 as 01 01 and 01 as 01 02, all other bytes as they
// are, and 00 behind it. So no string is the beginning of another, whatever
// bytes it has, no field runs into the next, and encoded strings are ordered as
// the strings are, which a length in front of them would not give: a snapshot in
// the order of the contract is then one pass over a store's keys. An adapter is
// 00 if there is none, else 01 and its name as a string.
//
// # Keys
//
// All integers have four bytes, the greatest first; version is 01.
//
//	primary    version 01 model tokenizer adapter tenant prefix hash index group tokens worker tier(1)
//	by hash    version 02 hash worker model tokenizer tenant adapter tier(1) group prefix index tokens
//	by worker  version 03 worker tier(1) model tokenizer adapter tenant prefix hash index group tokens
//
// Each of the three has the whole identity of a record, as the rules of the index
// have it (see index.Rules.Key): tokens is 0 where it is data. A primary key has a
// Value, the others have none. The second serves ByHash and Remove, with any adapter
// or one, the third what is done to all records of a worker, or to those in its
// volatile tiers.
//
// The record of model "m", tokenizer "t", no adapter, tenant "a", the parent
// "root", hash b0, index 1, group 0 on worker "w" in tier hbm:
//
//	01 01  6d 00  74 00  00  61 00  72 6f 6f 74 00  62 30 00  00000001 00000000 00000000  77 00  02
//
// # Values
//
//	flags(1) tokens bytes lastAccess refs
//
// Bit 0 of flags is Pinned; bit 1 says that the record has no adapter though its
// key has an adapter without a name, for rules that take the two for one. The
// numbers are uvarints without needless bytes.
//
// # Decoders
//
// They accept exactly what the encoders write; all else is ErrCorrupt.
package wire
