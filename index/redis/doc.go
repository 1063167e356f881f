// Package redis is a residency index in a Redis server (7.0 or newer) or cluster,
// shared by many workers and routers: where one machine is not enough.
//
// # Keys
//
// All names of keys begin with Options.Prefix, P below. SCOPE is the name of a
// scope: the first 24 bytes of the BLAKE3 digest of
//
//	len(4) model len(4) tokenizer len(4) tenant adapter
//
// in URL base64, 32 characters. Lengths and all numbers in this format have their
// greatest byte first; adapter is 00 if there is none, else 01 len(4) name. A
// name in braces makes that a cluster keeps all keys of a scope in one slot, and
// so a script can change them together. Hashes and prefixes are escaped as below;
// workers are their bytes as they are, at the end of the key, so that none can be
// taken for another.
//
//	P{SCOPE}b         hash    the blocks, by their hash: a few large hashes instead of
//	                          many small keys, which a script reads and writes at once
//	P{SCOPE}r HASH    hash    the records of a block that has many
//	P{SCOPE}c PREFIX  set     the hashes of the children of a block that has many
//	P{SCOPE}m WORKER  set     the hashes of blocks that the worker has in a volatile tier
//	P{SCOPE}o WORKER  set     those that it has in another
//	P{*}s             hash    the scopes: SCOPE, its value is GROUP and what SCOPE is made of
//	P{*}a GROUP       set     the scopes that differ in the adapter alone: GROUP is made as
//	                          SCOPE is, without the adapter
//	P{*}w WORKER      set     the scopes that a worker has records in
//	P{*}i             hash    the incarnation of each worker that was announced
//	P{*}l             zset    the time in milliseconds at which the lease of each ends
//	P{*}n, y, z       hash    of each worker the number of its records, the sum of the low
//	                          32 bits of their Bytes and the sum of the high ones; in a
//	                          cluster these are P{SCOPE}n, y, z
//	P{*}q             string  the number of the newest change
//	P{*}x             stream  the newest changes, while somebody watches (one server only)
//	P{*}c             string  the bytes of these changes, at most 128 MiB (one server only)
//	P{*}r             string  the run_id of the server that counts changes (one server only)
//	P{*}v             string  "2 " and the rules: who has others may not open it
//	P{*}e             hash    cluster only: the life that each worker is in, from 1
//	P{SCOPE}e         hash    cluster only: the newest life that a put of the worker had
//
// A block is FF and entries, each of which begins with a letter and ends with FF:
//
//	C hash            a child: a block whose parent this one is. These come first
//	S                 instead of them: they have more than 1 KiB, and are a set
//	L                 the records have more than 4 KiB, and are a hash. Behind it there
//	                  are only the P of those parents that there are records of
//	P prefix          the parent of the records that follow, until the next P
//	R head worker     a record; head is tier(1) group(4) index(4) tokens(4)
//	V value           what it is, behind each R
//
// In an entry FF is FE 02, and FE is FE 01: so a script finds one by looking for its
// bytes. Tokens are 0 in the head unless they are a part of the identity. A block that is only
// a parent has just children. The fields of a block with many records are P prefix
// FF R head worker FF, their values V value FF. The value of a record is
//
//	tokens(4) bytes(8) last access(8) refs(4) flags(1)
//
// with the flags 01 pinned and 02 put with an adapter. An entry of the stream has
// the number of the change and -0 as its ID and one field: the kind of the change,
// with a MessagePack array of strings, which are the arguments of the script that
// made it (put, remove), or what the change has (worker; eight bytes of a time;
// worker, incarnation and "1" if records went). The ID N-1 marks that changes up
// to N are not kept. Version, lengths, tiers
// and flags are checked; what is not as drawn is ErrCorrupt.
//
// # Order of writes
//
// Every step is a Lua script, which Redis runs alone. On a single server that is
// a whole call, in all scopes (up to 8192 records or 4096 removals; clearing more
// than some thousand records is several steps, for which watchers get ErrExpired).
// What leads to a record is written before it and removed after it, within a
// script, too, since one that fails in its midst is not rolled back: so the sets
// may name what is not there, never the other way round. Scripts read all that they
// change before they write, then write what can fail, the number of the change and
// last the blocks: a call that fails because something else uses the index's keys
// was not seen, or, if it could not remove what leads to a record, is counted and
// numbered.
//
// In a cluster a script sees one slot, and a call is one step in each scope. The
// sets that lead to scopes are written by a script of their own, before; nothing
// is ever taken out of them. (Nobody could: whether the scope is still empty is
// for another server to say. They grow with the number of scopes and of pairs of
// scope and worker, not with records.) A set of scopes by hash would grow with
// every hash that ever was; so there is none, and ByHash looks into all scopes.
//
// A slot that moves between servers is left alone: scripts name two keys that
// never exist, for which Redis answers TRYAGAIN until the slot has moved. The blocks
// of a scope are one key, which moves as a whole: while a large one is copied, the two
// servers answer nobody.
//
// # Reads
//
// Every read is one script, too, and asks the primary: it sees every write that
// returned before it began, whoever made it. Client-side caching cannot promise
// that, because the server tells a client of a change in no order with its answer
// to another; it is used for Locate alone, and only with AllowStaleReads. The
// server tells of keys, so every write in a scope makes it tell of all its blocks:
// it helps where little is written.
//
// # Leases
//
// An announcement gives the worker a lease. When that ends, by the clock of the
// server, no reader returns the worker's records any more and Workers does not
// list it; whoever notices removes the records in the background, a bounded
// number in each step. Another Announce or Put of the worker first removes what
// is left, and begins another life, after Put without a lease, unless the Index
// that puts renews the worker's. A worker that was never announced has none and
// stays. Renewing asks for no incarnation: who renews a worker that others have
// announced since keeps it alive, but takes nothing of theirs away. Several that
// follow one worker join it (index.Joiner), and its lease lasts as long as one of
// them renews it, for the longest of their times. Of several whose worker lapsed the
// one that notices first is told.
//
// In a cluster the leases lie in a slot that every read asks first, and who
// removes the records of a life cannot remove those of the next by being late:
// scopes remember the newest life that put there.
//
// # Errors
//
// What surely did nothing is tried again, with pauses that grow, until ctx ends or
// Options.Timeout: no connection, LOADING, CLUSTERDOWN, TRYAGAIN, READONLY,
// scripts that the server forgot; so are reads whatever broke. A write whose answer
// was lost is kvferry.ErrUnknownOutcome and is not sent again. It may have been
// applied; a repeated Put is harmless. A full memory (noeviction) is
// kvferry.ErrNoSpace and nothing was written; removals and leases go on then. A
// server that evicts any key is refused.
//
// What a server that is killed has lost is for its configuration to say:
// appendonly yes with appendfsync always loses nothing that was acknowledged, and
// is what Flush needs. A replica that takes over may lack the writes of the last
// moment, as ever with Redis: records, which workers tell of again, and what leads
// to scopes, of which clients tell again every ten seconds that they put there.
package redis
