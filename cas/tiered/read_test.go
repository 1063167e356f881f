package tiered_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/digest"
)

// pair is a write-through store over two stores in memory.
type pair struct {
	*tiered.Store
	near, far *probe
}

func openPair(t testing.TB, o tiered.Options) pair {
	t.Helper()
	p := pair{near: &probe{Store: openMem(t, castest.Setup{}, "")}, far: &probe{Store: openMem(t, castest.Setup{}, "")}}
	o.Near, o.Far = p.near, p.far
	s, err := tiered.Open(t.Context(), o)
	require.NoError(t, err)
	p.Store = s
	t.Cleanup(func() {
		_ = p.Close() // the test may have closed it
		require.NoError(t, p.near.Close())
		require.NoError(t, p.far.Close())
	})
	return p
}

const readers = 64

// TestSingleFlight: however many read a blob, far is asked once, and the
// longer buffers get what the shorter ones could not.
func TestSingleFlight(t *testing.T) {
	t.Parallel()
	s := openPair(t, tiered.Options{})
	p := noise(1, 5000)
	putIn(t, s.far, p)
	asked, release := s.far.hold()
	var wg sync.WaitGroup
	errs := make([]error, readers)
	for i := range errs {
		wg.Go(func() { errs[i] = reads(t.Context(), s, p) })
	}
	<-asked
	until(func() bool { return s.State().Shared >= readers-1 }) // all the others wait for the first one's read
	release()
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 1, s.far.gets.Load())
	require.EqualValues(t, 1, s.State().FarReads)
	idle(s, 1)
	wantBlob(t, s.near, p)
}

// reads gets the blob and compares it.
func reads(ctx context.Context, s cas.Store, p []byte) error {
	buf := make([]byte, len(p))
	n, err := s.Get(ctx, sum(p), buf)
	if err == nil && !bytes.Equal(p, buf[:n]) {
		err = fmt.Errorf("%v reads back differently", sum(p))
	}
	return err
}

