package table

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/digest"
)

// TestConcurrent: each goroutine changes blobs of its own, and sees what it
// did, while others look at all of them, walk and save.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	const workers = 4
	lists := make([][]digest.Digest, workers)
	for i := range lists {
		for range 2000 { // few shards, so that they meet, grow and shrink
			lists[i] = append(lists[i], tab.withTag(r, r.Uint64N(3), r.Uint64()))
		}
	}
	models := make([]model, workers)
	seeds := make([]uint64, workers)
	for i := range seeds {
		seeds[i] = r.Uint64()
	}
	var wg, others sync.WaitGroup
	done := make(chan struct{})
	for i := range workers {
		wg.Go(func() { models[i] = work(t, tab, rand.New(rand.NewPCG(seeds[i], 2)), lists, i) })
	}
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			_, err := tab.Save(io.Discard, same)
			if err != nil {
				t.Error(err)
			}
			seen := map[digest.Digest]bool{}
			tab.All(func(d digest.Digest, _ Place, _ uint8) bool {
				if seen[d] {
					t.Errorf("%v is seen twice", d)
				}
				seen[d] = true
				return true
			})
			tab.ClearAll(Condemned)
		}
	})
	wg.Wait()
	close(done)
	others.Wait()
	want := model{}
	for _, m := range models {
		for d, n := range m {
			want[d] = n
		}
	}
	tab.ClearAll(Marked | Condemned)
	got := model{}
	tab.All(func(d digest.Digest, p Place, age uint8) bool { got[d] = note{p, age}; return true })
	require.Equal(t, want, got)
	tab.check(t)
}

func work(t *testing.T, tab *Table, r *rand.Rand, lists [][]digest.Digest, mine int) model {
	m := model{}
	for range 20_000 {
		d := lists[mine][r.IntN(len(lists[mine]))]
		n, have := m[d]
		switch r.IntN(6) {
		case 0, 1:
			p := randomPlace(r)
			if _, had, err := tab.Put(d, p); err != nil || had != have {
				t.Errorf("put: %v, %v", had, err)
			}
			m[d] = note{p, n.age}
		case 2:
			if _, had := tab.Delete(d); had != have {
				t.Errorf("delete: %v", had)
			}
			delete(m, d)
		case 3:
			n.age = uint8(r.Uint32())
			tab.Touch(d, n.age)
			m.set(d, n)
		case 4:
			tab.Set(lists[r.IntN(len(lists))][r.IntN(len(lists[0]))], Condemned, true)
		default:
			if at, ok := tab.Get(d); ok != have || !at.Is(n.at) {
				t.Errorf("get: %v, %v", at, ok)
			}
			tab.Get(lists[r.IntN(len(lists))][r.IntN(len(lists[0]))])
		}
	}
	return m
}

// TestCloseMeanwhile: a table may be closed while others use it.
func TestCloseMeanwhile(t *testing.T) {
	t.Parallel()
	for range 8 {
		tab := newTable(t)
		seed := rand.Uint64()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range 5000 {
					d := tab.withTag(r, r.Uint64N(2), r.Uint64())
					_, _, err := tab.Put(d, randomPlace(r))
					if _, ok := tab.Get(d); !ok && err == nil && tab.Len() > 0 {
						continue // closed between the two
					}
				}
			})
		}
		tab.Close()
		wg.Wait()
		require.Zero(t, tab.Len())
	}
}
