package pagecache

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// modelPage is a page as the model knows it.
type modelPage struct {
	id, bytes int // what its content is made of, and its length
	refs      int
	live      bool // has a key
}

type modelHandle struct {
	frame *Frame
	page  *modelPage
}

type modelReservation struct {
	r    *Reservation[int]
	page *modelPage
	key  int
}

// modelEvent tells the model when the pool takes notice of it.
type modelEvent struct {
	done bool
	page *modelPage
}

func (e *modelEvent) Query() (bool, error) {
	if e.done {
		e.page.refs--
	}
	return e.done, nil
}

// model is a map, reference counts and lists of what is held. Which page is
// evicted the pool decides; the model says whether it may be.
type model struct {
	t        testing.TB
	p        *Pool[int]
	limit    int64
	pages    []*modelPage // all that may take memory
	byKey    map[int]*modelPage
	held     []modelHandle
	reserved []modelReservation
	events   []*modelEvent
	ids      int
	hits     uint64
	misses   uint64
	evicted  uint64
}

const modelKeys = 24

func newModel(t testing.TB, shards int) *model {
	m := &model{t: t, limit: 20 * 512, byKey: map[int]*modelPage{}}
	arena := newArena(t, ArenaOptions{LimitBytes: 1 << 20, SlabBytes: 8 << 10, Allocator: &counted{}})
	m.p = newPool(t, Options[int]{LimitBytes: m.limit, Shards: shards, Arena: arena, OnEvict: m.onEvict, Hash: func(k int) uint64 {
		return uint64(k % 7) // collisions
	}})
	return m
}

func (m *model) onEvict(k int, mem []byte) {
	g := m.byKey[k]
	require.NotNil(m.t, g, "evicted a page that is not there")
	require.Zero(m.t, g.refs, "evicted a page that is referenced")
	require.Len(m.t, mem, g.bytes)
	require.True(m.t, patterned(mem, uint64(g.id)))
	delete(m.byKey, k)
	g.live = false
	m.evicted++
}

// size of a page by a byte of the operations.
func modelBytes(b byte) int { return int(b) * 5 }

func (m *model) hold(f *Frame, g *modelPage) {
	g.refs++
	m.held = append(m.held, modelHandle{f, g})
}

// step does one operation with its two arguments.
func (m *model) step(op, x, y byte) {
	k := int(x) % modelKeys
	switch op % 14 {
	case 0, 1, 2:
		m.get(k)
	case 3, 4:
		m.reserve(k, modelBytes(y), true)
	case 5:
		m.reserve(k, modelBytes(y), false)
	case 6:
		m.endReservation(int(x), y)
	case 7, 8:
		m.release(int(x), y)
	case 9:
		require.Equal(m.t, m.byKey[k] != nil, m.p.Delete(k))
		m.forget(k)
	case 10:
		m.rekey(k, int(y)%modelKeys)
	case 11:
		if len(m.events) > 0 {
			m.events[int(x)%len(m.events)].done = true
		}
		if y%2 == 0 {
			m.p.Poll()
		}
	case 12:
		m.limit = int64(10+y%20) * 512
		require.NoError(m.t, m.p.Resize(m.limit))
	case 13:
		if y%4 == 0 {
			left, err := m.p.Shrink(int64(x) * 64)
			require.NoError(m.t, err)
			require.Equal(m.t, m.used(), left)
		}
	}
}

func (m *model) forget(k int) {
	if g := m.byKey[k]; g != nil {
		g.live = false
		delete(m.byKey, k)
	}
}

func (m *model) get(k int) {
	f, ok := m.p.Get(k)
	g := m.byKey[k]
	require.Equal(m.t, g != nil, ok)
	if !ok {
		m.misses++
		return
	}
	m.hits++
	m.hold(f, g)
}

func (m *model) inFlight(k int) bool {
	for _, r := range m.reserved {
		if r.key == k {
			return true
		}
	}
	return false
}

func (m *model) reserve(k, n int, publish bool) {
	there := m.byKey[k] != nil || m.inFlight(k)
	r, err := m.p.Reserve(m.t.Context(), k, n, Refuse)
	switch {
	case there:
		require.ErrorIs(m.t, err, kvferry.ErrExists)
		return
	case err != nil:
		require.ErrorIs(m.t, err, kvferry.ErrOutOfMemory)
		require.Greater(m.t, m.used()+RoundedBytes(n), m.limit, "refused although there is room")
		for _, g := range m.byKey {
			require.NotZero(m.t, g.refs, "refused although a page can be evicted")
		}
		return
	}
	m.ids++
	g := &modelPage{id: m.ids, bytes: n, refs: 1}
	m.pages = append(m.pages, g)
	pattern(r.Bytes(), uint64(g.id))
	m.reserved = append(m.reserved, modelReservation{r, g, k})
	if publish {
		m.endReservation(len(m.reserved)-1, 0)
	}
}

