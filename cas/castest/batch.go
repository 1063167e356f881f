package castest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

var batchTests = []test{
	{name: "outcomes", needs: needs(Batches), run: testBatch},
	{name: "duplicates", needs: needs(Batches), run: testBatchDuplicates},
	{name: "thousands in any order", needs: needs(Batches), run: testBatchMany},
	{name: "cancelled", needs: needs(Batches), run: testBatchCancelled},
	{name: "beside each other", needs: needs(Batches), run: testBatchConcurrent},
	{name: "beside collections", needs: needs(Batches, Collects), run: testBatchCollected},
}

// errStale is what a request may hold before the call.
var errStale = errors.New("of an earlier batch")

// testBatch: each request has the outcome that Get has, whatever it held.
func testBatch(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	var reqs []cas.Request
	var want [][]byte
	for i := range 50 {
		p := noise(uint64(i), 100*i)
		reqs = append(reqs, cas.Request{Digest: put(t, sess, p), Dst: make([]byte, len(p)), N: 7, Err: errStale})
		want = append(want, p)
	}
	reqs[3].Digest = sum(t, digest.BLAKE3, []byte("never put"))
	reqs[4].Dst = reqs[4].Dst[:10]
	reqs[5].Digest = digest.Digest{}
	reqs[6].Dst = make([]byte, 5000) // longer than it needs
	require.NoError(t, s.(cas.BatchGetter).GetBatch(t.Context(), reqs))
	for i, r := range reqs {
		switch i {
		case 3:
			require.ErrorIs(t, r.Err, kvferry.ErrNotFound)
		case 4:
			require.ErrorIs(t, r.Err, kvferry.ErrShortBuffer)
			require.Contains(t, []int{0, 400}, r.N, "announced length")
		case 5:
			require.ErrorIs(t, r.Err, kvferry.ErrInvalid)
		default:
			require.NoError(t, r.Err)
			require.True(t, bytes.Equal(want[i], r.Dst[:r.N]), "request %d", i)
		}
	}
	require.NoError(t, s.(cas.BatchGetter).GetBatch(t.Context(), nil))
}

// testBatchDuplicates: a blob that is asked for several times goes into each
// buffer, one of which is too short.
func testBatchDuplicates(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	var reqs []cas.Request
	var want [][]byte
	for i := range 60 {
		p := contents[i%len(contents)].make(3000 + i%7)
		reqs = append(reqs, cas.Request{Digest: put(t, sess, p), Dst: make([]byte, 4000)})
		want = append(want, p)
	}
	const short = 17
	reqs[short].Dst = make([]byte, 10)
	require.NoError(t, s.(cas.BatchGetter).GetBatch(t.Context(), reqs))
	for i, r := range reqs {
		if i == short {
			require.ErrorIs(t, r.Err, kvferry.ErrShortBuffer)
			continue
		}
		require.NoError(t, r.Err, "request %d", i)
		require.True(t, bytes.Equal(want[i], r.Dst[:r.N]), "request %d", i)
	}
}

