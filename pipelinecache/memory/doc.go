// Package memory keeps artifacts in memory: sharded, least recently used out first.
//
// What it keeps, throws out, counts and reports is what vyre-runtime's
// InMemoryPipelineCache 0.7 does, step by step; only an eviction costs O(1)
// here, and not a walk over the shard.
//
// There are 256 shards, chosen by the fingerprint's first byte, and the limits
// are those of one shard: by default 256 artifacts and 16 MiB. An artifact
// counts with its own length. Each shard has a clock that ticks with every get,
// every put that is kept, and every put that only removes; what was put or hit
// longest ago goes first.
//
// A put that exceeds the limits of a shard by itself is refused with ErrQuota,
// and one that is too long for any cache with ErrInvalid. Both remove what was
// there for the fingerprint, which would be stale.
package memory
