// Package plugin is SQLite's page-cache contract over the memory of a pagecache:
// the methods that an application registers with SQLITE_CONFIG_PCACHE2, as a Go
// API that is safe to misuse.
//
// A Cache maps page numbers to pages. A page is pinned while somebody works on
// it, and it then neither moves nor goes; once it is unpinned the cache may keep
// it or drop it. Pinning is a state and not a count: however often a page is
// fetched, one Unpin ends it. The cache knows nothing of files and of dirty
// pages: what Fetch creates has no content, and the caller fills it.
//
// # Which pages go
//
// Misses, refusals, evictions and page counts are those of SQLite's built-in
// cache. Unpinned pages are in a list, ordered by the time of their Unpin; the
// oldest goes first. The list and the sums below belong to a Group.
//
//	max        what Cachesize asked for, 0 before; min is 10
//	maxPages   sum of max of the group's purgeable caches
//	maxPinned  maxPages + 10 - sum of min, in 32 bits: it can wrap to a large number
//	ninety     max * 9 / 10, in 32 bits too
//
//	AllocateIfConvenient    refused if pinned pages >= maxPinned or >= ninety
//	a new page              takes the oldest page's place if pages + 1 >= max
//	Unpin                   drops the page if the group has more than maxPages
//	Cachesize, Destroy      drop the oldest until the group has maxPages
//	Shrink                  drops every unpinned page of the group
//
// All of this is for purgeable caches. A cache that is not purgeable is a
// database in memory: nothing but discarding, Truncate and Destroy removes its
// pages.
//
// Two things differ from the built-in cache, where the contract asks for more
// than it does. A Rekey onto an occupied key discards what was there. When the
// memory's limit is reached, a fetch with Allocate takes the place of the
// group's oldest unpinned page before it fails.
//
// # A page in memory
//
// Each page is one buffer of the arena, outside the Go heap, so that C may keep
// its address for as long as the page is cached.
//
//	0                page          page+32        page+32+extra
//	+----------------+-------------+--------------+---------+
//	| content        | header      | extra area   | 16 read |
//	| a power of two | of the host | from 8 bytes | only    |
//	+----------------+-------------+--------------+---------+
//
// Content and extra area are aligned to 8 bytes; what lies after each may be
// read, as SQLite does with a damaged database. In a new page the header and
// the extra area are zero and the content is anything. After that all three
// are the caller's, and stay as they are while the page is in the cache.
package plugin