func (m *model) endReservation(i int, how byte) {
	if len(m.reserved) == 0 {
		return
	}
	i %= len(m.reserved)
	r := m.reserved[i]
	m.reserved = append(m.reserved[:i], m.reserved[i+1:]...)
	switch how % 4 {
	case 1:
		r.page.refs--
		r.r.Abandon()
	case 2:
		e := &modelEvent{page: r.page}
		m.events = append(m.events, e)
		r.r.AbandonAfter(e)
	default:
		f, err := r.r.Publish()
		require.NoError(m.t, err)
		r.page.live = true
		m.byKey[r.key] = r.page
		m.held = append(m.held, modelHandle{f, r.page})
	}
}

func (m *model) release(i int, how byte) {
	if len(m.held) == 0 {
		return
	}
	i %= len(m.held)
	h := m.held[i]
	m.held = append(m.held[:i], m.held[i+1:]...)
	switch how % 4 {
	case 0:
		e := &modelEvent{page: h.page}
		m.events = append(m.events, e)
		h.frame.ReleaseAfter(e)
	case 1:
		h.frame.Retain()
		h.page.refs++
		m.held = append(m.held, h)
		fallthrough
	default:
		h.page.refs--
		h.frame.Release()
	}
}

func (m *model) rekey(from, to int) {
	err := m.p.Rekey(from, to)
	g := m.byKey[from]
	switch {
	case g == nil:
		require.ErrorIs(m.t, err, kvferry.ErrNotFound)
	case from == to:
		require.NoError(m.t, err)
	case m.byKey[to] != nil || m.inFlight(to):
		require.ErrorIs(m.t, err, kvferry.ErrExists)
	default:
		require.NoError(m.t, err)
		delete(m.byKey, from)
		m.byKey[to] = g
	}
}

// used returns the bytes of all pages that have a key or a reference.
func (m *model) used() int64 {
	sum := int64(0)
	kept := m.pages[:0]
	for _, g := range m.pages {
		require.GreaterOrEqual(m.t, g.refs, 0)
		if g.live || g.refs > 0 {
			sum += RoundedBytes(g.bytes)
			kept = append(kept, g)
		}
	}
	m.pages = kept
	return sum
}

// check compares the pool with the model.
func (m *model) check() {
	used := m.used()
	require.Equal(m.t, used, m.p.used.Load())
	if used > m.limit {
		for k, g := range m.byKey {
			require.NotZero(m.t, g.refs, "page %d exceeds the limit and is not referenced", k)
		}
	}
	for k := range modelKeys {
		if m.p.Contains(k) != (m.byKey[k] != nil) {
			require.Failf(m.t, "not as the model", "key %d", k)
		}
	}
	for _, h := range m.held {
		if h.frame.Len() != h.page.bytes || !patterned(h.frame.Bytes(), uint64(h.page.id)) {
			require.Failf(m.t, "other bytes", "page %d", h.page.id)
		}
	}
	audit(m.t, m.p)
}

func (m *model) finish() {
	pinned := int64(0)
	for _, g := range m.pages {
		if g.refs > 0 {
			pinned++
		}
	}
	got := m.p.Metrics()
	require.Equal(m.t, m.hits, got.Hits)
	require.Equal(m.t, m.misses, got.Misses)
	require.Equal(m.t, m.evicted, got.Evictions)
	require.Equal(m.t, pinned, got.Pinned)
	require.Len(m.t, m.byKey, int(got.Frames))
	require.Len(m.t, m.reserved, int(got.Reserved))
	for len(m.reserved) > 0 {
		m.endReservation(0, 1)
	}
	for len(m.held) > 0 {
		m.release(0, 2)
	}
	for _, e := range m.events {
		e.done = true
	}
	require.NoError(m.t, m.p.Close())
	require.Zero(m.t, m.p.used.Load())
	require.NoError(m.t, m.p.arena.Close())
}

// TestModel holds random operations against the model.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(9) {
		r := rand.New(rand.NewPCG(seed, 5))
		m := newModel(t, 1<<(seed%3))
		for range 700 {
			m.step(byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()))
			m.check()
		}
		m.finish()
	}
}

// FuzzOperations does any operations and holds them against the model.
func FuzzOperations(f *testing.F) {
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newModel(t, 2)
		for ; len(ops) >= 3; ops = ops[3:] {
			m.step(ops[0], ops[1], ops[2])
			m.check()
		}
		m.finish()
	})
}

// TestCorpus: there is a corpus for the fuzzer to begin with.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzOperations", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		st, err := os.Stat(f)
		require.NoError(t, err)
		require.Positive(t, st.Size())
	}
}
