package pack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestOvertakenSoak lets a second process find garbage at one operation of a
// collection, commit snapshots of it at a later one, and replace the log or close
// the store after either: the collection has listed that garbage, condemned it or
// is about to remove it, and its own process may have to begin with a new state.
func TestOvertakenSoak(t *testing.T) {
	t.Parallel()
	runs := uint64(60)
	if underRace {
		runs = 15
	}
	if n := modelSoak(t); n > 0 {
		runs = uint64(2000 * n)
	}
	met := 0
	for seed := range runs {
		if overtake(t, seed) {
			met++
		}
	}
	t.Logf("overtaken: %d of %d collections", met, runs)
	require.Greater(t, met, int(runs/4))
}

// overtaken are two processes, and snapshots that must be whole.
type overtaken struct {
	t     *testing.T
	disk  *vfs.Disk
	a, b  *Store
	trees map[digest.Digest][]digest.Digest
	plain map[digest.Digest][]byte
	found []*finding
}

// finding is a session that has found what it is going to commit.
type finding struct {
	cas.Session
	refs     []digest.Digest
	manifest []byte
	name     string
}

// overtake runs one collection and reports whether it was met.
func overtake(t *testing.T, seed uint64) bool {
	r := rand.New(rand.NewPCG(seed, 2))
	w := &overtaken{t: t, disk: vfs.NewDisk(), trees: map[digest.Digest][]digest.Digest{}, plain: map[digest.Digest][]byte{}}
	w.a, w.b = w.open(), w.open()
	for i := range 6 {
		require.NoError(t, w.commit(w.a, 8*i, 8*i+8, "old"))
		require.NoError(t, w.commit(w.b, 8*i+4, 8*i+12, fmt.Sprintf("kept-%d", r.IntN(4))))
	}
	if r.IntN(2) == 0 {
		_, err := w.a.Collect(t.Context(), cas.CollectOptions{References: modelReferences(w.a), KeepLast: 1})
		require.NoError(t, err)
		require.NoError(t, w.commit(w.a, 50, 60, "old"))
		require.NoError(t, w.commit(w.a, 60, 70, "old"))
	}
	find := r.IntN(120)
	commit := find + int(r.ExpFloat64()*15)
	var hookErr error
	stages := []func() error{
		func() error { return w.find(r) },
		func() error { return w.commitFound() },
	}
	var count atomic.Int64
	var busy atomic.Bool
	w.disk.Before(func(op, path string) {
		if strings.HasPrefix(path, packsDir) && op != "open" && op != "stat" && op != "unlink" {
			return // whoever has the log's lock may wait for these
		}
		n := int(count.Add(1))
		if n < find || !busy.CompareAndSwap(false, true) {
			return
		}
		defer busy.Store(false)
		if len(stages) == 0 || len(stages) == 1 && n < commit || !w.free() {
			return
		}
		do := stages[0]
		stages = stages[1:]
		hookErr = errors.Join(hookErr, do(), w.overtake(r))
	})
	_, err := w.a.Collect(t.Context(), cas.CollectOptions{References: modelReferences(w.a), KeepLast: 1})
	w.disk.Before(nil)
	require.NoError(t, errors.Join(err, hookErr), "seed %d", seed)
	met := len(stages) == 0
	if len(stages) < 2 {
		require.NoError(t, w.commitFound(), "seed %d", seed)
	}
	for _, s := range []*Store{w.a, w.b, w.open()} {
		w.wantWhole(s, fmt.Sprintf("seed %d", seed))
		require.NoError(t, s.Close())
	}
	return met
}

// overtake replaces the log once or twice, or not. Without sessions it may close
// the store before, which then lets its packs go.
func (w *overtaken) overtake(r *rand.Rand) (err error) {
	if len(w.found) == 0 && r.IntN(3) == 0 {
		err = w.b.Close()
		w.b = w.open()
	}
	for range r.IntN(3) {
		err = errors.Join(err, w.b.checkpoint(w.t.Context()))
	}
	return err
}

// find begins some sessions.
func (w *overtaken) find(r *rand.Rand) error {
	var errs []error
	for i := range 3 {
		from := r.IntN(60)
		errs = append(errs, w.begin(w.b, from, from+1+r.IntN(9), fmt.Sprintf("new-%d", i)))
	}
	return errors.Join(errs...)
}

// commitFound ends them.
func (w *overtaken) commitFound() error {
	var errs []error
	for _, f := range w.found {
		root := modelSum(f.manifest)
		w.trees[root] = append(f.refs, root)
		at := time.Unix(int64(len(w.trees)), 0).UTC()
		errs = append(errs, f.Commit(w.t.Context(), cas.Entry{Root: root, Format: cas.FormatNative, Created: at, Names: []string{f.name}}))
	}
	w.found = nil
	return errors.Join(errs...)
}

func (w *overtaken) open() *Store {
	s, err := Open("overtaken", Options{fs: w.disk.Process(), PackBytes: minPackBytes, BufferBytes: 16 << 10})
	require.NoError(w.t, err)
	return s
}

// free reports whether nobody is appending to the log.
func (w *overtaken) free() bool {
	p := w.disk.Process()
	defer p.Kill()
	list, err := p.List(logDir)
	if err != nil {
		return false
	}
	for _, e := range list {
		f, err := p.Open(logDir+"/"+e.Name, vfs.ReadWrite)
		if err != nil {
			return false
		}
		if free, err := f.TryLock(); err != nil || !free {
			return false
		}
	}
	return true
}

// commit commits a snapshot of the model's blobs from one number to another.
func (w *overtaken) commit(s *Store, from, to int, name string) error {
	if err := w.begin(s, from, to, name); err != nil {
		return err
	}
	return w.commitFound()
}

