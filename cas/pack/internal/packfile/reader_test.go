package packfile_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// fillPacks stores blobs of the given sizes and returns them.
func fillPacks(t testing.TB, o packfile.LaneOptions, sizes ...int) []blob {
	l := openLane(t, o)
	blobs := make([]blob, 0, len(sizes))
	for i, n := range sizes {
		b := blobOf(uint64(i), n)
		require.NoError(t, b.put(t, l))
		blobs = append(blobs, b)
	}
	require.NoError(t, l.Sync(t.Context()))
	require.NoError(t, l.Close(t.Context()))
	return blobs
}

// manySizes are n lengths of blobs that differ, up to most.
func manySizes(n, most int) []int {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = r.IntN(most)
	}
	return sizes
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		b := fillPacks(t, options(f, direct), 5000)[0]
		r := openReader(t, f, direct)
		read := func(s packfile.Spot) error {
			return r.Read(t.Context(), s, func([]byte) error { t.Error("used"); return nil })
		}
		s := b.at
		require.ErrorIs(t, read(packfile.Spot{Pack: 9, Off: s.Off, Bytes: s.Bytes}), fs.ErrNotExist)
		for _, bad := range []packfile.Spot{
			{Pack: 1, Off: s.Off, Bytes: 1 << 40}, {Pack: 1, Off: 1 << 40, Bytes: 128}, {Pack: 1, Off: math.MaxInt64 &^ 63, Bytes: 128},
			{Pack: 1, Off: s.Off, Bytes: math.MaxInt64 &^ 63}, {Pack: 1, Off: 0, Bytes: 128}, {Pack: 1, Off: -64, Bytes: 128},
			{Pack: 1, Off: s.Off + 1, Bytes: 128}, {Pack: 1, Off: s.Off, Bytes: -64}, {Pack: 1, Off: s.Off},
		} {
			require.ErrorIs(t, read(bad), kvferry.ErrCorrupt, "%+v", bad)
		}
		_, err := r.Header(t.Context(), 9)
		require.ErrorIs(t, err, fs.ErrNotExist)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, r.Read(ctx, s, nil), context.Canceled)
		own := errors.New("the user's")
		require.Equal(t, own, r.Read(t.Context(), s, func([]byte) error { return own }))
		require.NoError(t, r.Close())
		require.ErrorIs(t, read(s), kvferry.ErrClosed)
	})
}

// TestForgottenPacks shows that a pack which was removed is read as long as it
// is open, and not once it was forgotten.
func TestForgottenPacks(t *testing.T) {
	t.Parallel()
	f := makeDir(t, "")
	b := fillPacks(t, options(f, false), 5000)[0]
	r := openReader(t, f, false)
	requireStored(t, r, b)
	require.NoError(t, f.Remove(packfile.Path(b.at.Pack)))
	requireStored(t, r, b)
	require.NoError(t, r.Read(t.Context(), b.at, func(rec []byte) error {
		r.Forget(b.at.Pack) // in use
		return b.check(rec)
	}))
	require.ErrorIs(t, r.Read(t.Context(), b.at, nil), fs.ErrNotExist)
	r.Forget(b.at.Pack)
}

// counted counts the files that are open.
type counted struct {
	vfs.FS
	open, most atomic.Int64
}

type countedFile struct {
	vfs.File
	c *counted
}

func (c *counted) Open(name string, how vfs.Mode) (vfs.File, error) {
	f, err := c.FS.Open(name, how)
	if err != nil {
		return nil, err
	}
	n := c.open.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return &countedFile{f, c}, nil
}

func (f *countedFile) Close() error {
	f.c.open.Add(-1)
	return f.File.Close()
}

