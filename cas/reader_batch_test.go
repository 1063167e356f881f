package cas_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// batching is a plainStore that reads batches, backwards, as a store may that
// sorts them.
type batching struct {
	plainStore
	batches int
	err     error // of the batch as a whole
}

func (b *batching) GetBatch(ctx context.Context, reqs []cas.Request) error {
	b.batches++
	if b.err != nil {
		return b.err
	}
	for i := len(reqs) - 1; i >= 0; i-- {
		q := &reqs[i]
		q.N, q.Err = b.Get(ctx, q.Digest, q.Dst)
	}
	return nil
}

// batchingAside is a batching that can set blobs aside.
type batchingAside struct {
	batching
	cas.Quarantiner
}

// batch asks for all that a fixture has and for what it has not.
func (f fixture) batch(t *testing.T) (reqs []cas.Request, want []error) {
	t.Helper()
	add := func(d digest.Digest, room int, err error) {
		reqs = append(reqs, cas.Request{Digest: d, Dst: bytes.Repeat([]byte{0xa5}, room), N: -7, Err: errors.New("of an earlier use")})
		want = append(want, err)
	}
	for _, d := range f.good {
		add(d, 5000, nil)
	}
	add(f.bad, 4500, kvferry.ErrCorrupt)
	add(sum(t, digest.BLAKE3, []byte("missing")), 4000, kvferry.ErrNotFound)
	add(digest.Digest{}, 10, kvferry.ErrInvalid)
	add(f.good[0], 3999, kvferry.ErrShortBuffer)
	add(f.good[0], 4000, nil)
	add(f.bad, 4000, nil) // damaged, or set aside by now
	return reqs, want
}

// TestReaderGetBatch: each request ends as its Get would, with a store that
// reads batches and with one that does not, and damage among them is set aside.
func TestReaderGetBatch(t *testing.T) {
	t.Parallel()
	for _, batches := range []bool{true, false} {
		f := newFixture(t)
		b := &batchingAside{batching{plainStore: plainStore{Store: f.store}}, f.store}
		var s cas.Store = b
		if !batches {
			s = &plainStore{Store: f.store}
		}
		reqs, want := f.batch(t)
		require.NoError(t, reader(t, s).GetBatch(t.Context(), reqs))
		last := len(reqs) - 1
		for i, q := range reqs[:last] {
			require.ErrorIs(t, q.Err, want[i])
			switch {
			case q.Err == nil:
				require.Equal(t, f.plain, q.Dst[:q.N])
			case errors.Is(q.Err, kvferry.ErrShortBuffer):
				require.Equal(t, 4000, q.N)
			default:
				require.Zero(t, q.N)
			}
			if errors.Is(q.Err, kvferry.ErrCorrupt) {
				require.Equal(t, make([]byte, 4000), q.Dst[:4000], "nobody uses the bytes by mistake")
			}
		}
		require.Error(t, reqs[last].Err)
		has, err := f.store.Has(t.Context(), f.bad)
		require.NoError(t, err)
		require.Equal(t, !batches, has, "set aside where the store can")
		require.Equal(t, batches, b.batches == 1)
		require.NoError(t, reader(t, s).GetBatch(t.Context(), nil))
	}
}

// TestReaderGetBatchFindsDamage: of small blobs and longer ones in one batch,
// exactly the damaged one is refused, whichever it is, by a reader that is used
// again.
func TestReaderGetBatchFindsDamage(t *testing.T) {
	t.Parallel()
	key := digest.DeriveKey([]byte("salt"))
	tenant, err := digest.NewHasher(digest.KeyedBLAKE3, &key)
	require.NoError(t, err)
	var want []cas.Request // Dst is what the blob is
	for i, n := range []int{2048, 2048, 20 << 10, 0, 15 << 10, 3000, 16 << 10, 100} {
		p := bytes.Repeat([]byte{byte(i + 1)}, n)
		want = append(want, cas.Request{Digest: sum(t, digest.BLAKE3, p), Dst: p})
	}
	want = append(want, cas.Request{Digest: tenant.Sum([]byte("a tenant's")), Dst: []byte("a tenant's")})
	for bad := -1; bad < len(want); bad++ {
		store := &givenStore{fill: func(q *cas.Request, i int) {
			q.N = copy(q.Dst, want[i].Dst)
			if i == bad && q.N > 0 {
				q.Dst[q.N/2] ^= 4
			}
		}}
		r, err := cas.NewReader(store, &key)
		require.NoError(t, err)
		for range 2 {
			reqs := make([]cas.Request, len(want))
			for i := range reqs {
				reqs[i] = cas.Request{Digest: want[i].Digest, Dst: make([]byte, len(want[i].Dst))}
			}
			require.NoError(t, r.GetBatch(t.Context(), reqs))
			for i, q := range reqs {
				if i == bad && len(q.Dst) > 0 {
					require.ErrorIs(t, q.Err, kvferry.ErrCorrupt)
					require.Equal(t, make([]byte, len(q.Dst)), q.Dst)
					continue
				}
				require.NoError(t, q.Err)
				require.Equal(t, want[i].Dst, q.Dst[:q.N])
			}
		}
	}
}

// givenStore is a store whose batches are filled by a function.
type givenStore struct {
	cas.Store
	fill func(q *cas.Request, i int)
}

func (g *givenStore) GetBatch(_ context.Context, reqs []cas.Request) error {
	for i := range reqs {
		g.fill(&reqs[i], i)
	}
	return nil
}

// TestReaderGetBatchKeepsDamaged: a reader that only looks changes nothing in a
// batch either.
func TestReaderGetBatchKeepsDamaged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := &batchingAside{batching{plainStore: plainStore{Store: f.store}}, f.store}
	reqs := []cas.Request{{Digest: f.bad, Dst: make([]byte, 4000)}}
	require.NoError(t, reader(t, b).KeepDamaged().GetBatch(t.Context(), reqs))
	require.ErrorIs(t, reqs[0].Err, kvferry.ErrCorrupt)
	has, err := f.store.Has(t.Context(), f.bad)
	require.NoError(t, err)
	require.True(t, has)
}

// TestReaderGetBatchFails: what ends a batch as a whole is returned, and a store
// that forgets a request does not pass for one that filled it.
func TestReaderGetBatchFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := &batching{plainStore: plainStore{Store: f.store}, err: kvferry.ErrClosed}
	reqs, _ := f.batch(t)
	require.ErrorIs(t, reader(t, b).GetBatch(t.Context(), reqs), kvferry.ErrClosed)

	reqs = []cas.Request{{Digest: f.good[0], Dst: bytes.Clone(f.plain), N: len(f.plain)}}
	require.NoError(t, reader(t, forgetful{f.store}).GetBatch(t.Context(), reqs))
	require.ErrorIs(t, reqs[0].Err, kvferry.ErrCorrupt)
}

// forgetful is a store that leaves the requests of a batch as they are.
type forgetful struct{ cas.Store }

func (forgetful) GetBatch(context.Context, []cas.Request) error { return nil }
