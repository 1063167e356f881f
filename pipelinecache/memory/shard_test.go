package memory

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
)

// TestLayout: what the comments of the types promise.
func TestLayout(t *testing.T) {
	t.Parallel()
	if unsafe.Sizeof(uintptr(0)) == 8 {
		require.Equal(t, uintptr(64), unsafe.Sizeof(entry{}))
		require.Zero(t, unsafe.Sizeof(shard{})%128, "%d", unsafe.Sizeof(shard{}))
		require.LessOrEqual(t, unsafe.Offsetof(shard{}.misses)+8, uintptr(128))
	}
}

// TestIndex compares the index with a map, with hashes that collide and that go
// around its end, through growth and removal.
func TestIndex(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, hashes := range []uint32{1, 3, 50, math.MaxUint32} {
		var x index
		entries := []entry{{}}
		have := map[uint32]uint32{} // entry to hash
		for range 1500 {
			if e, ok := anyOf(have); ok && r.IntN(5) < 2 {
				x.remove(have[e], e)
				require.Zero(t, x.find(entries, &entries[e].key, have[e]))
				delete(have, e)
			} else {
				e, hash := uint32(len(entries)), -r.Uint32N(hashes) // the last slots first
				entries = append(entries, entry{key: pipelinecache.Fingerprint{byte(e), byte(e >> 8)}})
				have[e] = hash
				x.add(hash, e, len(have))
			}
			if len(entries)%256 == 0 {
				for e, hash := range have {
					require.Equal(t, e, x.find(entries, &entries[e].key, hash))
				}
			}
		}
		require.LessOrEqual(t, 2*len(have), len(x))
		for e, hash := range have {
			require.Equal(t, e, x.find(entries, &entries[e].key, hash))
		}
		absent := pipelinecache.Fingerprint{1, 2, 3}
		require.Zero(t, x.find(entries, &absent, 0))
	}
}

func anyOf(m map[uint32]uint32) (uint32, bool) {
	for k := range m {
		return k, true
	}
	return 0, false
}

// TestHash: fingerprints that differ in a byte or two are spread over the index.
func TestHash(t *testing.T) {
	t.Parallel()
	s, err := New(Options{})
	require.NoError(t, err)
	for at := 1; at < pipelinecache.FingerprintBytes; at++ {
		seen := map[uint32]int{}
		for i := range 256 {
			f := pipelinecache.Fingerprint{}
			f[at] = byte(i)
			seen[s.hash(&f)%512]++
		}
		require.Greater(t, len(seen), 100, "byte %d", at) // 201 if they were random
	}
}

// TestSaturation: no count wraps around, and a clock that stands still does no
// harm.
func TestSaturation(t *testing.T) {
	t.Parallel()
	s, err := New(Options{ShardEntries: 1})
	require.NoError(t, err)
	sh := &s.shards[0]
	for _, n := range []*uint64{&sh.clock, &sh.hits, &sh.misses, &sh.puts, &sh.rejected, &sh.evictions, &sh.evictedBytes} {
		*n = math.MaxUint64 - 1
	}
	ctx := context.Background()
	for i := range byte(4) {
		require.NoError(t, s.Put(ctx, pipelinecache.Fingerprint{0, i}, []byte("four")))
		_, err = s.Get(ctx, pipelinecache.Fingerprint{0, i})
		require.NoError(t, err)
		_, err = s.Get(ctx, pipelinecache.Fingerprint{0, i + 1})
		require.Error(t, err)
		require.Error(t, s.Put(ctx, pipelinecache.Fingerprint{0, i + 1}, make([]byte, DefaultShardBytes+1)))
	}
	const most = math.MaxUint64
	require.Equal(t, pipelinecache.Metrics{
		Lookups: most, Hits: most, Misses: most, Puts: most, RejectedPuts: most, Evictions: most, EvictedBytes: most,
		CachedBytes: 4, Entries: 1,
	}, s.Metrics())
	require.Equal(t, []EvictionReport{{Entries: 1, Bytes: 4, Reason: EntryLimit}}, s.EvictionReports())
}

// TestRoom: what is evicted, refused or replaced leaves its entry to the next,
// and keeps no artifact alive.
func TestRoom(t *testing.T) {
	t.Parallel()
	const entries = 5
	s, err := New(Options{ShardEntries: entries, ShardBytes: 100})
	require.NoError(t, err)
	sh, ctx := &s.shards[0], context.Background()
	for i := range 1000 {
		f := pipelinecache.Fingerprint{0, byte(i), byte(i >> 8)}
		require.NoError(t, s.Put(ctx, f, make([]byte, 1+i%30)))
		if i%3 == 0 {
			require.Error(t, s.Put(ctx, f, make([]byte, 101)))
		}
		held := uint64(0)
		for _, e := range sh.entries {
			held += uint64(len(e.artifact))
		}
		require.Equal(t, sh.bytes, held)
	}
	require.LessOrEqual(t, len(sh.entries), 1+entries)
	require.Len(t, sh.links, len(sh.entries))
	require.Len(t, sh.index, 16)
}
