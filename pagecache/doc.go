// Package pagecache keeps pages of bytes in memory outside the Go heap, within a
// byte limit: the DRAM tier.
//
// A Pool finds pages by key. A page's memory is a Frame with a count of
// references: who gets a frame may read it until its release, and only pages
// that nobody references are evicted.
//
//	 absent ──Reserve, GetOrFill──> reserved ──Publish──> published ──eviction, Delete──> absent
//	                                   └──Abandon, failed fill──> absent
//
//	Allocator ──slabs──> Arena ──buffers of a size class──> Pool ──frames──> readers
//
// A hit is one atomic addition, and so is its release: the references and the
// count of uses are one word, the table of keys is read without a lock, and
// there is no list to reorder. What is rare does the work: a miss takes the
// mutex of its shard, an eviction looks at the counts (S3-FIFO: a scan pushes
// out nothing but itself), and a frame that is referenced when its turn comes
// is put aside until its last release.
//
// Rules that a caller can rely on:
//
//   - The bytes of all pages never exceed the limit: memory is taken off it
//     before it is allocated, and given back after it was freed.
//   - A frame is found only when it was published, and its bytes are those of
//     its key for as long as anybody holds it, also when the key is deleted,
//     renamed or provided anew meanwhile.
//   - Of those who want the same page one provides it. What fails publishes
//     nothing, and the next one tries.
//   - A copy that reads or writes a frame behind the caller's back ends with an
//     Event: ReleaseAfter and AbandonAfter let go of the memory only then. An
//     event that never comes is seen in Metrics and in the error of Close.
//   - No goroutine runs on the pool's own account.
//
// The Arena below hands out buffers alone, for caches with rules of their own.
package pagecache