// batchOf puts n blobs of many lengths, some of which are flushed, and returns
// requests for them in an order that has nothing to do with that of the puts.
func batchOf(t *testing.T, sess cas.Session, n int) ([]cas.Request, map[digest.Digest][]byte) {
	t.Helper()
	want := map[digest.Digest][]byte{}
	var reqs []cas.Request
	for i := range n {
		p := noise(uint64(i), (i*37)%2500)
		d := put(t, sess, p)
		want[d] = p
		reqs = append(reqs, cas.Request{Digest: d, Dst: bytes.Repeat([]byte{0xa5}, len(p)+16)[:len(p)]})
		if i == n/2 {
			require.NoError(t, sess.Flush(t.Context()))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(reqs), func(i, j int) { reqs[i], reqs[j] = reqs[j], reqs[i] })
	return reqs, want
}

// testBatchMany: a large batch is answered, and its requests stay where the
// caller put them, however the store orders its reads.
func testBatchMany(t *testing.T, c Config) {
	s := c.open(t)
	reqs, want := batchOf(t, begin(t, s), 3000)
	before := slices.Clone(reqs)
	require.NoError(t, s.(cas.BatchGetter).GetBatch(t.Context(), reqs))
	for i, r := range reqs {
		require.Equal(t, before[i].Digest, r.Digest, "request %d", i)
		require.Len(t, r.Dst, len(before[i].Dst))
		if len(r.Dst) > 0 {
			require.Same(t, &before[i].Dst[0], &r.Dst[0], "the buffer of request %d", i)
		}
		require.NoError(t, r.Err)
		require.True(t, bytes.Equal(want[r.Digest], r.Dst[:r.N]), "request %d", i)
		require.Equal(t, bytes.Repeat([]byte{0xa5}, 16), r.Dst[len(r.Dst):len(r.Dst)+16], "bytes behind the buffer")
	}
}

// testBatchCancelled: with a context that has ended nothing is answered, and
// one that ends meanwhile leaves each request right or cancelled.
func testBatchCancelled(t *testing.T, c Config) {
	s := c.open(t)
	reqs, want := batchOf(t, begin(t, s), 1000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.(cas.BatchGetter).GetBatch(ctx, reqs); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	} else {
		for _, r := range reqs {
			require.ErrorIs(t, r.Err, context.Canceled)
		}
	}
	for range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(cancel)
		err := s.(cas.BatchGetter).GetBatch(ctx, reqs)
		wg.Wait()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			continue
		}
		for i, r := range reqs {
			if r.Err != nil {
				require.ErrorIs(t, r.Err, context.Canceled)
				continue
			}
			require.True(t, bytes.Equal(want[r.Digest], r.Dst[:r.N]), "request %d", i)
		}
	}
	require.NoError(t, s.(cas.BatchGetter).GetBatch(t.Context(), reqs), "the store goes on")
}

// testBatchConcurrent: batches of the same blobs beside each other and beside
// puts.
func testBatchConcurrent(t *testing.T, c Config) {
	s := c.open(t)
	sess := begin(t, s)
	reqs, want := batchOf(t, sess, 600)
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			if w == 0 {
				errs[w] = putAndGet(t, s, sess, 1, 200)
				return
			}
			mine := slices.Clone(reqs)
			for i := range mine {
				mine[i].Dst = make([]byte, len(reqs[i].Dst))
			}
			errs[w] = batchIs(t.Context(), s, mine, want)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

// batchIs reads the batch and compares it.
func batchIs(ctx context.Context, s cas.Store, reqs []cas.Request, want map[digest.Digest][]byte) error {
	if err := s.(cas.BatchGetter).GetBatch(ctx, reqs); err != nil {
		return err
	}
	for i, r := range reqs {
		if r.Err != nil {
			return r.Err
		}
		if !bytes.Equal(want[r.Digest], r.Dst[:r.N]) {
			return fmt.Errorf("request %d reads back differently", i)
		}
	}
	return nil
}

// testBatchCollected: what a session holds is in every batch, whatever a
// collection deletes and moves around it meanwhile.
func testBatchCollected(t *testing.T, c Config) {
	s := c.open(t)
	reqs, want := batchOf(t, begin(t, s), 300)
	for round := range 6 {
		garbage := begin(t, s)
		for i := range 100 {
			put(t, garbage, noise(uint64(1000+100*round+i), 2000))
		}
		require.NoError(t, garbage.Flush(t.Context()))
		require.NoError(t, garbage.Abort(t.Context()))
		var wg sync.WaitGroup
		var err, collectErr error
		wg.Go(func() {
			_, collectErr = s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: rootOnly})
		})
		wg.Go(func() { err = batchIs(t.Context(), s, reqs, want) })
		wg.Wait()
		require.NoError(t, err)
		require.NoError(t, collectErr)
	}
}