// TestOneFarReadEach: readers of many blobs in any order, one by one and in
// batches, cause one far read of each.
func TestOneFarReadEach(t *testing.T) {
	t.Parallel()
	for _, batches := range []bool{false, true} {
		s := openPair(t, tiered.Options{})
		var blobs [][]byte
		for i := range 50 {
			blobs = append(blobs, noise(uint64(i), 100*i))
		}
		putIn(t, s.far, blobs...)
		var wg sync.WaitGroup
		errs := make([]error, readers)
		for w := range errs {
			wg.Go(func() {
				order := rand.New(rand.NewPCG(uint64(w), 1)).Perm(len(blobs))
				if batches && w%2 == 0 {
					errs[w] = readsBatch(t.Context(), s, blobs, order)
					return
				}
				for _, i := range order {
					errs[w] = errors.Join(errs[w], reads(t.Context(), s, blobs[i]))
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		require.EqualValues(t, len(blobs), s.far.gets.Load(), "batches: %t", batches)
		idle(s, int64(len(blobs)))
		require.EqualValues(t, len(blobs), s.State().Promoted)
	}
}

func readsBatch(ctx context.Context, s cas.BatchGetter, blobs [][]byte, order []int) error {
	var reqs []cas.Request
	for _, i := range order {
		reqs = append(reqs, cas.Request{Digest: sum(blobs[i]), Dst: make([]byte, len(blobs[i]))})
	}
	if err := s.GetBatch(ctx, reqs); err != nil {
		return err
	}
	for k, i := range order {
		if reqs[k].Err != nil || !bytes.Equal(blobs[i], reqs[k].Dst[:reqs[k].N]) {
			return fmt.Errorf("blob %d: %w", i, errors.Join(reqs[k].Err, errors.New("is not what was put")))
		}
	}
	return nil
}

// TestBatchOfBatches: a far store that reads batches gets one.
func TestBatchOfBatches(t *testing.T) {
	t.Parallel()
	far := &probe{Store: openMem(t, castest.Setup{}, "")}
	s := openWith(t, tiered.Options{Near: openMem(t, castest.Setup{}, ""), Far: batchProbe{far}})
	var blobs [][]byte
	var order []int
	for i := range 300 {
		blobs, order = append(blobs, noise(uint64(i), 300)), append(order, i)
	}
	putIn(t, far, blobs...)
	require.NoError(t, readsBatch(t.Context(), s, blobs, order))
	require.EqualValues(t, 1, far.batches.Load())
	require.Zero(t, far.gets.Load())
}

// TestCancelledLeader: the read goes on for the others when the call that
// began it gives up, and ends when nobody is left.
func TestCancelledLeader(t *testing.T) {
	t.Parallel()
	s := openPair(t, tiered.Options{})
	p := noise(1, 5000)
	putIn(t, s.far, p)
	asked, release := s.far.hold()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var first, second error
	wg.Go(func() { first = reads(ctx, s, p) })
	<-asked
	wg.Go(func() { second = reads(t.Context(), s, p) })
	until(func() bool { return s.State().Shared > 0 })
	cancel()
	until(func() bool { return s.near.gets.Load() >= 3 }) // two calls and the flight
	release()
	wg.Wait()
	require.ErrorIs(t, first, context.Canceled)
	require.NoError(t, second)
	require.EqualValues(t, 1, s.far.gets.Load())

	q := noise(2, 5000)
	putIn(t, s.far, q)
	asked, release = s.far.hold()
	defer release()
	ctx, cancel = context.WithCancel(t.Context())
	wg.Go(func() { first = reads(ctx, s, q) })
	<-asked
	cancel() // which lets the held read go, or the test would not end
	wg.Wait()
	require.ErrorIs(t, first, context.Canceled)
	s.far.mu.Lock()
	s.far.gate = nil
	s.far.mu.Unlock()
	require.NoError(t, reads(t.Context(), s, q), "a read that was given up is not joined")
}

// TestCloseEndsReads: a read that hangs in far is over when the store closes.
func TestCloseEndsReads(t *testing.T) {
	t.Parallel()
	s := openPair(t, tiered.Options{})
	p := noise(1, 500)
	putIn(t, s.far, p)
	asked, release := s.far.hold()
	defer release()
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = reads(t.Context(), s, p) })
	<-asked
	require.NoError(t, s.Close())
	wg.Wait()
	require.ErrorIs(t, err, kvferry.ErrClosed)
}

// TestBuffersOfOneFlight: calls with buffers of several lengths share a read,
// and each is told what it would be told alone.
func TestBuffersOfOneFlight(t *testing.T) {
	t.Parallel()
	s := openPair(t, tiered.Options{Promote: tiered.PromoteNone})
	p := noise(1, 1000)
	putIn(t, s.far, p)
	for round := range 20 {
		asked, release := s.far.hold()
		var wg sync.WaitGroup
		lens := []int{10, 1000, 999, 5000}
		errs, ns := make([]error, len(lens)), make([]int, len(lens))
		get := func(i int) { ns[i], errs[i] = s.Get(t.Context(), sum(p), make([]byte, lens[i])) }
		wg.Go(func() { get(round % len(lens)) })
		<-asked
		for i := range lens {
			if i != round%len(lens) {
				wg.Go(func() { get(i) })
			}
		}
		release()
		wg.Wait()
		for i, n := range lens {
			if n < 1000 {
				require.ErrorIs(t, errs[i], kvferry.ErrShortBuffer)
				require.Contains(t, []int{0, 1000}, ns[i])
				continue
			}
			require.NoError(t, errs[i], "buffer of %d", n)
			require.Equal(t, 1000, ns[i])
		}
	}
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	p := noise(1, 1000)
	keyed := sumWith(digest.KeyedBLAKE3, p)
	for name, x := range map[string]struct {
		o    tiered.Options
		d    digest.Digest
		data []byte
		want bool
	}{
		"ordinary":           {d: sum(p), data: p, want: true},
		"not wanted":         {o: tiered.Options{Promote: tiered.PromoteNone}, d: sum(p), data: p},
		"keyed":              {d: keyed, data: p},
		"keyed with key":     {o: tiered.Options{Key: testKey()}, d: keyed, data: p, want: true},
		"wrong bytes":        {d: sum(p), data: noise(2, 1000)},
		"no room on the way": {o: tiered.Options{PromoteBytes: 999}, d: sum(p), data: p},
	} {
		s := openPair(t, x.o)
		sess, err := s.far.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		_, err = sess.Put(t.Context(), x.d, x.data)
		require.NoError(t, err)
		n, err := s.Get(t.Context(), x.d, make([]byte, 1000))
		require.NoError(t, err)
		require.Equal(t, 1000, n)
		if x.o.Promote == tiered.PromoteRead {
			idle(s, 1)
		}
		wantHas(t, x.want, s.near, x.d)
		st := s.State()
		require.Equal(t, x.want, st.Promoted == 1, name)
		require.Equal(t, !x.want && x.o.Promote == tiered.PromoteRead, st.NotPromoted == 1, name)
		require.NoError(t, sess.Abort(t.Context()))
	}
}

// TestNearNeverHurts: whatever near's sessions do, reads and write-through
// sessions work.
func TestNearNeverHurts(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"begin", "put", "flush", "get", "collect"} {
		s := openPair(t, tiered.Options{})
		s.near.failsIf(func(at string) error {
			if at == op {
				return syscall.EIO
			}
			return nil
		})
		far, mine := noise(1, 1000), noise(2, 1000)
		putIn(t, s.far, far)
		wantBlob(t, s, far)
		root, err := commit(t.Context(), s, 1, []string{"x"}, mine)
		require.NoError(t, err, op)
		wantBlob(t, s, mine)
		e, err := s.Catalog().Lookup(t.Context(), "x")
		require.NoError(t, err)
		require.Equal(t, root, e.Root)
		_, err = s.Collect(t.Context(), cas.CollectOptions{References: references(s)})
		require.NoError(t, err)
		if op == "put" || op == "begin" {
			idle(s, 1)
		}
		st := s.State()
		if op != "flush" { // what a cache could not flush, nobody misses
			require.Positive(t, st.NearErrors+st.NotPromoted, op)
		}
	}
}

// TestNearFull: a near store that is full and does not evict is no obstacle.
func TestNearFull(t *testing.T) {
	t.Parallel()
	near, far := openMem(t, castest.Setup{QuotaBytes: 3000}, ""), openMem(t, castest.Setup{}, "")
	s := openWith(t, tiered.Options{Near: near, Far: far})
	var blobs [][]byte
	for i := range 10 {
		blobs = append(blobs, noise(uint64(i), 1000))
	}
	putIn(t, far, blobs...)
	for _, p := range blobs {
		wantBlob(t, s, p)
	}
	_, err := commit(t.Context(), s, 1, nil, noise(100, 1000))
	require.NoError(t, err)
	wantBlob(t, s, noise(100, 1000))
	idle(s, 11)
	require.EqualValues(t, 3, s.State().Promoted)
	require.EqualValues(t, 8, s.State().NotPromoted)
}
