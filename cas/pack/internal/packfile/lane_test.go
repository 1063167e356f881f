package packfile_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		l := openLane(t, options(f, direct))
		r := openReader(t, f, direct)
		var blobs []blob
		for i, n := range []int{0, 1, 100, 4096, 60_000, 70_000, 300_000, 2 << 20, 1, 500_000, 500_000, 500_000, 64 << 10} {
			b := blobOf(uint64(i), n)
			require.NoError(t, b.put(t, l))
			blobs = append(blobs, b)
		}
		require.NoError(t, l.Sync(t.Context()))
		requireStored(t, r, blobs...)
		require.NoError(t, l.Close(t.Context()))
		requireStored(t, r, blobs...)

		h, err := r.Header(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, packfile.Header{ID: 1, Class: packfile.Snapshot, Store: storeID, Stream: 9, Created: now()}, h)
		for _, info := range list(t, f) {
			require.Zero(t, info.Size%vfs.BlockBytes)
			require.LessOrEqual(t, info.Size, int64(3<<20))
		}
		for i, b := range blobs[:len(blobs)-1] {
			if c := blobs[i+1]; b.at.Pack == c.at.Pack {
				require.LessOrEqual(t, b.at.Off+b.at.Bytes, c.at.Off)
			}
			require.True(t, b.at.Off+b.at.Bytes <= 1<<20 || b.at.Off == vfs.BlockBytes, "%+v", b.at)
		}
	})
}

func list(t testing.TB, f vfs.FS) []vfs.Info {
	infos, err := f.List(packfile.Dir)
	require.NoError(t, err)
	return infos
}

func TestSyncBeginsAFreshBlock(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		l := openLane(t, options(f, direct))
		a, b, c := blobOf(1, 10), blobOf(2, 10), blobOf(3, 10)
		require.NoError(t, a.put(t, l))
		require.NoError(t, b.put(t, l))
		require.NoError(t, l.Sync(t.Context()))
		require.NoError(t, c.put(t, l))
		require.Equal(t, int64(4096), a.at.Off)
		require.Equal(t, int64(4096+128), b.at.Off)
		require.Equal(t, int64(8192), c.at.Off)
		id, end, ok := l.Active()
		require.True(t, ok)
		require.Equal(t, c.at.Pack, id)
		require.Equal(t, int64(8192+128), end)
	})
}

func TestReadBuffered(t *testing.T) {
	t.Parallel()
	l := openLane(t, options(makeDir(t, ""), false))
	b := blobOf(1, 1000)
	require.NoError(t, b.put(t, l))
	rec := make([]byte, b.at.Bytes)
	require.True(t, l.ReadBuffered(b.at, rec))
	require.NoError(t, b.check(rec))
	require.False(t, l.ReadBuffered(packfile.Spot{Pack: b.at.Pack, Off: b.at.Off, Bytes: b.at.Bytes + 64}, make([]byte, 4096)))
	require.False(t, l.ReadBuffered(packfile.Spot{Pack: b.at.Pack + 1, Off: b.at.Off, Bytes: b.at.Bytes}, rec))
	require.NoError(t, l.Flush(t.Context()))
	require.False(t, l.ReadBuffered(b.at, rec))
}

func TestEmptyPacksAreRemoved(t *testing.T) {
	t.Parallel()
	f := makeDir(t, "")
	o := options(f, false)
	l := openLane(t, o)
	require.NoError(t, l.Sync(t.Context()))
	require.NoError(t, l.Seal(t.Context()))
	require.NoError(t, l.Close(t.Context()))
	require.Empty(t, list(t, f))
	require.NoError(t, l.Close(t.Context()), "closing twice")
	_, err := l.Append(t.Context(), 128, func([]byte) {})
	require.ErrorIs(t, err, kvferry.ErrClosed)
	require.ErrorIs(t, l.Sync(t.Context()), kvferry.ErrClosed)
}

func TestWrongSizes(t *testing.T) {
	t.Parallel()
	l := openLane(t, options(makeDir(t, ""), false))
	for _, n := range []int64{-64, 0, 1, 63, 65, 4097 * 64} {
		_, err := l.Append(t.Context(), n, func([]byte) {})
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%d", n)
	}
}

func TestSealBeginsANewPack(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		l := openLane(t, options(f, direct))
		a, b := blobOf(1, 5000), blobOf(2, 10)
		require.NoError(t, a.put(t, l))
		require.NoError(t, l.Seal(t.Context()))
		_, _, ok := l.Active()
		require.False(t, ok)
		require.Equal(t, int64(3*4096), list(t, f)[0].Size)
		require.NoError(t, b.put(t, l))
		require.NotEqual(t, a.at.Pack, b.at.Pack)
		require.NoError(t, l.Close(t.Context()))
		requireStored(t, openReader(t, f, direct), a, b)
	})
}