// begin begins a session that holds blobs, which it puts only if they are not
// found, and a manifest of them.
func (w *overtaken) begin(s *Store, from, to int, name string) error {
	ctx := w.t.Context()
	x, err := s.Begin(ctx, cas.SessionOptions{Owner: name})
	if err != nil {
		return err
	}
	put := func(p []byte) error {
		d := modelSum(p)
		w.plain[d] = p
		has, err := x.Has(ctx, d)
		if err == nil && !has {
			_, err = x.Put(ctx, d, p)
		}
		return err
	}
	f := &finding{Session: x, name: name}
	for i := from; i < to; i++ {
		if err := put(modelBlob(i)); err != nil {
			return err
		}
		f.refs = append(f.refs, modelSum(modelBlob(i)))
	}
	f.manifest = modelManifest(uint64(1000*len(w.trees)+len(w.found)), f.refs)
	w.found = append(w.found, f)
	return put(f.manifest)
}

// wantWhole requires that what is in the catalog, which has all names, is whole.
func (w *overtaken) wantWhole(s *Store, what string) {
	ctx := w.t.Context()
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(w.t, err)
	names := 0
	for _, e := range entries {
		names += len(e.Names)
		for _, d := range w.trees[e.Root] {
			buf := make([]byte, len(w.plain[d]))
			_, err := s.Get(ctx, d, buf)
			require.NoError(w.t, err, "%s: a blob of %v", what, e.Names)
			require.Equal(w.t, w.plain[d], buf)
		}
	}
	require.GreaterOrEqual(w.t, names, 2, what)
}

// TestNewIDs: a pack's number is none of an older pack, of which this process may
// know nothing, as long as the clock goes on.
func TestNewIDs(t *testing.T) {
	t.Parallel()
	var ps packSet
	now := time.UnixMicro(1_700_000_000_000_000)
	require.EqualValues(t, 1_700_000_000_000_000, ps.newID(now))
	require.EqualValues(t, 1_700_000_000_000_001, ps.newID(now))
	require.EqualValues(t, 1_700_000_000_000_002, ps.newID(now.Add(-time.Hour)), "a clock that goes back")
	require.EqualValues(t, 1_700_003_600_000_000, ps.newID(now.Add(time.Hour)))
	_, err := ps.ensure(1_800_000_000_000_000, cas.Snapshot)
	require.NoError(t, err)
	require.EqualValues(t, 1_800_000_000_000_001, ps.newID(now), "one that another process made")
	require.Positive(t, ps.newID(time.Unix(-5, 0)))
}

// TestRescueWaitsForNobody: who puts a blob of the cache anew may be the one who
// has to evict for it.
func TestRescueWaitsForNobody(t *testing.T) {
	t.Parallel()
	s, err := Open("rescue", Options{fs: vfs.NewDisk().Process(), CacheBytes: 1 << 20, BufferBytes: 16 << 10})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	p := modelBlob(1)
	d := modelSum(p)
	x, err := s.Begin(t.Context(), cas.SessionOptions{Class: cas.Cache})
	require.NoError(t, err)
	_, err = x.Put(t.Context(), d, p)
	require.NoError(t, err)
	require.NoError(t, x.Flush(t.Context()))
	at, in, ok := s.st().find(d)
	require.True(t, ok)

	pend := &s.pending[cas.Cache]
	mine, err := pend.claim(t.Context(), pendingBlob{d: d, replace: true})
	require.NoError(t, err)
	require.True(t, mine)
	lane, err := s.lane(cas.Cache)
	require.NoError(t, err)
	require.NoError(t, s.copyCached(t.Context(), lane, in, candidate{stored{d, at.Offset(), at.Size()}, in, s.age()}))
	pend.finish(d, packfile.Spot{}, false)
}

// TestCacheLostWithThePower: a pack of the cache of which the power failure left
// nothing, or no header, is no more than a miss, and a collection forgets it.
func TestCacheLostWithThePower(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"gone", "cut", "empty"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			disk := vfs.NewDisk()
			proc := disk.Process()
			s, err := Open("cache", Options{fs: proc, CacheBytes: 1 << 20, BufferBytes: 16 << 10})
			require.NoError(t, err)
			x, err := s.Begin(t.Context(), cas.SessionOptions{Class: cas.Cache})
			require.NoError(t, err)
			p := modelBlob(1)
			_, err = x.Put(t.Context(), modelSum(p), p)
			require.NoError(t, err)
			require.NoError(t, x.Flush(t.Context()))
			require.NoError(t, s.Close())
			for path := range disk.Files() {
				if !strings.HasPrefix(path, packsDir) {
					continue
				}
				proc = disk.Process()
				f, err := proc.Open(path, vfs.ReadWrite)
				require.NoError(t, err)
				switch what {
				case "gone":
					require.NoError(t, proc.Remove(path))
				case "cut":
					require.NoError(t, f.Truncate(packHeaderBytes))
				case "empty":
					_, err = f.WriteAt(make([]byte, packHeaderBytes), 0)
					require.NoError(t, err)
				}
				require.NoError(t, f.Close())
			}
			s, err = Open("cache", Options{fs: disk.Process(), CacheBytes: 1 << 20, BufferBytes: 16 << 10})
			require.NoError(t, err)
			leftovers := 0
			require.NoError(t, s.Check(t.Context(), func(p cas.Problem) {
				require.True(t, p.Leftover)
				leftovers++
			}))
			require.Positive(t, leftovers)
			_, err = s.Collect(t.Context(), cas.CollectOptions{References: modelReferences(s)})
			require.NoError(t, err)
			require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { require.NoError(t, p.Err) }))
			require.Empty(t, s.st().packs.all())
			require.NoError(t, s.Close())
		})
	}
}
