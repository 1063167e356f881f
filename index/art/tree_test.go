package art

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/crashtest"
)

// model is the keys of the tree of blocks, in order.
type model struct {
	t    *testing.T
	x    *state
	keys [][]byte
	all  map[string]index.Record // by key
}

func newModel(t *testing.T) *model {
	m := &model{t: t, x: newState(index.Recommended), all: map[string]index.Record{}}
	t.Cleanup(func() { require.NoError(t, m.x.drop()) })
	return m
}

func (m *model) key(r *index.Record) []byte {
	key, _ := appendKey(nil, m.x.scope(&r.Scope), &r.Key, 0)
	return key
}

func (m *model) put(r index.Record) {
	key := m.key(&r)
	m.x.put(m.x.scope(&r.Scope), m.x.worker(r.Worker), &r)
	if i, ok := slices.BinarySearchFunc(m.keys, key, bytes.Compare); !ok {
		m.keys = slices.Insert(m.keys, i, key)
	}
	m.all[string(key)] = r
}

func (m *model) remove(r index.Record) {
	key := m.key(&r)
	n := m.x.remove(&index.Removal{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash})
	for _, k := range slices.Clone(m.keys) {
		o := m.all[string(k)]
		if o.Scope == r.Scope && o.Hash == r.Hash && o.Worker == r.Worker {
			i, _ := slices.BinarySearchFunc(m.keys, k, bytes.Compare)
			m.keys = slices.Delete(m.keys, i, i+1)
			delete(m.all, string(k))
			n--
		}
	}
	require.Zero(m.t, n, "%x", key)
}

// check compares everything, and returns how many nodes there are of each kind.
func (m *model) check() map[uint8]int {
	require.NoError(m.t, m.x.check())
	var keys [][]byte
	m.x.blocks.walk(m.x.blocks.root, func(b ref) bool {
		keys = append(keys, m.x.keyOf(b))
		return true
	})
	require.Len(m.t, keys, len(m.keys))
	for i := range keys {
		require.Equal(m.t, m.keys[i], keys[i])
		require.Equal(m.t, keys[i], m.x.keyOf(m.x.blocks.find(keys[i])))
	}
	if len(keys) == 0 {
		return nil
	}
	kinds, err := m.x.blocks.checkNode(m.x.blocks.root, nil)
	require.NoError(m.t, err)
	return kinds
}

// from compares walkFrom with the model.
func (m *model) from(low []byte) {
	i, _ := slices.BinarySearchFunc(m.keys, low, bytes.Compare)
	want := m.keys[i:]
	m.x.blocks.walkFrom(m.x.blocks.root, 0, low, func(b ref) bool {
		require.NotEmpty(m.t, want)
		require.Equal(m.t, want[0], m.x.keyOf(b))
		want = want[1:]
		return true
	})
	require.Empty(m.t, want, "from %x", low)
}

// TestNodes: every kind of node grows into the next and shrinks into the one
// before, with keys that part early and late.
func TestNodes(t *testing.T) {
	t.Parallel()
	for _, long := range []string{"", "a", "12345678", "123456789", strings.Repeat("p", 300), "\x00\xff\x00"} {
		t.Run(fmt.Sprintf("%d", len(long)), func(t *testing.T) {
			t.Parallel()
			m := newModel(t)
			record := func(a, b int) index.Record {
				return index.Record{Key: index.Key{Prefix: long + string([]byte{byte(a)}), Hash: string([]byte{byte(b)})}, Worker: "w", Tier: index.HBM}
			}
			dice := rand.New(rand.NewPCG(1, uint64(len(long))))
			seen := map[uint8]int{}
			look := func() {
				for k, n := range m.check() {
					seen[k] += n
				}
			}
			for n, b := range dice.Perm(256) {
				m.put(record(1, b))
				m.put(record(b, 7))
				if n%13 == 0 || n < 60 && n%3 == 0 {
					look()
				}
			}
			look()
			require.Len(t, seen, 4)
			clear(seen)
			for n, b := range dice.Perm(256) {
				m.remove(record(1, b))
				if n%13 == 0 || n > 200 && n%3 == 0 {
					look()
				}
			}
			look()
			require.Len(t, m.keys, 0+len(m.all))
			for _, r := range m.all {
				m.remove(r)
			}
			m.check()
			require.Zero(t, m.x.blocks.root)
			require.Zero(t, m.x.hashes.root)
		})
	}
}

