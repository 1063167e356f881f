package castest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

const (
	stressWorkers = 4
	stressRounds  = 25 // each worker's, at least
	stressMost    = 2000
	stressDelete  = 50 // blobs that collections must delete among the rounds
	stressPool    = 24 // so few blobs that sessions and collections meet on them
)

// testStress runs sessions that put, find, commit, abort and drop beside a
// loop of collections. No session may lose a blob that it holds, and in the
// end every snapshot in the catalog is whole.
func testStress(t *testing.T, c Config) {
	s := c.open(t)
	pool := make(map[digest.Digest][]byte)
	var digests []digest.Digest
	for i := range stressPool {
		p := noise(uint64(i), 200+300*i)
		d := sum(t, digest.BLAKE3, p)
		pool[d] = p
		digests = append(digests, d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var collector, workers sync.WaitGroup
	var deleted, sessions atomic.Int64
	var collections int
	var collectErr error
	collector.Go(func() { collections, collectErr = collectForever(ctx, s, &deleted) })
	errs := make([]error, stressWorkers)
	for w := range errs {
		workers.Go(func() {
			x := stressWorker{s: s, pool: pool, digests: digests, r: rand.New(rand.NewPCG(uint64(w), 1))}
			for i := 0; i < stressMost && (i < stressRounds || deleted.Load() < stressDelete); i++ {
				if errs[w] = x.round(ctx, fmt.Sprintf("worker %d round %d", w, i)); errs[w] != nil {
					return
				}
				sessions.Add(1)
				runtime.Gosched() // for the collection on few processors
			}
		})
	}
	workers.Wait()
	cancel()
	collector.Wait()
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, collectErr)

	t.Logf("%d collections deleted %d blobs beside %d sessions", collections, deleted.Load(), sessions.Load())
	require.GreaterOrEqual(t, deleted.Load(), int64(stressDelete), "the collections met nothing to delete")
	collect(t, s, cas.CollectOptions{})
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, references(s)(t.Context(), e, func(d digest.Digest) error {
			_, err := r.ReadAll(t.Context(), d, 1<<20)
			return err
		}), "snapshot %v", e.Root)
	}
}

// collectForever collects until ctx ends.
func collectForever(ctx context.Context, s cas.Store, deleted *atomic.Int64) (runs int, err error) {
	for ctx.Err() == nil {
		r, err := s.(cas.Collector).Collect(ctx, cas.CollectOptions{References: references(s)})
		deleted.Add(r.Deleted)
		if err != nil && ctx.Err() == nil {
			return runs, err
		}
		runs++
	}
	return runs, nil
}

// stressWorker is one of the goroutines that write.
type stressWorker struct {
	s       cas.Store
	pool    map[digest.Digest][]byte
	digests []digest.Digest
	r       *rand.Rand
}

// round is one session.
func (w *stressWorker) round(ctx context.Context, manifest string) error {
	sess, err := w.s.Begin(ctx, cas.SessionOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = sess.Abort(context.WithoutCancel(ctx)) }() // nothing to do after a commit
	var held []digest.Digest
	for range 6 {
		d := w.digests[w.r.IntN(len(w.digests))]
		has, err := sess.Has(ctx, d)
		if err == nil && !has {
			_, err = sess.Put(ctx, d, w.pool[d])
		}
		if err != nil {
			return err
		}
		held = append(held, d)
		manifest += "\n" + d.String()
	}
	for _, d := range held {
		if err := w.read(ctx, d); err != nil {
			return fmt.Errorf("%s holds %v: %w", strings.SplitN(manifest, "\n", 2)[0], d, err)
		}
	}
	if w.r.IntN(3) == 0 {
		return sess.Abort(ctx)
	}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	root := h.Sum([]byte(manifest))
	if _, err := sess.Put(ctx, root, []byte(manifest)); err != nil {
		return err
	}
	if err := sess.Commit(ctx, entry(root, time.Unix(0, int64(w.r.Uint32())).UTC())); err != nil {
		return err
	}
	for _, d := range append(held, root) { // protected by the snapshot from now on
		has, err := w.s.Has(ctx, d)
		if err != nil {
			return err
		}
		if !has {
			return fmt.Errorf("blob %v of the committed %v is gone", d, root)
		}
	}
	if w.r.IntN(16) > 0 { // else it stays; few do, for each collection reads them all
		return w.s.Catalog().Drop(ctx, root)
	}
	return nil
}

func (w *stressWorker) read(ctx context.Context, d digest.Digest) error {
	buf := make([]byte, len(w.pool[d]))
	n, err := w.s.Get(ctx, d, buf)
	if err != nil {
		return err
	}
	if !bytes.Equal(buf[:n], w.pool[d]) {
		return errors.New("content differs")
	}
	return nil
}
