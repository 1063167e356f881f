package pack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

// modelEpisode is how many operations one disk sees.
const modelEpisode = 5000

// TestModelSoak compares random operations on two processes' stores with plain
// maps. Between them, and in the middle of them, processes are killed and the
// power fails. A seed does about the same again; goroutines make for the rest.
func TestModelSoak(t *testing.T) {
	t.Parallel()
	episodes, first := 4, uint64(1)
	if underRace {
		episodes = 1
	}
	if n := modelSoak(t); n > 0 {
		episodes = n * 1_000_000 / modelEpisode
	}
	var mu sync.Mutex
	total := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+uint64(episodes); seed++ {
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
				t.Parallel()
				counts := runModel(t, seed)
				mu.Lock()
				defer mu.Unlock()
				for k, n := range counts {
					total[k] += n
				}
			})
		}
	})
	all := total["step"]
	delete(total, "step")
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintf(&b, " %d %s,", total[k], k)
	}
	t.Logf("model: %d operations in %d episodes:%s", all, episodes, strings.TrimSuffix(b.String(), ","))
}

func runModel(t *testing.T, seed uint64) map[string]int {
	w := newModelWorld(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d after %v", seed, w.counts)
		}
		for _, m := range w.members {
			_ = m.s.Close() // closed already if all went well
		}
	}()
	for range modelEpisode {
		w.step()
	}
	w.wantSame()
	w.alone(w.members[0])
	for _, m := range w.members {
		require.NoError(t, m.s.Close())
	}
	return w.counts
}

// modelWeights say how often each operation comes.
var modelWeights = map[string]int{
	"begin": 60, "put": 300, "has": 120, "ask": 60, "get": 150, "batch": 30, "flush": 30, "commit": 60, "abort": 20,
	"set name": 20, "remove name": 15, "drop": 30, "look up": 20, "quarantine": 8, "collect": 8, "check": 1, "stats": 4,
	"checkpoint": 3, "time": 15, "reopen": 3, "kill": 2, "power failure": 2, "alone": 1,
}

var modelNames = sync.OnceValue(func() []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(modelWeights)) {
		for range modelWeights[k] {
			out = append(out, k)
		}
	}
	return out
})

// step runs one operation, and now and then kills a process or cuts the power in
// the middle of it.
func (w *modelWorld) step() {
	name := modelNames()[w.r.IntN(len(modelNames()))]
	m := w.members[w.r.IntN(len(w.members))]
	w.counts[name]++
	w.next = w.cat
	if w.counts["step"]++; w.counts["step"]%512 == 0 {
		// Nobody needs these names to be durable, but a disk that never forgets
		// what may be lost becomes slow.
		require.NoError(w.t, m.proc.SyncDir(streamsDir))
		w.wantSame()
	}
	if name == "kill" || name == "power failure" || name == "reopen" || name == "alone" || w.r.IntN(60) > 0 {
		w.do(name, m)
		w.settle()
		w.cat = w.next
		return
	}
	w.interrupt(name, m)
}

// settle waits for checkpoints, so that a seed does the same again.
func (w *modelWorld) settle() {
	for _, m := range w.members {
		m.s.background.Wait()
	}
}

// interrupt runs an operation during which the actor or the power goes.
func (w *modelWorld) interrupt(name string, m *modelMember) {
	power := w.r.IntN(2) == 0
	mode := vfs.CrashOptions{Seed: w.r.Uint64(), Mode: vfs.CrashMode(w.r.IntN(4))}
	var left *vfs.Disk
	var once sync.Once
	w.fuse.Store(1 + int64(w.r.ExpFloat64()*8))
	w.disk.Before(func(string, string) {
		if w.fuse.Add(-1) > 0 {
			return
		}
		once.Do(func() {
			if power {
				left = w.disk.Crash(mode)
			} else {
				m.proc.Kill()
			}
		})
	})
	if !power {
		w.armed = m
	}
	w.do(name, m)
	w.settle()
	w.disk.Before(nil)
	went := false
	once.Do(func() { went = true })
	w.armed = nil
	if went { // it took less
		w.cat = w.next
		return
	}
	w.counts["interrupted"]++
	if power {
		at := slices.Index(w.members, m)
		w.replace(left)
		m = w.members[at]
	} else {
		_ = m.s.Close() // of a process that was killed
		w.open(m)
	}
	w.resolve(m)
}

// resolve finds out whether an interrupted operation took effect: all of it did
// or nothing.
func (w *modelWorld) resolve(m *modelMember) {
	got, err := m.s.Catalog().Entries(w.t.Context())
	require.NoError(w.t, err)
	if len(got) == len(w.next.snapshots) && fmt.Sprint(got) == fmt.Sprint(w.next.entries()) {
		w.cat = w.next
	}
	w.wantSame()
}

// replace goes on with the disk that a power failure left.
func (w *modelWorld) replace(disk *vfs.Disk) {
	old := w.members
	w.disk = disk
	w.members = nil
	for _, m := range old {
		m.proc.Kill()
		_ = m.s.Close() // of a machine that is gone
		n := &modelMember{}
		w.open(n)
		w.members = append(w.members, n)
	}
}
