package pagecache

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

func newPool[K comparable](t testing.TB, o Options[K]) *Pool[K] {
	t.Helper()
	p, err := New(o)
	require.NoError(t, err)
	return p
}

// pattern fills mem with bytes that only this id and length have.
func pattern(mem []byte, id uint64) {
	var word [8]byte
	for i := 0; i < len(mem); i += 8 {
		binary.LittleEndian.PutUint64(word[:], (id+1)*0x9E3779B97F4A7C15+uint64(i))
		copy(mem[i:], word[:])
	}
}

func patterned(mem []byte, id uint64) bool {
	var word [8]byte
	for i := 0; i < len(mem); i += 8 {
		binary.LittleEndian.PutUint64(word[:], (id+1)*0x9E3779B97F4A7C15+uint64(i))
		if string(mem[i:min(i+8, len(mem))]) != string(word[:min(8, len(mem)-i)]) {
			return false
		}
	}
	return true
}

// audit holds what a pool believes about its pages against itself. Nobody else
// may use the pool meanwhile.
func audit[K comparable](t testing.TB, p *Pool[K]) {
	t.Helper()
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		var bytes [asideM + 1]int64
		var count [asideM + 1]int
		live := 0
		for n := range s.index.table.Load().all() {
			g := n.page
			state := g.state.Load()
			aside := g.where == asideS || g.where == asideM
			if g.node != n || g.home.Load() != s || s.find(n.hash, n.key) != g || state&(dead|freed) != 0 ||
				aside != (state&parked != 0) || g.where == nowhere {
				require.Failf(t, "page is not as its shard has it", "%+v", g)
			}
			live++
			count[g.where]++
			bytes[g.where] += g.size
		}
		require.Equal(t, s.index.live, live)
		taken := 0
		for j := range s.index.table.Load().slots {
			if s.index.table.Load().slots[j].node.Load() != nil {
				taken++
			}
		}
		require.Equal(t, s.index.taken, taken)
		for where, q := range map[int]*queue[K]{inSmall: &s.policy.small, inMain: &s.policy.main} {
			require.Equal(t, count[where], q.len)
			require.Equal(t, bytes[where], q.bytes)
			n := 0
			for g := q.head; g != nil; g = g.next {
				if g.where != uint8(where) {
					require.Fail(t, "page is in a queue that it does not know of")
				}
				n++
			}
			require.Equal(t, q.len, n)
		}
		s.mu.Unlock()
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	a := newArena(t, ArenaOptions{LimitBytes: 1})
	for _, o := range []Options[int]{
		{}, {LimitBytes: -1}, {LimitBytes: 1, Shards: 3}, {LimitBytes: 1, Shards: -1}, {LimitBytes: 1, Shards: 512},
		{LimitBytes: 1, Arena: a, Allocator: Anonymous()},
	} {
		_, err := New(o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestPages: what is inserted is found until it is deleted, by its key alone.
func TestPages(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[string]{LimitBytes: 1 << 20})
	f, err := p.Insert(t.Context(), "a", []byte("bytes of a"), Refuse)
	require.NoError(t, err)
	require.Equal(t, "bytes of a", string(f.Bytes()))
	require.Equal(t, 10, f.Len())
	_, err = p.Insert(t.Context(), "a", nil, Wait)
	require.ErrorIs(t, err, kvferry.ErrExists)
	empty, err := p.Insert(t.Context(), "", nil, Wait)
	require.NoError(t, err)
	require.Empty(t, empty.Bytes())
	empty.Release()

	g, ok := p.Get("a")
	require.True(t, ok)
	require.Same(t, f, g)
	g.Release()
	_, ok = p.Get("b")
	require.False(t, ok)
	require.True(t, p.Contains("a"))
	require.False(t, p.Contains("b"))

	require.True(t, p.Delete("a"))
	require.False(t, p.Delete("a"))
	require.False(t, p.Contains("a"))
	require.Equal(t, "bytes of a", string(f.Bytes())) // still ours
	require.EqualValues(t, 2*grain, p.Metrics().Bytes)
	f.Release()
	m := p.Metrics()
	require.Equal(t, Metrics{Hits: 1, Misses: 1, LimitBytes: 1 << 20, Bytes: grain, Frames: 1}, m)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
}

// TestFrameMisuse: a frame that nobody holds any more says so.
func TestFrameMisuse(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[int]{LimitBytes: 1 << 20})
	f, err := p.Insert(t.Context(), 1, []byte("x"), Wait)
	require.NoError(t, err)
	f.Retain()
	f.Release()
	f.Release()
	for range 2 {
		require.Panics(t, func() { f.Bytes() })
		require.Panics(t, f.Release)
		require.Panics(t, f.Retain)
		require.Panics(t, func() { f.ReleaseAfter(Closed(nil)) })
	}
	g, ok := p.Get(1) // unharmed
	require.True(t, ok)
	require.Equal(t, "x", string(g.Bytes()))
	require.True(t, p.Delete(1))
	g.Release()
	require.Panics(t, g.Release)
	require.Panics(t, func() { g.Bytes() })
	require.NoError(t, p.Close())
}

// TestReservation: a page is found when it is published and not before, once.
func TestReservation(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[int]{LimitBytes: 4096})
	r, err := p.Reserve(t.Context(), 1, 100, Refuse)
	require.NoError(t, err)
	require.Len(t, r.Bytes(), 100)
	_, ok := p.Get(1)
	require.False(t, ok)
	_, err = p.Reserve(t.Context(), 1, 100, Refuse)
	require.ErrorIs(t, err, kvferry.ErrExists)
	_, err = p.Reserve(t.Context(), 2, 4097, Wait)
	require.ErrorIs(t, err, kvferry.ErrQuota)
	_, err = p.Reserve(t.Context(), 2, -1, Wait)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = p.Reserve(t.Context(), 2, 4096, Refuse)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	r.Abandon()
	r.Abandon()
	require.Nil(t, r.Bytes())
	_, err = r.Publish()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.Zero(t, p.Metrics().Bytes)

	r, err = p.Reserve(t.Context(), 1, 100, Refuse)
	require.NoError(t, err)
	pattern(r.Bytes(), 1)
	f, err := r.Publish()
	require.NoError(t, err)
	r.Abandon() // deferred by a careful caller: nothing happens
	_, err = r.Publish()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	g, ok := p.Get(1)
	require.True(t, ok)
	require.True(t, patterned(g.Bytes(), 1))
	g.Release()
	f.Release()
	_, err = p.Reserve(t.Context(), 1, 100, Wait)
	require.ErrorIs(t, err, kvferry.ErrExists)
	require.NoError(t, p.Close())
}

