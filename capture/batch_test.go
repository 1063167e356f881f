package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// batchStore is a store that reads batches, in an order of its own.
type batchStore struct {
	*mem.Store
	most atomic.Int64 // requests of the largest batch
	gets atomic.Int64 // blobs read alone
	// fault, if set, is the error of a blob's request.
	fault func(digest.Digest) error
}

var _ cas.BatchGetter = (*batchStore)(nil)

func newBatch(t testing.TB) *batchStore {
	t.Helper()
	s, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &batchStore{Store: s}
}

func (b *batchStore) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	b.gets.Add(1)
	return b.Store.Get(ctx, d, dst)
}

func (b *batchStore) GetBatch(ctx context.Context, reqs []cas.Request) error {
	b.most.Store(max(b.most.Load(), int64(len(reqs))))
	for i := range reqs {
		q := &reqs[len(reqs)-1-i]
		if b.fault != nil {
			if q.Err = b.fault(q.Digest); q.Err != nil {
				continue
			}
		}
		q.N, q.Err = b.Store.Get(ctx, q.Digest, q.Dst)
	}
	return nil
}

// batchWays are the ways by which pages get into an engine.
func batchWays() map[string]synthetic.Ability {
	return map[string]synthetic.Ability{"plain": synthetic.Releaser, "mover": synthetic.Releaser | synthetic.Mover}
}

// TestBatchesComeBackEqual: a store that reads batches is asked for many parts
// at a time, and everything comes back.
func TestBatchesComeBackEqual(t *testing.T) {
	t.Parallel()
	for name, set := range batchWays() {
		for _, n := range []int{0, 1, 7, 64, 5000} {
			for _, workers := range []int{1, 3} {
				s := newBatch(t)
				e := populated(t, 4, 2, 2, 4, pager.BF16, n, 1<<40)
				rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
				require.NoError(t, err)
				s.gets.Store(0)
				dst, err := synthetic.New(synthetic.Options{Meta: e.Meta(), Capacity: n})
				require.NoError(t, err)
				what := fmt.Sprintf("%s, %d pages, %d workers", name, n, workers)
				back, err := capture.Restore(t.Context(), s, rep.Root, dst.With(set), capture.RestoreOptions{Transfer: capture.Transfer{Workers: workers}})
				require.NoError(t, err, what)
				require.Equal(t, n, back.Pages)
				want, _ := content(t, e)
				got, _ := content(t, dst)
				require.Len(t, got, len(want))
				for i, p := range back.Mappings[0].Captured {
					require.Equal(t, want[p], got[back.Mappings[0].Restored[i]], what)
				}
				require.LessOrEqual(t, s.gets.Load(), int64(10), "%s: only the manifest is read alone", what)
				if n >= 64 {
					require.GreaterOrEqual(t, s.most.Load(), int64(8), "%s: batches have many parts", what)
				}
				require.NoError(t, dst.Close())

				var last capture.Progress
				v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{Workers: 1, Progress: func(p capture.Progress) { last = p }})
				require.NoError(t, err)
				require.Empty(t, v.Problems)
				require.EqualValues(t, 2*n, v.Blobs)
				require.Equal(t, 2*n, last.Pages)
			}
		}
	}
}

// TestBatchErrorsNameThePart: an error of one request of a batch ends a restore
// as that of a single read does, with the first page and part that it is about,
// and Verify goes on with the rest of the batch.
func TestBatchErrorsNameThePart(t *testing.T) {
	t.Parallel()
	for name, set := range batchWays() {
		for _, cause := range []error{kvferry.ErrNotFound, kvferry.ErrCorrupt, kvferry.ErrShortBuffer, errMarker} {
			s := newBatch(t)
			e := populated(t, 4, 2, 2, 4, pager.BF16, 64, 1<<40)
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
			require.NoError(t, err)
			snap, _, err := capture.Load(t.Context(), s, rep.Root, capture.LoadOptions{})
			require.NoError(t, err)
			bad := []digest.Digest{snap.Groups[0].Table.Digest(37, 1), snap.Groups[0].Table.Digest(38, 0)}
			s.fault = func(d digest.Digest) error {
				if slices.Contains(bad, d) {
					return fmt.Errorf("blob %v: %w", d, cause)
				}
				return nil
			}
			want := cause
			if errors.Is(cause, kvferry.ErrShortBuffer) {
				want = kvferry.ErrCorrupt
			}
			dst := fresh(t, e)
			_, err = capture.Restore(t.Context(), s, rep.Root, dst.With(set), capture.RestoreOptions{Transfer: capture.Transfer{Workers: 1}})
			require.ErrorIs(t, err, want, name)
			require.ErrorContains(t, err, "part 1 of page 37 of group", name)
			require.Equal(t, 4096, dst.FreePages())

			v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{})
			require.NoError(t, err)
			require.Len(t, v.Problems, 2)
			require.ErrorIs(t, v.Problems[0].Err, want)
			require.Equal(t, []uint32{37}, v.Problems[0].Pages)
			require.Equal(t, []uint32{38}, v.Problems[1].Pages)
			s.fault = nil
		}
	}
}

