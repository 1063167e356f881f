package pack

import (
	"errors"
	"fmt"
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

// TestOvertakenSoak lets a second process find garbage, commit snapshots of it
// and replace the log, at each operation of a collection in turn: the collection
// has listed that garbage, condemned it or is about to remove it, and its own
// process has to begin with a new state.
func TestOvertakenSoak(t *testing.T) {
	t.Parallel()
	every := 7
	if modelSoak(t) > 0 {
		every = 1
	}
	runs, last := 0, false
	for k := 0; !last; k += every {
		for checkpoints := range 3 {
			last = overtake(t, k, checkpoints)
			runs++
		}
	}
	t.Logf("overtaken: %d collections, at each %d. operation", runs, every)
	require.Greater(t, runs, 10)
}

// overtaken are two processes, and snapshots that must be whole.
type overtaken struct {
	t     *testing.T
	disk  *vfs.Disk
	a, b  *Store
	trees map[digest.Digest][]digest.Digest
	plain map[digest.Digest][]byte
}

// overtake reports whether the collection ended before its operation k.
func overtake(t *testing.T, k, checkpoints int) bool {
	w := &overtaken{t: t, disk: vfs.NewDisk(), trees: map[digest.Digest][]digest.Digest{}, plain: map[digest.Digest][]byte{}}
	w.a, w.b = w.open(), w.open()
	for i := range 6 {
		require.NoError(t, w.commit(w.a, 8*i, 8*i+8, "old"))
		require.NoError(t, w.commit(w.b, 8*i+4, 8*i+12, fmt.Sprintf("kept-%d", i)))
	}
	unnamed := modelManifest(48, nil)
	w.put(w.a, unnamed)

	var left atomic.Int64
	var came, busy atomic.Bool
	var hookErr error
	left.Store(int64(k))
	w.disk.Before(func(string, string) {
		if left.Add(-1) >= 0 || came.Load() || !busy.CompareAndSwap(false, true) {
			return
		}
		defer busy.Store(false)
		if !w.free() {
			return
		}
		came.Store(true)
		for i := range 3 { // some of it was dropped with the snapshots that "old" had
			hookErr = errors.Join(hookErr, w.commit(w.b, 5*i, 5*i+9, fmt.Sprintf("new-%d", i)))
			if i < checkpoints {
				hookErr = errors.Join(hookErr, w.b.checkpoint(t.Context()))
			}
		}
	})
	_, err := w.a.Collect(t.Context(), cas.CollectOptions{References: modelReferences(w.a), KeepLast: 1})
	w.disk.Before(nil)
	require.NoError(t, errors.Join(err, hookErr), "operation %d, %d checkpoints", k, checkpoints)
	for _, s := range []*Store{w.a, w.b, w.open()} {
		w.wantWhole(s, fmt.Sprintf("operation %d, %d checkpoints", k, checkpoints))
		require.NoError(t, s.Close())
	}
	return !came.Load()
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

func (w *overtaken) put(s *Store, p []byte) digest.Digest {
	x, err := s.Begin(w.t.Context(), cas.SessionOptions{})
	require.NoError(w.t, err)
	d := modelSum(p)
	_, err = x.Put(w.t.Context(), d, p)
	require.NoError(w.t, err)
	require.NoError(w.t, x.Flush(w.t.Context()))
	require.NoError(w.t, x.Abort(w.t.Context()))
	return d
}

// commit commits a snapshot of the model's blobs from one number to another,
// which it puts only if they are not found.
func (w *overtaken) commit(s *Store, from, to int, name string) error {
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
	var refs []digest.Digest
	for i := from; i < to; i++ {
		if err := put(modelBlob(i)); err != nil {
			return err
		}
		refs = append(refs, modelSum(modelBlob(i)))
	}
	manifest := modelManifest(uint64(len(w.trees)), refs)
	if err := put(manifest); err != nil {
		return err
	}
	root := modelSum(manifest)
	w.trees[root] = append(refs, root)
	at := time.Unix(int64(len(w.trees)), 0).UTC()
	return x.Commit(ctx, cas.Entry{Root: root, Format: cas.FormatNative, Created: at, Names: []string{name}})
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
	require.GreaterOrEqual(w.t, names, 7, what)
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
