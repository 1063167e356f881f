package art

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/crashtest"
)

// hintedPrefixes returns of how many of the prefixes a hint leads to a block.
func (m *model) hintedPrefixes(prefixes []string) (n int) {
	for _, p := range prefixes {
		if b := m.x.only(m.x.hints.tag(0, p), 0, p); b != 0 {
			require.Equal(m.t, p, fieldString(m.x.prefixField(b)[:len(m.x.prefixField(b))-2]))
			n++
		}
	}
	return n
}

func hintRecord(prefix, hash string) index.Record {
	return index.Record{Key: index.Key{Prefix: prefix, Hash: hash}, Worker: "w", Tier: index.HBM}
}

// TestHints: most prefixes with one block have a hint, those with two have none,
// until a reader finds one of them alone.
func TestHints(t *testing.T) {
	t.Parallel()
	n := 20_000
	if crashtest.Racing {
		n /= 5 // in one goroutine
	}
	m := newModel(t)
	put := func(r index.Record) { m.x.put(m.x.scope(&r.Scope), m.x.worker(r.Worker), &r) }
	var ps []string
	for i := range n {
		ps = append(ps, fmt.Sprint("p", i))
		put(hintRecord(ps[i], fmt.Sprint("h", i)))
	}
	require.NoError(t, m.x.check())
	require.Greater(t, m.hintedPrefixes(ps), n*9/10)
	for _, p := range ps[:1000] {
		put(hintRecord(p, "another"))
	}
	require.NoError(t, m.x.check())
	require.Zero(t, m.hintedPrefixes(ps[:1000]))
	for i, p := range ps[:1000] {
		require.Equal(t, 1, m.x.remove(&index.Removal{Worker: "w", Hash: fmt.Sprint("h", i)}))
		require.Len(t, m.x.scan(&index.Scope{}, p, nil), 1)
	}
	require.NoError(t, m.x.check())
	require.Greater(t, m.hintedPrefixes(ps[:1000]), 900)
	require.Equal(t, n, m.x.clear())
	require.Zero(t, m.hintedPrefixes(ps))
	require.NoError(t, m.x.check())
	for _, p := range ps {
		put(hintRecord(p, "again"))
	}
	require.NoError(t, m.x.check())
	require.Greater(t, m.hintedPrefixes(ps), n*9/10)
}

// TestHintsOfReaders: after a snapshot was loaded there are none; readers make
// them, several at once.
func TestHintsOfReaders(t *testing.T) {
	t.Parallel()
	const n = 4000
	m := newModel(t)
	var ps []string
	for i := range n {
		ps = append(ps, fmt.Sprint("p", i))
		r := hintRecord(ps[i], fmt.Sprint("h", i))
		m.x.put(m.x.scope(&r.Scope), m.x.worker(r.Worker), &r)
	}
	m.x.hints.reset()
	m.x.hints.reserve(n)
	require.Zero(t, m.hintedPrefixes(ps))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range ps {
				p := ps[(i+w*n/4)%n]
				if rs := m.x.scan(&index.Scope{}, p, nil); len(rs) != 1 || rs[0].Prefix != p {
					t.Errorf("%q: %v", p, rs)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, m.x.check())
	require.Greater(t, m.hintedPrefixes(ps), n*9/10)
}

// TestHintsThatLie: what has the same tag by chance is not taken for what was asked
// for.
func TestHintsThatLie(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	alike := []string{"a\x00b", "a\x00\xffb", "a", "ab", "", "b", "\x00", "a\x00", "a\x00\x00"}
	var bs []ref
	for _, p := range alike {
		r := hintRecord(p, "h"+p)
		m.x.put(m.x.scope(&r.Scope), m.x.worker(r.Worker), &r)
		key, _ := appendKey(nil, 0, &r.Key, 0)
		bs = append(bs, m.x.blocks.find(key))
	}
	for _, p := range alike {
		r := hintRecord(index.Root, p)
		m.x.put(0, m.x.worker("w"), &r)
	}
	other := hintRecord("a", "ha")
	other.Model = "another"
	m.x.put(m.x.scope(&other.Scope), m.x.worker("w"), &other)
	for _, p := range alike {
		for _, s := range []index.Scope{{}, other.Scope} {
			sid, _ := m.x.scopes.find(s)
			for _, b := range bs {
				tag := m.x.hints.tag(sid, p)
				m.x.hints.cut(tag)
				if m.x.plain(b) {
					m.x.hints.put(tag, b)
				}
				want := 0
				if s == (index.Scope{}) || p == "a" {
					want = 1
				}
				rs := m.x.scan(&s, p, nil)
				require.Len(t, rs, want, "%q", p)
				for _, r := range rs {
					require.Equal(t, s, r.Scope)
					require.Equal(t, p, r.Prefix)
					require.Equal(t, "h"+p, r.Hash)
					require.Len(t, m.x.locate(&r.Key, nil), 1)
				}
				for _, hash := range alike { // behind p only its own is
					ms := m.x.match(&index.Query{Scope: s, Hashes: []string{p, "h" + hash}}, nil)
					if s == other.Scope {
						require.Empty(t, ms)
						continue
					}
					require.Len(t, ms, 1)
					require.Equal(t, map[bool]int{false: 1, true: 2}[p == hash || hash == ""], ms[0].Blocks, "%q %q", p, hash)
				}
			}
		}
	}
}