// TestRekey: the page moves with its references, and takes nobody's key.
func TestRekey(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[int]{LimitBytes: 1 << 20, Shards: 4})
	for k := range 3 {
		f, err := p.Insert(t.Context(), k, []byte{byte(k)}, Wait)
		require.NoError(t, err)
		f.Release()
	}
	r, err := p.Reserve(t.Context(), 50, 1, Wait)
	require.NoError(t, err)
	require.ErrorIs(t, p.Rekey(9, 10), kvferry.ErrNotFound)
	require.ErrorIs(t, p.Rekey(0, 1), kvferry.ErrExists)
	require.ErrorIs(t, p.Rekey(0, 50), kvferry.ErrExists)
	require.NoError(t, p.Rekey(0, 0))
	r.Abandon()
	held, ok := p.Get(0)
	require.True(t, ok)
	for k := 100; k < 200; k++ {
		from := k - 1
		if k == 100 {
			from = 0
		}
		require.NoError(t, p.Rekey(from, k))
		require.False(t, p.Contains(from))
		f, ok := p.Get(k)
		require.True(t, ok)
		require.Same(t, held, f)
		f.Release()
		audit(t, p)
	}
	held.Release()
	require.True(t, p.Delete(199))
	require.EqualValues(t, 2, p.Metrics().Frames)
	require.NoError(t, p.Close())
}

// TestHits: hits are counted exactly, also beyond what a frame's word holds, and
// cost no memory.
func TestHits(t *testing.T) {
	p := newPool(t, Options[int]{LimitBytes: 1 << 20})
	f, err := p.Insert(t.Context(), 1, []byte("x"), Wait)
	require.NoError(t, err)
	defer f.Release()
	const many = 1<<31 - 500
	f.state.Add(many * hitOne)
	require.Zero(t, testing.AllocsPerRun(999, func() {
		if g, ok := p.Get(1); ok {
			g.Release()
		}
	}))
	require.EqualValues(t, many+1000, p.Metrics().Hits)
	require.True(t, p.Delete(1))
	require.EqualValues(t, many+1000, p.Metrics().Hits)
}

