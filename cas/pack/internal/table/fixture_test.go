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

// check walks the whole structure. It does without require in its loops, which
// would take nearly all of the time.
func (t *Table) check(tb testing.TB) {
	tb.Helper()
	total, chunks := 0, 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		if problem := t.problem(uint64(i), s); problem != "" {
			tb.Fatalf("shard %d: %s", i, problem)
		}
		total += s.n
		chunks += len(s.dir)
		s.mu.RUnlock()
	}
	require.EqualValues(tb, total, t.Len())
	require.Equal(tb, len(t.pool.slabs())*slabChunks, chunks+t.pool.frees+t.pool.fresh, "chunks are lost")
	free := 0
	for id := t.pool.free; free < t.pool.frees; free++ {
		c := *t.pool.slabs().chunk(id)
		if id, c[0][0] = chunkID(c[0][0]), 0; c != (chunk{}) {
			tb.Fatal("a free chunk is not zero")
		}
	}
}

// problem says what is wrong with a shard.
func (t *Table) problem(shard uint64, s *shard) string {
	v := t.view(s)
	slots, n, last := v.slots(), 0, uint64(0)
	for j, i := uint64(0), v.wrapped(); j < slots; j, i = j+1, v.next(i) {
		e := v.at(i)
		if e.empty() {
			if *e != (entry{}) {
				return "an empty slot is not zero"
			}
			continue
		}
		n++
		if e.tag() < last {
			return "order"
		}
		last = e.tag()
		for h := home(e.tag(), slots); h != i; h = v.next(h) {
			if v.at(h).empty() {
				return "a hole before an entry"
			}
		}
		k := t.seed.key(t.seed.digest(shard, e))
		if at, _, ok := v.seek(&k); !ok || at != i || k.shard() != shard {
			return "an entry is not found"
		}
	}
	if n != s.n || n > roomIn(len(s.dir)) {
		return "count"
	}
	return ""
}

// same gives each slot its own number.
func same(slot uint32) (uint32, bool) { return slot, true }

// sameSlots is the way back from same.
func sameSlots(n int) []uint32 {
	slots := make([]uint32, n)
	for i := range slots {
		slots[i] = uint32(i)
	}
	return slots
}

// fill puts n blobs of the first thousand slots.
func (t *Table) fill(tb testing.TB, r *rand.Rand, n int) model {
	m := model{}
	for range n {
		d, p := randomDigest(r), MakePlace(uint32(r.IntN(1000)), r.Int64N(MaxOffset/unitBytes)*unitBytes, RoundSize(1+r.Int64N(1<<20)))
		_, _, err := t.Put(d, p)
		require.NoError(tb, err)
		m[d] = note{at: p}
	}
	return m
}
