package table

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/digest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTable(t testing.TB) *Table {
	tab, err := New()
	require.NoError(t, err)
	t.Cleanup(tab.Close)
	return tab
}

// seeded returns a source of random numbers that a failure can be repeated with.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func randomSum(r *rand.Rand) (sum [digest.Size]byte) {
	for i := 0; i < len(sum); i += 8 {
		binary.LittleEndian.PutUint64(sum[i:], r.Uint64())
	}
	return sum
}

func randomDigest(r *rand.Rand) digest.Digest {
	return digest.New(digest.Algorithm(1+r.IntN(3)), randomSum(r))
}

func randomPlace(r *rand.Rand) Place {
	return MakePlace(uint32(r.IntN(MaxSlots)), r.Int64N(MaxOffset/unitBytes)*unitBytes, RoundSize(1+r.Int64N(1<<r.IntN(33))))
}

// numbered is one of many distinct digests that are cheap to make.
func numbered(i uint64) digest.Digest {
	var sum [digest.Size]byte
	for j := range 4 {
		z := (i*4 + uint64(j) + 1) * spread
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(sum[8*j:], z^z>>31)
	}
	return digest.New(digest.BLAKE3, sum)
}

// withTag returns a random digest that has this tag in a shard: what an
// attacker can make who knows the seed.
func (t *Table) withTag(r *rand.Rand, shard, tag uint64) digest.Digest {
	tag = tag&(tagMask>>(shardBits-ageBits)) | shard<<(64-shardBits)&tagMask
	e := entry{tag << ageBits, r.Uint64(), r.Uint64(), r.Uint64(), uint64(1+r.IntN(3)) << algorithmShift}
	return t.seed.digest(shard, &e)
}

// check walks the whole structure.
func (t *Table) check(tb testing.TB) {
	tb.Helper()
	total, chunks := 0, 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		t.checkShard(tb, uint64(i), s)
		total += s.n
		chunks += len(s.dir)
		s.mu.RUnlock()
	}
	require.EqualValues(tb, total, t.Len())
	require.Equal(tb, len(t.pool.slabs())*slabChunks, chunks+t.pool.frees+t.pool.fresh, "chunks are lost")
	free := 0
	for id := t.pool.free; free < t.pool.frees; free++ {
		c := *t.pool.slabs().chunk(id)
		id, c[0][0] = chunkID(c[0][0]), 0
		require.Equal(tb, chunk{}, c, "free chunks are zero")
	}
}

func (t *Table) checkShard(tb testing.TB, shard uint64, s *shard) {
	tb.Helper()
	v := t.view(s)
	slots, n := v.slots(), 0
	wrapped := v.wrapped()
	last := uint64(0)
	for j, i := uint64(0), wrapped; j < slots; j, i = j+1, v.next(i) {
		e := v.at(i)
		if e.empty() {
			require.Equal(tb, entry{}, *e)
			continue
		}
		n++
		require.LessOrEqual(tb, last, e.tag(), "order in shard %d", shard)
		last = e.tag()
		for h := home(e.tag(), slots); h != i; h = v.next(h) {
			require.False(tb, v.at(h).empty(), "hole before an entry")
		}
		d := t.seed.digest(shard, e)
		k := t.seed.key(d)
		require.Equal(tb, shard, k.shard())
		at, _, ok := v.seek(&k)
		require.True(tb, ok)
		require.Equal(tb, i, at)
	}
	require.Equal(tb, n, s.n)
	require.LessOrEqual(tb, n, roomIn(len(s.dir)))
}