// TestRange: every page comes once, referenced, and looking is no use.
func TestRange(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20})
	for k := range uint64(300) {
		f, err := p.GetOrFill(t.Context(), k, 64, Wait, func(_ context.Context, mem []byte) error {
			pattern(mem, k)
			return nil
		})
		require.NoError(t, err)
		f.Release()
	}
	seen := map[uint64]int{}
	p.Range(func(k uint64, f *Frame) bool {
		require.True(t, patterned(f.Bytes(), k))
		seen[k]++
		p.Delete(k) // what is lent stays valid
		require.True(t, patterned(f.Bytes(), k))
		return true
	})
	require.Len(t, seen, 300)
	m := p.Metrics()
	require.Zero(t, m.Hits)
	require.Zero(t, m.Bytes)
	f, err := p.Insert(t.Context(), 1, nil, Wait)
	require.NoError(t, err)
	f.Release()
	f, err = p.Insert(t.Context(), 2, nil, Wait)
	require.NoError(t, err)
	f.Release()
	calls := 0
	p.Range(func(uint64, *Frame) bool { calls++; return false })
	require.Equal(t, 1, calls)
	require.NoError(t, p.Close())
}

// TestClose: what is in use is told, stays valid, and goes with its release.
func TestClose(t *testing.T) {
	t.Parallel()
	alloc := &counted{}
	p := newPool(t, Options[int]{LimitBytes: 1 << 20, Allocator: alloc})
	f, err := p.Insert(t.Context(), 1, []byte("held"), Wait)
	require.NoError(t, err)
	g, err := p.Insert(t.Context(), 2, []byte("waits"), Wait)
	require.NoError(t, err)
	happened := make(chan struct{})
	g.ReleaseAfter(Closed(happened))
	r, err := p.Reserve(t.Context(), 3, 100, Wait)
	require.NoError(t, err)
	idle, err := p.Insert(t.Context(), 4, []byte("idle"), Wait)
	require.NoError(t, err)
	idle.Release()
	err = p.Close()
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	require.ErrorContains(t, err, "3 frames")
	require.ErrorContains(t, err, "1 reservations are open, 1 releases wait")

	_, err = p.Insert(t.Context(), 5, nil, Wait)
	require.ErrorIs(t, err, kvferry.ErrClosed)
	_, ok := p.Get(1)
	require.False(t, ok)
	require.Equal(t, "held", string(f.Bytes()))
	f.Release()
	require.Len(t, r.Bytes(), 100)
	_, err = r.Publish()
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.ErrorIs(t, p.Close(), kvferry.ErrUnknownOutcome)
	close(happened)
	require.NoError(t, p.Close())
	require.Empty(t, alloc.live)
}

// TestAllocationFailures: whichever call of the allocator fails, the caller is
// told or did not need it, and nothing is lost.
func TestAllocationFailures(t *testing.T) {
	t.Parallel()
	for failAt := 1; ; failAt++ {
		alloc := &counted{failAt: failAt}
		a := newArena(t, ArenaOptions{LimitBytes: 1 << 20, SlabBytes: 16 << 10, Allocator: alloc})
		p := newPool(t, Options[uint64]{LimitBytes: 96 << 10, Arena: a})
		told := 0
		for k := range uint64(200) {
			n := 512 << (k % 5)
			f, err := p.GetOrFill(t.Context(), k%70, n, Wait, func(_ context.Context, mem []byte) error {
				pattern(mem, k%70)
				return nil
			})
			if err != nil {
				require.ErrorIs(t, err, errInjected)
				require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
				told++
				continue
			}
			require.True(t, patterned(f.Bytes(), k%70))
			f.Release()
			require.LessOrEqual(t, p.Metrics().Bytes, int64(96<<10))
		}
		audit(t, p)
		require.LessOrEqual(t, told, alloc.failed)
		require.NoError(t, p.Close())
		require.NoError(t, a.Close())
		require.Empty(t, alloc.live)
		if alloc.failed == 0 {
			require.Greater(t, failAt, 3)
			return
		}
	}
}

// TestNoMemoryAtAll: a pool whose allocator gives nothing refuses; it does not
// wait for a release that cannot come.
func TestNoMemoryAtAll(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[int]{LimitBytes: 1 << 20, Allocator: refusing{}})
	for _, how := range []Room{Wait, Refuse} {
		_, err := p.Reserve(t.Context(), 1, 4096, how)
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	}
	require.EqualValues(t, 2, p.Metrics().Refused)
	require.Zero(t, p.Metrics().Bytes)
	require.NoError(t, p.Close())
}

type refusing struct{}

func (refusing) Allocate(int) ([]byte, error) { return nil, errInjected }
func (refusing) Free([]byte) error            { return errors.New("there is nothing to free") }
