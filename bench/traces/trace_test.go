package traces

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const builtIn = "../../" + BuiltIn

func TestReadTrace(t *testing.T) {
	text := `{"timestamp": 1, "hash_ids": [1, 2]}
{"hash_ids": [], "more": "x"}
{"hash_ids": [18446744073709551615]}
`
	want := &Trace{Refs: []uint64{1, 2, 1<<64 - 1}, Ends: []int{2, 2, 3}}
	got, err := Read(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = Read(bytes.NewReader(packed(t, text)))
	require.NoError(t, err)
	require.Equal(t, want, got)
	var requests [][]uint64
	for r := range got.Requests {
		requests = append(requests, r)
	}
	require.Equal(t, [][]uint64{{1, 2}, {}, {1<<64 - 1}}, requests)
	require.Equal(t, Shape{Requests: 3, Refs: 3, Blocks: 3}, got.Shape())
	for _, bad := range []string{
		"", "\n", "{}\n", `{"hash_ids": []}`, `{"hash_ids": [-1]}`, `{"hash_ids": [1.5]}`, `{"hash_ids": 1}`, `{"hash_ids": null}`,
		`[1]`, "\x1f\x8b", string(packed(t, text)[:20]), `{"hash_ids": [` + strings.Repeat("1,", mostLine/2) + "1]}",
	} {
		_, err := Read(strings.NewReader(bad))
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%.40q", bad)
	}
}

func packed(t testing.TB, text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	_, err := Load(path)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.NoError(t, os.WriteFile(path, []byte("no\n"), 0o600))
	_, err = Load(path)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, os.WriteFile(path, []byte(`{"hash_ids": [1]}`), 0o600))
	c, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, "x", c.Name)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"timestamp": 1, "hash_ids": [1, 2]}` + "\n"))
	f.Add(packed(f, `{"hash_ids": [0]}`))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Read(bytes.NewReader(b))
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			return
		}
		require.NotEmpty(t, c.Refs)
		require.Equal(t, len(c.Refs), c.Ends[len(c.Ends)-1])
	})
}

// brute tries every way to use a cache.
func brute(refs []uint64, here map[uint64]bool, capacity int) int {
	if len(refs) == 0 {
		return 0
	}
	if here[refs[0]] {
		return 1 + brute(refs[1:], here, capacity)
	}
	best := brute(refs[1:], here, capacity)
	with := func(out uint64, evict bool) {
		next := map[uint64]bool{refs[0]: true}
		for b := range here {
			if !evict || b != out {
				next[b] = true
			}
		}
		best = max(best, brute(refs[1:], next, capacity))
	}
	if len(here) < capacity {
		with(0, false)
		return best
	}
	for b := range here {
		with(b, true)
	}
	return best
}

func TestOptimumAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c := &Trace{}
		refs := make([]uint64, 1+r.IntN(12))
		for i := range refs {
			refs[i] = r.Uint64N(5)
		}
		c.add(refs)
		capacity := 1 + r.IntN(3)
		require.Equal(t, brute(refs, nil, capacity), Optimum(c, capacity), "%v, %d blocks", refs, capacity)
	}
}

func TestPoolHoldsItsBlocks(t *testing.T) {
	for _, capacity := range []int{64, 3000, 10000} {
		p, err := newPool(t.Context(), capacity)
		require.NoError(t, err)
		for b := range uint64(capacity) {
			require.NoError(t, p.Put(b))
		}
		there := 0
		for b := range uint64(capacity) {
			if p.Get(b) {
				there++
			}
		}
		require.GreaterOrEqual(t, there, capacity*98/100, "of %d", capacity)
		require.NoError(t, p.Put(1<<40))
		require.NoError(t, p.pool.Close())
	}
}

func TestPlayCountsLeadingHits(t *testing.T) {
	c := &Trace{}
	c.add([]uint64{1, 2, 3})
	c.add([]uint64{1, 4, 3})
	c.add([]uint64{9, 1})
	p, err := Play(c, newLRU(10))
	require.NoError(t, err)
	require.Equal(t, [3]int{8, 3, 1}, [3]int{p.Refs, p.Hits, p.Leading})
	require.InDelta(t, 3.0/8, p.HitShare(), 1e-9)
	require.InDelta(t, 1.0/8, p.LeadingShare(), 1e-9)
}

func TestQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	q := queue[int]{before: func(a, b int) bool { return a > b }}
	var model []int
	for range 2000 {
		if len(model) > 0 && r.IntN(3) == 0 {
			slices.Sort(model)
			last := len(model) - 1
			require.Equal(t, model[last], q.pop())
			model = model[:last]
			continue
		}
		x := r.IntN(50)
		model = append(model, x)
		q.push(x)
	}
	require.Len(t, q.items, len(model))
}
