// Package index says which block of which KV cache lies in which tier of which
// worker: what a router asks before it sends a request, and what a worker asks
// before it computes. It is the contract; memory, art, lsm, fsdir and redis
// implement it, indextest holds the suite that all of them pass, and events
// feeds it from serving engines.
//
// The contract is that of QuillCache's residency index with what it left open
// decided, see [Rules] for the differences.
//
// # Records
//
// A [Record] says that a worker holds a block in a tier. Its identity is its
// [Key] (scope, hash of the parent block, hash of the block, position and KV
// group), the worker and the tier; a second Put of the same identity replaces
// the first. Everything else is data. A block in two tiers is two records.
//
// Whose pages a block may replace is its [Scope]. No reader returns a record of
// another scope than the one that was asked for, except ByHash and Snapshot,
// which look at all. Fields are any bytes: empty, with NUL, not UTF-8, up to
// [MaxFieldBytes].
//
// # Order
//
// Whatever returns several records returns them in the order of [Compare], the
// same in every backend: field by field, strings by their bytes.
//
// # Stale records
//
// HBM, remote HBM and CPU DRAM are volatile: what a worker had there is gone
// when it ended. A persistent index that is opened again cannot know whether it
// did. So the volatile records of every worker are stale then: no reader
// returns or counts them. A worker that announces the incarnation that the
// index knows (see Announcer) makes them live again; another incarnation, or
// its first Put in a volatile tier, removes them.
//
// # Changes
//
// Every mutation that succeeds has a sequence number, one more than the one
// before. Watch streams them; replayed in order on a Snapshot that was taken at
// or behind a sequence number they give the same index.
package index
