// Package caches measures the page pool beside caches that an engine could use
// instead. It is a module of its own, so that none of these reaches kvferry's
// go.mod:
//
//	cd bench/peers/caches && go test -bench . -count 6
//
// Every cache holds the same number of pages of 512 bytes under keys of 64 bits
// and is asked for the same keys in the same order. A peer's value is a pointer
// to a buffer of its own, made for each page that comes; the pool's pages are
// copied into memory that it has. What the peers do not do, and the pool does
// in the same time: a reference that keeps the page, and a limit in bytes that
// holds at every moment.
//
// The peers: hashicorp/golang-lru 2.0.7 (MPL-2.0), dgraph-io/ristretto 2.4.2
// (Apache-2.0), maypok86/otter 2.4.0 (Apache-2.0). golang-lru's two caches are
// LRU and 2Q.
package caches