// TestBatchesFindDamage: bytes that are not their digest's are found in the
// middle of a batch, do not get to the engine, and are set aside.
func TestBatchesFindDamage(t *testing.T) {
	t.Parallel()
	for name, set := range batchWays() {
		s := newBatch(t)
		e := populated(t, 4, 2, 2, 4, pager.BF16, 64, 1<<40)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
		require.NoError(t, err)
		snap, _, err := capture.Load(t.Context(), s, rep.Root, capture.LoadOptions{})
		require.NoError(t, err)
		d := snap.Groups[0].Table.Digest(41, 0)
		require.NoError(t, s.Quarantine(t.Context(), d))
		x, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		_, err = x.Put(t.Context(), d, make([]byte, e.Meta().Parts[0].Bytes)) // not what d says
		require.NoError(t, err)

		dst := fresh(t, e)
		_, err = capture.Restore(t.Context(), s, rep.Root, dst.With(set), capture.RestoreOptions{})
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
		require.ErrorContains(t, err, "part 0 of page 41 of group", name)
		require.Equal(t, 4096, dst.FreePages())
		has, err := s.Has(t.Context(), d)
		require.NoError(t, err)
		require.False(t, has, "set aside")
		v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{})
		require.NoError(t, err)
		require.Len(t, v.Problems, 1)
		require.ErrorIs(t, v.Problems[0].Err, kvferry.ErrNotFound)
		require.NoError(t, x.Abort(t.Context()))
	}
}

// TestDeepCheckReadsBatches: blobs of all lengths are read in batches where that
// is possible, and all damage among them is found.
func TestDeepCheckReadsBatches(t *testing.T) {
	t.Parallel()
	s := newBatch(t)
	e := populated(t, 4, 2, 2, 4, pager.BF16, 300, 1<<40)
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{})
	require.NoError(t, err)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	for _, n := range []int{0, 1, 500_000, 1 << 20, 1<<20 + 1, 3 << 20} { // stored raw, as zeros and otherwise
		for _, b := range [][]byte{make([]byte, n), bytes.Repeat([]byte{7, 1}, n)[:n]} {
			_, err := x.Put(t.Context(), h.Sum(b), b)
			require.NoError(t, err)
		}
	}
	snap, _, err := capture.Load(t.Context(), s, rep.Root, capture.LoadOptions{})
	require.NoError(t, err)
	bad := []digest.Digest{snap.Groups[0].Table.Digest(3, 1), snap.Groups[0].Table.Digest(299, 0)}
	s.fault = func(d digest.Digest) error {
		if slices.Contains(bad, d) {
			return fmt.Errorf("blob %v: %w", d, errMarker)
		}
		return nil
	}
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	for _, workers := range []int{1, 3} {
		s.gets.Store(0)
		var last capture.Progress
		var mu sync.Mutex
		c, err := capture.Check(t.Context(), s, capture.CheckOptions{Workers: workers, Progress: func(p capture.Progress) {
			mu.Lock()
			defer mu.Unlock()
			if p.Bytes > last.Bytes {
				last = p
			}
		}})
		require.NoError(t, err)
		require.True(t, c.Deep)
		require.Equal(t, st.Blobs, c.Blobs)
		require.Equal(t, st.StoredBytes, last.Bytes)
		require.Equal(t, last.TotalBytes, last.Bytes)
		require.Len(t, c.Bad, 2)
		require.Equal(t, 2, c.Snapshots[0].PagesLost)
		require.Less(t, s.gets.Load(), int64(60), "of %d blobs", st.Blobs)
	}
	s.fault = nil
	require.NoError(t, x.Abort(t.Context()))
}
