package pack

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// killsPerCycle is how often a process is killed before all of them stop and
// the store is looked at.
const killsPerCycle = 25

// TestKillSoak runs two writers, a collector and a reader in processes of their
// own, which are killed at random times and started again. Whatever was
// acknowledged is there and whole in the end, and nothing else takes room after
// a collection.
func TestKillSoak(t *testing.T) {
	t.Parallel()
	cycles := 1
	if n := modelSoak(t); n > 0 {
		cycles = 40 * n
	}
	root := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "kvferry-kill-"); err == nil { //nolint:usetesting // in memory, where nothing waits for a disk and more happens at once
		t.Cleanup(func() { _ = os.RemoveAll(shm) }) // children of a test that failed may still write
		root = shm
	}
	w := &killWorld{t: t, root: root, r: rand.New(rand.NewPCG(1, 4)), counts: map[string]int{}, acked: map[digest.Digest]bool{}}
	for cycle := range cycles {
		w.cycle(cycle)
	}
	t.Logf("killed: %d processes in %d cycles, which committed %d snapshots and dropped %d; %d other rounds of collectors, readers and caches; %d logs; %d files of dead sessions; 0 lost, 0 wrong, 0 bytes leaked",
		w.counts["kills"], cycles, w.counts[sayCommitted], w.counts[sayDropped], w.counts[sayDone], w.counts["logs"], w.counts["left"])
}

// killWorld is what a parent knows of its children's store.
type killWorld struct {
	t      *testing.T
	root   string
	r      *rand.Rand
	counts map[string]int
	acked  map[digest.Digest]bool // snapshots that must be there
	unsure []digest.Digest        // committed or dropped, perhaps
}

// killChild is a running child and what it said.
type killChild struct {
	job  string
	cmd  *exec.Cmd
	said chan []string // everything, at the end
}

func (w *killWorld) start(job string) *killChild {
	exe, err := os.Executable()
	require.NoError(w.t, err)
	c := &killChild{job: job, cmd: exec.CommandContext(w.t.Context(), exe), said: make(chan []string, 1)}
	c.cmd.Env = append(os.Environ(), childRoot+"="+w.root, childJob+"="+job, fmt.Sprintf("%s=%d", childSeed, w.r.Uint64()))
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, c.cmd.Start())
	go func() {
		var lines []string
		for s := bufio.NewScanner(out); s.Scan(); {
			if line, whole := strings.CutSuffix(s.Text(), " ."); whole {
				lines = append(lines, line)
			}
		}
		c.said <- lines
	}()
	return c
}

// kill kills a child and learns what it said until then.
func (w *killWorld) kill(c *killChild) {
	require.NoError(w.t, c.cmd.Process.Kill())
	said := <-c.said
	_ = c.cmd.Wait() // it was killed
	w.counts["kills"]++
	pending := digest.Digest{}
	for _, line := range said {
		word, rest, _ := strings.Cut(line, " ")
		require.NotEqual(w.t, sayError, word, "%s: %s", c.job, rest)
		w.counts[word]++
		if word == sayDone {
			continue
		}
		d, err := digest.Parse(rest)
		require.NoError(w.t, err)
		switch word {
		case sayCommit, sayDrop:
			pending = d
		case sayCommitted:
			pending, w.acked[d] = digest.Digest{}, true
		case sayDropped:
			pending = digest.Digest{}
			delete(w.acked, d)
		}
	}
	if pending.Valid() {
		w.unsure = append(w.unsure, pending)
		delete(w.acked, pending)
	}
}

func (w *killWorld) cycle(cycle int) {
	jobs := []string{"writer0", "writer1", "collect", "reader"}
	children := make([]*killChild, len(jobs))
	for i, job := range jobs {
		children[i] = w.start(job)
	}
	for range killsPerCycle - len(jobs) {
		pause := time.NewTimer(time.Duration(w.r.ExpFloat64() * float64(50*time.Millisecond)))
		<-pause.C
		i := w.r.IntN(len(jobs))
		w.kill(children[i])
		children[i] = w.start(jobs[i])
	}
	for _, c := range children {
		w.kill(c)
	}
	w.look(fmt.Sprintf("cycle %d", cycle))
}

// look requires that the store has what it should have, and nothing else.
func (w *killWorld) look(what string) {
	ctx := w.t.Context()
	left, err := os.ReadDir(filepath.Join(w.root, streamsDir))
	require.NoError(w.t, err)
	w.counts["left"] += len(left)
	s, err := Open(w.root, childOptions())
	require.NoError(w.t, err, what)
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(w.t, err)
	listed := map[digest.Digest]bool{}
	for _, e := range entries {
		listed[e.Root] = true
	}
	for _, d := range w.unsure {
		if listed[d] {
			w.acked[d] = true
		}
	}
	w.unsure = nil
	require.Equal(w.t, w.acked, listed, what)
	needed := w.wantWhole(s, entries, what)
	for range 2 {
		_, err = s.Collect(ctx, cas.CollectOptions{References: modelReferences(s)})
		require.NoError(w.t, err, what)
	}
	w.counts["logs"] = int(s.journal.Generation())
	w.wantWhole(s, entries, what)
	require.NoError(w.t, s.Close())

	o := childOptions()
	o.ReadOnly = true
	s, err = Open(w.root, o)
	require.NoError(w.t, err, what)
	modelTidy(w.t, s, needed)
	w.wantSmall(s, what)
	require.NoError(w.t, s.Close())
}

// wantWhole reads everything and returns what the snapshots need.
func (w *killWorld) wantWhole(s *Store, entries []cas.Entry, what string) map[digest.Digest]bool {
	r, err := cas.NewReader(s, nil)
	require.NoError(w.t, err)
	needed := map[digest.Digest]bool{}
	for _, e := range entries {
		require.NoError(w.t, readWhole(w.t.Context(), r, e.Root), "%s: snapshot %v", what, e.Root)
		require.NoError(w.t, modelReferences(s)(w.t.Context(), e, func(d digest.Digest) error { needed[d] = true; return nil }))
	}
	return needed
}

// wantSmall bounds what the store takes: a tenth of it may be dead, each record
// may begin on a fresh block, and log and index take a few hundred kilobytes.
func (w *killWorld) wantSmall(s *Store, what string) {
	st, err := s.Stats(w.t.Context())
	require.NoError(w.t, err)
	require.Zero(w.t, st.Sessions, what)
	require.Zero(w.t, st.Quarantined, what)
	packs := int64(len(s.st().packs.all()))
	most := st.StoredBytes*10/9 + 4096*st.Blobs/4 + 8192*packs + 2<<20
	w.t.Logf("%s: %d blobs of %d bytes take %d in %d packs", what, st.Blobs, st.StoredBytes, st.DiskBytes, packs)
	require.LessOrEqual(w.t, st.DiskBytes, most, what)
}
