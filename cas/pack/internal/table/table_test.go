package table

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// model is a table that is obviously right.
type model map[digest.Digest]note

type note struct {
	at  Place
	age uint8
}

// step does one random thing with d to the table and to the model.
func (m model) step(t *testing.T, tab *Table, r *rand.Rand, d digest.Digest, grow bool) {
	n, have := m[d]
	switch op := r.IntN(10); {
	case op < 2 || op < 5 && grow:
		p := randomPlace(r)
		old, had, err := tab.Put(d, p|Place(Marked))
		require.NoError(t, err)
		require.Equal(t, n.at, old)
		require.Equal(t, have, had)
		m[d] = note{p, n.age}
	case op < 4:
		old, had := tab.Delete(d)
		require.Equal(t, n.at, old)
		require.Equal(t, have, had)
		delete(m, d)
	case op == 5:
		at := n.at ^ Place(Condemned)
		if r.IntN(2) == 0 {
			at = randomPlace(r)
		}
		require.Equal(t, have && at.Is(n.at), tab.DeleteIf(d, at))
		if at.Is(n.at) {
			delete(m, d)
		}
	case op == 6:
		f, on := Flag(r.IntN(4)), r.IntN(2) == 0
		require.Equal(t, have, tab.Set(d, f, on))
		if n.at |= Place(f); !on {
			n.at &^= Place(f)
		}
		m.set(d, n)
	case op == 7:
		n.age = uint8(r.Uint32())
		tab.Touch(d, n.age)
		m.set(d, n)
	default:
		at, ok := tab.Get(d)
		require.Equal(t, n.at, at)
		require.Equal(t, have, ok)
		age, ok := tab.Age(d)
		require.Equal(t, n.age, age)
		require.Equal(t, have, ok)
	}
}

func (m model) set(d digest.Digest, n note) {
	if _, ok := m[d]; ok {
		m[d] = n
	}
}

func (m model) compare(t *testing.T, tab *Table) {
	t.Helper()
	got := model{}
	tab.All(func(d digest.Digest, p Place, age uint8) bool {
		if want, ok := m[d]; !ok || want != (note{p, age}) {
			t.Errorf("%v is at %#x, %d, want %v, %v", d, p, age, want, ok)
		}
		got[d] = note{p, age}
		return true
	})
	require.Equal(t, len(m), len(got)) //nolint:testifylint // Len would print all
	tab.check(t)
}

// TestModel: a table does what a map does, while it grows and shrinks.
func TestModel(t *testing.T) {
	t.Parallel()
	tests := map[string]func(tab *Table, r *rand.Rand) digest.Digest{
		"all shards": func(_ *Table, r *rand.Rand) digest.Digest { return randomDigest(r) },
		"one shard":  func(tab *Table, r *rand.Rand) digest.Digest { return tab.withTag(r, 77, r.Uint64()) },
		"one tag":    func(tab *Table, r *rand.Rand) digest.Digest { return tab.withTag(r, 5, 1<<50) },
		"tag 0":      func(tab *Table, r *rand.Rand) digest.Digest { return tab.withTag(r, 0, 0) },
		"few tags":   func(tab *Table, r *rand.Rand) digest.Digest { return tab.withTag(r, 4095, uint64(r.IntN(50))<<46) },
		"last slots": func(tab *Table, r *rand.Rand) digest.Digest { return tab.withTag(r, 9, ^uint64(r.IntN(1<<45))) },
	}
	for name, choose := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, tab, m := seeded(t), newTable(t), model{}
			var known []digest.Digest
			for range modelDigests {
				d := choose(tab, r)
				sum := d.Sum()
				known = append(known, d, digest.New(digest.Algorithm(1+r.IntN(3)), sum))
			}
			for round := range 6 {
				for range modelSteps {
					m.step(t, tab, r, known[r.IntN(len(known))], round%2 == 0)
				}
				m.compare(t, tab)
			}
			tab.ClearAll(Marked)
			for d, n := range m {
				n.at &^= Place(Marked)
				m[d] = n
			}
			m.compare(t, tab)
			for d := range m {
				_, ok := tab.Delete(d)
				require.True(t, ok)
			}
			model{}.compare(t, tab)
		})
	}
}