// TestKeys: what look alike are told apart, in order, with fields of any bytes.
func TestKeys(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	dice := rand.New(rand.NewPCG(3, 4))
	text := func() string {
		alphabet := []string{"\x00", "\xff", "a", "\x00\xff", "\x00\x00", "\x01", "b", strings.Repeat("c", 9), ""}
		var s strings.Builder
		for range dice.IntN(6) {
			s.WriteString(alphabet[dice.IntN(len(alphabet))])
		}
		return s.String()
	}
	steps := 1200
	if crashtest.Racing {
		steps /= 4 // in one goroutine
	}
	var had []index.Record
	for i := range steps {
		r := index.Record{
			Key:    index.Key{Scope: index.Scope{Model: text(), Tenant: text()}, Prefix: text(), Hash: text(), Index: dice.Uint32N(2), Group: dice.Uint32N(2)},
			Worker: text(), Tier: index.Tier(1 + dice.IntN(5)),
		}
		switch {
		case dice.IntN(3) > 0 || len(had) == 0:
			if _, ok := m.all[string(m.key(&r))]; !ok { // the model has one holder of each block
				m.put(r)
				had = append(had, r)
			}
		default:
			m.remove(had[dice.IntN(len(had))])
		}
		m.from(m.key(&r))
		if i%100 == 0 {
			m.check()
		}
	}
	m.check()
	for _, k := range m.keys {
		m.from(append(slices.Clone(k), 0))
		m.from(k[:len(k)/2])
		p, h := m.all[string(k)].Prefix, m.all[string(k)].Hash
		rs := m.x.locate(&index.Key{Scope: m.all[string(k)].Scope, Prefix: p, Hash: h, Index: tailOf(k).index, Group: tailOf(k).group}, nil)
		require.Equal(t, []index.Record{m.all[string(k)]}, rs)
	}
}

// TestArena: objects of all sizes lie apart, and their room is used again.
func TestArena(t *testing.T) {
	t.Parallel()
	var a arena
	defer func() { require.NoError(t, a.drop()) }()
	dice := rand.New(rand.NewPCG(5, 6))
	type object struct {
		r ref
		b []byte
	}
	var all []object
	for round := range 2 {
		for i := range 400 {
			n := 4 + dice.IntN(300)
			if i%40 == 0 {
				n = 4 + dice.IntN(3*chunkBytes)
			}
			b := bytes.Repeat([]byte{byte(dice.IntN(256))}, n)
			r := a.alloc(n)
			copy(a.bytes(r, n), b)
			all = append(all, object{r, b})
		}
		for _, o := range all {
			require.True(t, bytes.Equal(o.b, a.bytes(o.r, len(o.b))))
		}
		if round == 0 {
			for _, o := range all[:200] {
				a.release(o.r, len(o.b))
			}
			all = all[200:]
		}
	}
	for n := 1; n < 5<<20; n += 1 + n/100 {
		class, size := classOf(n)
		require.Less(t, class, classes)
		require.GreaterOrEqual(t, size, uint64(n))
		require.LessOrEqual(t, size, uint64(n)+max(8, uint64(n)/4))
		require.Zero(t, size%unitBytes)
		again, _ := classOf(int(size))
		require.Equal(t, class, again)
	}
}

// TestFrozen: what is taken from a frozen arena is what it was, whatever is
// written meanwhile.
func TestFrozen(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	record := func(i int) index.Record {
		return index.Record{Key: index.Key{Prefix: fmt.Sprint("p", i%700), Hash: fmt.Sprint("h", i)}, Worker: fmt.Sprint("w", i%5), Tier: index.HBM}
	}
	for i := range 6000 {
		m.x.put(m.x.scope(&index.Scope{}), m.x.worker(record(i).Worker), new(record(i)))
	}
	before := make([]chunk, len(m.x.chunks))
	for i := range before {
		before[i] = *m.x.chunks[i]
	}
	m.x.freeze()
	dice := rand.New(rand.NewPCG(8, 9))
	for i := range before {
		for range 800 {
			r := record(dice.IntN(12000))
			if dice.IntN(2) == 0 {
				m.x.put(0, m.x.worker(r.Worker), &r)
			} else {
				m.x.remove(&index.Removal{Worker: r.Worker, Hash: r.Hash})
			}
		}
		if i == len(before)/2 {
			m.x.clear()
		}
		var c chunk
		m.x.chunkAt(i, &c)
		require.True(t, bytes.Equal(c[:], before[i][:]), "chunk %d", i)
	}
	m.x.thaw()
	require.NoError(t, m.x.check())
}
