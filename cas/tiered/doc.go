// Package tiered is a content-addressed store over two stores: near, which is
// fast, and far, which is large, shared or remote.
//
// Blobs are read from near, else from far, and what far gives is put into near
// for the next reader. However many read a blob that is not near, far is asked
// once. A blob that is damaged in near is set aside there, read from far and
// stored anew. Near never makes a read fail that far can answer.
//
// # Write-through
//
// Far is the authority: it has the catalog, and a session is a session of far.
// What is put goes to far and, as a blob of class Cache, to near; Has, Blobs
// and Stats speak of far alone. Near may be lost at any time.
//
// # Write-back
//
// A session is a session of near, which has to keep what it acknowledges. A
// commit is a commit in near and an entry of the queue, and returns when both
// are durable. The store then copies queued snapshots to far, each one's blobs
// before the snapshot, in the order of the commits, and drops them from near's
// catalog; what they alone kept in near is garbage there, still readable until
// a collection. So near's catalog lists what far does not have yet, and it is
// the root of those blobs in near; nothing else may be in it. The store's
// catalog is far's with the changes of the queue applied.
//
// Because a snapshot rests wholly on near until far has it, a session does not
// find what is in far alone: it is put into near again, but not copied again.
//
// The queue holds the names and the order, which near's catalog could not: a
// name can be moved, in a catalog, but not taken away without the snapshot. It
// is a directory of small files, one for each change of the catalog that far
// does not have yet:
//
//	<queue>/<16 hex digits>.op    a change; the numbers are the order
//	<queue>/<16 hex digits>.tmp   one that is being written; removed by Open
//
// of lines of a key, a space and a value, the last of which holds the BLAKE3 of
// all bytes before it:
//
//	kvferry queue 1
//	change commit               (or: name, remove, drop)
//	root blake3:<64 hex>        (of remove: what goes with its last name, if it does)
//	bytes 4096                  (of commit: what the queue's bound counts)
//	name <name>                 (of commit any number, sorted; of name and remove one)
//	sum <64 hex>
//
// An exclusive flock of the directory makes the process that has it the only
// one that uses the queue. Files of other names are left alone.
//
// A crash loses nothing that was acknowledged, at any step:
//
//	put, near commit              the snapshot is in near's catalog without a change: Open
//	                              queues it, without names, so that it is seen whole
//	change written, commit returns
//	blobs and snapshot to far     done again; far finds what it has
//	drop from near's catalog      the change is applied again, to what far has now
//	change removed
//
// The queue is bounded by the bytes that its snapshots stored in near: a commit
// beyond waits until far has taken enough, or is ErrQuota where the options say
// so. A snapshot that is larger than the bound passes when the queue is empty.
// When far fails, the queue stands and is tried again, with pauses that grow;
// reads of what is near and commits go on. State tells why it stands. A
// snapshot that is dropped before it was copied is not copied, unless it took
// over a name that far still has for another one.
//
// # Collections
//
// A collection needs both stores. In write-back it first copies what is queued.
// Far is collected by its catalog and by the sessions of this store, and near
// then loses what far does not have and no session holds; what is in far stays,
// for it is the cache. Where near evicts, its cache blobs stay as well, but are
// not read any more if far has lost them. What another process collects in far
// can still be read here while it is near.
package tiered