// TestReuse: memory that became free is used again, by other shards too.
func TestReuse(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	var before int64
	for shard := range uint64(40) {
		var known []digest.Digest
		for range 3000 {
			d := tab.withTag(r, shard, r.Uint64())
			_, _, err := tab.Put(d, randomPlace(r))
			require.NoError(t, err)
			known = append(known, d)
		}
		if shard == 0 {
			before = tab.MemoryBytes()
		}
		for _, d := range known {
			_, ok := tab.Delete(d)
			require.True(t, ok)
		}
	}
	require.Equal(t, before, tab.MemoryBytes()+tab.dirBytesOfFullShard(3000), "directories aside")
	tab.check(t)
}

// dirBytesOfFullShard is what the directory of a shard takes that grew to n.
func (t *Table) dirBytesOfFullShard(n int) int64 {
	chunks := 0
	for roomIn(chunks) < n {
		chunks += max(1, chunks/growFraction)
	}
	return int64(chunks) * 4
}

// TestGround: digests that agree in all that can be ground do not meet in a
// shard, whatever part of them it is.
func TestGround(t *testing.T) {
	t.Parallel()
	for part := range 4 {
		tab, r := newTable(t), seeded(t)
		same := randomSum(r)
		for range 10 * shardCount {
			sum := randomSum(r)
			copy(sum[8*part:8*part+6], same[8*part:])
			_, _, err := tab.Put(digest.New(digest.BLAKE3, sum), randomPlace(r))
			require.NoError(t, err)
		}
		most := 0
		for i := range tab.shards {
			most = max(most, tab.shards[i].n)
		}
		require.Less(t, most, 50, "part %d", part)
		tab.check(t)
	}
}

// TestOrdinary: digests that only count, as tests make them, spread too.
func TestOrdinary(t *testing.T) {
	t.Parallel()
	for at := 0; at < digest.Size-1; at += 7 {
		tab := newTable(t)
		for i := range 1 << 16 {
			var sum [digest.Size]byte
			sum[at], sum[at+1] = byte(i), byte(i>>8)
			_, _, err := tab.Put(digest.New(digest.SHA256, sum), MakePlace(1, 64, 64))
			require.NoError(t, err)
		}
		most := 0
		for i := range tab.shards {
			most = max(most, tab.shards[i].n)
		}
		require.Less(t, most, 300, "byte %d", at)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	tab, r := newTable(t), seeded(t)
	d := randomDigest(r)
	for _, p := range []Place{0, Place(Marked), MakePlace(1, 64, 0), 1 << slotShift, 1<<slotShift | 1<<(sizeShift+mantissaBits) | 1<<sizeShift} {
		_, _, err := tab.Put(d, p)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	for _, a := range []digest.Algorithm{0, 4, 255} {
		bad := digest.New(a, d.Sum())
		_, _, err := tab.Put(bad, MakePlace(1, 64, 64))
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		_, ok := tab.Get(bad)
		require.False(t, ok)
		_, ok = tab.Delete(bad)
		require.False(t, ok)
	}
	require.Zero(t, tab.Len())
}

func TestClosed(t *testing.T) {
	t.Parallel()
	tab, r := newTable(t), seeded(t)
	d := randomDigest(r)
	_, _, err := tab.Put(d, randomPlace(r))
	require.NoError(t, err)
	tab.Close()
	tab.Close()
	_, ok := tab.Get(d)
	require.False(t, ok)
	require.Zero(t, tab.Len())
	require.Less(t, tab.MemoryBytes(), int64(1<<20))
	_, _, err = tab.Put(d, randomPlace(r))
	require.ErrorIs(t, err, kvferry.ErrClosed)
	tab.check(t)
}

// TestStop: All ends when its visitor says so, who may change the table.
func TestStop(t *testing.T) {
	t.Parallel()
	tab, r := newTable(t), seeded(t)
	for range 100 {
		_, _, err := tab.Put(randomDigest(r), randomPlace(r))
		require.NoError(t, err)
	}
	tab.All(func(d digest.Digest, p Place, _ uint8) bool {
		require.True(t, tab.DeleteIf(d, p))
		return tab.Len() > 40
	})
	require.EqualValues(t, 40, tab.Len())
	tab.check(t)
}
