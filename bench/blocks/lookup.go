package blocks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// lookupKeys is how many keys a lookup asks for: a prompt of 32,000 tokens in
// blocks of 16. The last quarter of them is not there.
const lookupKeys = 2000

// lookupGoal bounds the 99th percentile of a lookup while chunks are stored, in
// seconds.
const lookupGoal = 100e-6

// smallBytes is the length of the blobs that are looked for.
const smallBytes = 256

// measureLookups asks a store for many keys, at rest and while it stores.
func measureLookups(ctx context.Context, e *harness.Env, s *harness.Section, sc scale) (err error) {
	s.Note("A store with %d blobs is asked for %d keys, one after the other by one goroutine, three quarters of which it has. "+
		"With stores=run, another goroutine stores chunks of 176 KiB as fast as it can. Percentiles are of the %d lookups of a round.",
		sc.held, lookupKeys, sc.lookups)
	dir, err := e.Folder("lookup")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := pack.Open(dir, pack.Options{CacheBytes: 512 * miB})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	names, err := fill(ctx, st, sc.held)
	if err != nil {
		return err
	}
	var all []*lookups
	for _, stores := range []string{"none", "run"} {
		l := &lookups{store: st, names: names, stores: stores == "run"}
		for _, q := range []string{"p50", "p99"} {
			name := fmt.Sprintf("op=lookup/keys=%d/stores=%s/quantile=%s", lookupKeys, stores, q)
			l.figures = append(l.figures, s.Figure(name, harness.Seconds))
		}
		all = append(all, l)
	}
	all[1].figures[1].Goal = harness.Goal{AtMost: lookupGoal}
	for round := range e.Rounds {
		e.Log("blocks: lookups, round %d", round+1)
		for _, l := range all {
			if err := l.round(ctx, sc.lookups, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill stores n small blobs and returns their names, and then as many that the
// store does not have.
func fill(ctx context.Context, st cas.Store, n int) (names []digest.Digest, err error) {
	sess, err := st.Begin(ctx, cas.SessionOptions{Owner: "bench", Hint: codec.Hint{Mode: codec.OnlyRaw}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sess.Abort(context.WithoutCancel(ctx))) }()
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return nil, err
	}
	var blob [smallBytes]byte
	for i := range 2 * n {
		binary.LittleEndian.PutUint64(blob[:], uint64(i)) //nolint:gosec // not negative
		names = append(names, h.Sum(blob[:]))
		if i < n {
			if _, err := sess.Put(ctx, names[i], blob[:]); err != nil {
				return nil, err
			}
		}
	}
	return names, sess.Flush(ctx)
}

// lookups are those of one kind.
type lookups struct {
	store   cas.Store
	names   []digest.Digest // the first half is there
	stores  bool
	figures []*harness.Figure // p50, p99
}

// round does n lookups.
func (l *lookups) round(ctx context.Context, n, round int) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.stores {
		ended := make(chan error, 1)
		started := make(chan struct{})
		go func() { ended <- keepStoring(ctx, l.store, round, started) }()
		defer func() {
			cancel()
			err = errors.Join(err, <-ended)
		}()
		select {
		case <-started:
		case err := <-ended:
			ended <- nil
			return errors.Join(err, context.Cause(ctx))
		}
	}
	took := make([]time.Duration, n)
	for i := range took {
		if took[i], err = l.once(ctx, i); err != nil {
			return err
		}
	}
	slices.Sort(took)
	for i, q := range []int{50, 99} {
		l.figures[i].Add(took[(n*q-1)/100].Seconds())
	}
	return nil
}

// once asks for the keys of one prompt.
func (l *lookups) once(ctx context.Context, i int) (time.Duration, error) {
	half := len(l.names) / 2
	const there = lookupKeys * 3 / 4
	first := (i * 7919) % (half - there + 1)
	keys := slices.Concat(l.names[first:first+there], l.names[half:half+lookupKeys-there])
	found := 0
	start := time.Now()
	for _, k := range keys {
		ok, err := l.store.Has(ctx, k)
		if err != nil {
			return 0, err
		}
		if ok {
			found++
		}
	}
	took := time.Since(start)
	if found != there {
		return 0, fmt.Errorf("blocks: %d of %d keys found: %w", found, there, kvferry.ErrCorrupt)
	}
	return took, nil
}

// keepStoring stores chunks until ctx ends, closing started after the first.
func keepStoring(ctx context.Context, st cas.Store, round int, started chan<- struct{}) (err error) {
	g := sizes()[1].Geometry
	made, err := pages.Synthetic(g, 8, uint64(round)) //nolint:gosec // not negative
	if err != nil {
		return err
	}
	sess, err := st.Begin(ctx, cas.SessionOptions{Class: cas.Cache, Owner: "bench", Hint: codec.Hint{Mode: codec.OnlyRaw}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sess.Abort(context.WithoutCancel(ctx))) }()
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	for i := uint64(0); ctx.Err() == nil; i++ {
		plain := made.Pages[i%8]
		binary.LittleEndian.PutUint64(plain, uint64(round)<<32|i) //nolint:gosec // not negative
		if _, err := sess.Put(ctx, h.Sum(plain), plain); err != nil && ctx.Err() == nil {
			return err
		}
		if i == 0 {
			close(started)
		}
	}
	return nil
}