// TestOpenFiles reads many packs with few files open.
func TestOpenFiles(t *testing.T) {
	t.Parallel()
	f := &counted{FS: makeDisk(t).Process()}
	o := options(f, false)
	o.PackBytes = 64 << 10
	blobs := fillPacks(t, o, manySizes(100, 40_000)...)
	require.Zero(t, f.open.Load())
	require.Greater(t, len(list(t, f)), 20)
	f.most.Store(0)
	r := packfile.NewReader(packfile.ReaderOptions{FS: f, OpenFiles: 3})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, i := range rand.Perm(len(blobs)) {
				if err := r.Read(t.Context(), blobs[i].at, blobs[i].check); err != nil {
					t.Errorf("blob %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, f.most.Load(), int64(3+4))
	require.LessOrEqual(t, f.open.Load(), int64(3+4))
	require.NoError(t, r.Close())
	require.Zero(t, f.open.Load())
}

func TestReadBatch(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		blobs := fillPacks(t, options(f, direct), manySizes(150, 60_000)...)
		r := openReader(t, f, direct)
		for _, threads := range []int{0, 1, 3} {
			for _, step := range []int{1, 7} { // the second leaves gaps
				var picked []blob
				for _, i := range rand.Perm(len(blobs)) {
					if i%step == 0 {
						picked = append(picked, blobs[i])
					}
				}
				picked = append(picked, picked[0])
				requireBatch(t, r, threads, picked, nil)
			}
		}
		r.ReadBatch(t.Context(), nil, 4, func(int, []byte, error) { t.Error("used") })
	})
}

// requireBatch reads the blobs at once and compares them. Those that wrong names
// fail with its error.
func requireBatch(t *testing.T, r *packfile.Reader, threads int, blobs []blob, wrong map[int]error) {
	t.Helper()
	spots := make([]packfile.Spot, len(blobs))
	for i := range blobs {
		spots[i] = blobs[i].at
	}
	used := make([]atomic.Int64, len(blobs))
	r.ReadBatch(t.Context(), spots, threads, func(i int, rec []byte, err error) {
		used[i].Add(1)
		if want := wrong[i]; want != nil {
			if !errors.Is(err, want) {
				t.Errorf("blob %d: %v instead of %v", i, err, want)
			}
			return
		}
		if err == nil {
			err = blobs[i].check(rec)
		}
		if err != nil {
			t.Errorf("blob %d: %v", i, err)
		}
	})
	for i := range used {
		require.Equal(t, int64(1), used[i].Load(), "blob %d", i)
	}
}

// TestBatchErrors shows that an error concerns one record and not its
// neighbours.
func TestBatchErrors(t *testing.T) {
	t.Parallel()
	d := makeDisk(t)
	o := options(d.Process(), false)
	blobs := fillPacks(t, o, manySizes(40, 8000)...)
	wrong := map[int]error{
		len(blobs): fs.ErrNotExist, len(blobs) + 1: kvferry.ErrCorrupt, len(blobs) + 2: kvferry.ErrCorrupt, len(blobs) + 3: kvferry.ErrCorrupt,
	}
	last := blobs[len(blobs)-1].at
	for _, s := range []packfile.Spot{
		{Pack: 77, Off: 4096, Bytes: 128}, {Pack: 1, Off: last.Off + last.Bytes, Bytes: 1 << 20}, {Pack: 1, Off: -64, Bytes: 128}, {Pack: 1, Off: 4096},
	} {
		blobs = append(blobs, blob{at: s})
	}
	requireBatch(t, openReader(t, d.Process(), false), 3, blobs, wrong)

	// The third read of all, which is one for a record alone, fails.
	var reads atomic.Int64
	f := vfs.WithFaults(d.Process(), func(op, _ string) error {
		if n := reads.Add(1); op == "read" && (n == 3 || n == 5) {
			return syscall.EIO
		}
		return nil
	})
	r := packfile.NewReader(packfile.ReaderOptions{FS: f})
	sound := blobs[:40]
	failed := 0
	spots := make([]packfile.Spot, len(sound))
	for i := range sound {
		spots[i] = sound[i].at
	}
	r.ReadBatch(t.Context(), spots, 1, func(i int, rec []byte, err error) {
		if err != nil {
			require.ErrorIs(t, err, syscall.EIO)
			failed++
			return
		}
		require.NoError(t, sound[i].check(rec))
	})
	require.LessOrEqual(t, failed, 1)
	require.NoError(t, r.Close())
}

func TestBatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	blobs := fillPacks(t, options(f, false), manySizes(50, 300_000)...)
	r := openReader(t, f, false)
	ctx, cancel := context.WithCancel(t.Context())
	spots := make([]packfile.Spot, len(blobs))
	for i := range blobs {
		spots[i] = blobs[i].at
	}
	used, failed := 0, 0
	r.ReadBatch(ctx, spots, 1, func(_ int, _ []byte, err error) {
		used++
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			failed++
		}
	})
	require.Equal(t, len(spots), used)
	require.Positive(t, failed)
}