// TestPacksAreLocked shows that a pack is locked while it is written and until
// all of its records are released, and that ids which are taken are passed over.
func TestPacksAreLocked(t *testing.T) {
	t.Parallel()
	f := makeDir(t, "")
	o := options(f, false)
	taken, err := f.Open(packfile.Path(1), vfs.Create)
	require.NoError(t, err)
	require.NoError(t, taken.Close())
	l := openLane(t, o)
	b, c := blobOf(1, 10), blobOf(2, 10)
	require.NoError(t, b.put(t, l))
	require.NoError(t, c.put(t, l))
	require.Equal(t, uint64(2), b.at.Pack)
	h, err := f.Open(packfile.Path(2), vfs.ReadOnly)
	require.NoError(t, err)
	requireLock := func(want bool) {
		free, err := h.TryLock()
		require.NoError(t, err)
		require.Equal(t, want, free)
	}
	requireLock(false)
	l.ReleaseAll([]packfile.Spot{b.at})
	require.NoError(t, l.Seal(t.Context()))
	requireLock(false)
	l.ReleaseAll([]packfile.Spot{c.at, {Pack: 77, Off: 4096, Bytes: 128}})
	requireLock(true)
	require.NoError(t, h.Close())

	// A pack that is closed with its lane is free whatever is released.
	require.NoError(t, b.put(t, l))
	require.NoError(t, l.Seal(t.Context()))
	require.NoError(t, l.Close(t.Context()))
	h, err = f.Open(packfile.Path(b.at.Pack), vfs.ReadOnly)
	require.NoError(t, err)
	requireLock(true)
	l.ReleaseAll([]packfile.Spot{b.at})
	require.NoError(t, h.Close())
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		o := options(f, direct)
		l := openLane(t, o)
		a, torn := blobOf(1, 5000), blobOf(2, 50_000)
		require.NoError(t, a.put(t, l))
		require.NoError(t, l.Sync(t.Context()))
		require.NoError(t, torn.put(t, l))
		require.NoError(t, l.Close(t.Context()))

		offers := []packfile.Spot{ // of nothing, of more than there is, of the right one
			{Pack: 77, Off: 4096}, {Pack: a.at.Pack, Off: 900_000}, {Pack: a.at.Pack, Off: a.at.Off + a.at.Bytes},
		}
		o.Adopt = func() (uint64, int64, bool) {
			if len(offers) == 0 {
				return 0, 0, false
			}
			s := offers[0]
			offers = offers[1:]
			return s.Pack, s.Off, true
		}
		m := openLane(t, o)
		b := blobOf(3, 100)
		require.NoError(t, b.put(t, m))
		require.Equal(t, a.at.Pack, b.at.Pack)
		require.Equal(t, torn.at.Off, b.at.Off)
		require.NoError(t, m.Close(t.Context()))
		requireStored(t, openReader(t, f, direct), a, b)
		require.Len(t, list(t, f), 1)
		require.Equal(t, b.at.Off+4096, list(t, f)[0].Size, "what was not committed is cut off")
	})
}

// TestBusyPacksAreNotAdopted offers the pack of a lane that lives.
func TestBusyPacksAreNotAdopted(t *testing.T) {
	t.Parallel()
	f := makeDir(t, "")
	o := options(f, false)
	l := openLane(t, o)
	a := blobOf(1, 10)
	require.NoError(t, a.put(t, l))
	require.NoError(t, l.Sync(t.Context()))
	offers := 3
	o.Adopt = func() (uint64, int64, bool) { offers--; return a.at.Pack, 8192, offers >= 0 }
	b := blobOf(2, 10)
	require.NoError(t, b.put(t, openLane(t, o)))
	require.NotEqual(t, a.at.Pack, b.at.Pack)
}

// TestBackPressure fills all buffers while the file system waits: then Append
// waits, until its context ends.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	f := vfs.WithFaults(makeDir(t, ""), func(op, _ string) error {
		if op == "write" {
			<-hold
		}
		return nil
	})
	l := openLane(t, options(f, false))
	var blobs []blob
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 6 { // 4 buffers of 192 KiB
		b := blobOf(uint64(i), 90_000)
		require.NoError(t, b.put(t, l))
		blobs = append(blobs, b)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := l.Append(ctx, 4096, func([]byte) {})
		for err == nil {
			_, err = l.Append(ctx, 4096, func([]byte) {})
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v", err)
		}
	})
	cancel()
	wg.Wait()
	for i := range blobs {
		rec := make([]byte, blobs[i].at.Bytes)
		require.True(t, l.ReadBuffered(blobs[i].at, rec))
		require.NoError(t, blobs[i].check(rec))
	}
	close(hold)
	require.NoError(t, l.Sync(t.Context()))
	requireStored(t, openReader(t, f, false), blobs...)
}

func TestConcurrentAppends(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		l := openLane(t, options(f, direct))
		r := openReader(t, f, direct)
		const writers, each = 6, 60
		all := make([][]blob, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					b := blobOf(uint64(w*each+i), (w*7919+i*104729)%40_000)
					if err := putAndRead(t, l, r, &b, i%7 == w); err != nil {
						t.Errorf("writer %d, blob %d: %v", w, i, err)
						return
					}
					all[w] = append(all[w], b)
				}
			})
		}
		wg.Wait()
		require.NoError(t, l.Close(t.Context()))
		for _, blobs := range all {
			requireStored(t, r, blobs...)
		}
	})
}

// putAndRead stores a blob, makes it durable if durable is set, and reads it
// from wherever it is.
func putAndRead(t *testing.T, l *packfile.Lane, r *packfile.Reader, b *blob, durable bool) error {
	if err := b.put(t, l); err != nil {
		return err
	}
	if durable {
		if err := l.Sync(t.Context()); err != nil {
			return err
		}
	}
	rec := make([]byte, b.at.Bytes)
	if l.ReadBuffered(b.at, rec) {
		return b.check(rec)
	}
	return r.Read(t.Context(), b.at, b.check)
}
