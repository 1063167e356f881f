package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// collectRounds bounds the rounds: each writes several times what it copies.
const collectRounds = 3

// measureCollect collects stores whose packs are half garbage.
func measureCollect(ctx context.Context, b *bench, s *harness.Section) error {
	size := partSizes()[0]
	s.Note("Two snapshots of %s each are captured at the same time, so that their blobs of %s lie mixed; one is dropped, and "+
		"a collection copies what stays. Its rate is the bytes that it copied by its whole time, marking included. The disk's "+
		"copy rate is a loop that reads %s with O_DIRECT and writes them, into a preallocated file. The foreground captures "+
		"%s after %s, each committed.", harness.SizeText(int(b.collectBytes/2)), harness.SizeText(size), harness.SizeText(copyBlock),
		harness.SizeText(int(b.foreBytes)), harness.SizeText(int(b.foreBytes)))
	jobs := []int{1, 2, loopJobs}
	var loops []*harness.Figure
	for _, n := range jobs {
		loops = append(loops, limit(s, fmt.Sprintf("op=copy/jobs=%d", n)))
	}
	by := "/by=" + b.store.name
	c := &collection{
		gc:      s.Figure("op=collect"+by, harness.BytesPerSecond),
		freed:   s.Figure("op=collect-freed"+by, harness.Times),
		alone:   s.Figure("op=capture"+by, harness.BytesPerSecond),
		beside:  s.Figure("op=capture-beside-collect"+by, harness.BytesPerSecond),
		gcSlow:  s.Figure("op=collect-beside-capture"+by, harness.BytesPerSecond),
		bench:   b,
		half:    int(b.collectBytes / 2 / int64(size)),
		size:    size,
		expects: b.collectBytes / 2,
	}
	for round := range min(b.rounds, collectRounds) {
		for i, f := range loops {
			x, err := b.copyRate(ctx, jobs[i])
			if errors.Is(err, kvferry.ErrUnsupported) {
				continue
			}
			if err != nil {
				return err
			}
			f.Add(x)
		}
		if err := c.round(ctx, uint64(round+1)); err != nil {
			return err
		}
	}
	c.gc.Versus(harness.Fastest(loops), harness.Goal{AtLeast: 0.70})
	c.beside.Versus(c.alone, harness.Goal{AtLeast: 0.60})
	return nil
}

// collection is the figures of measureCollect and what they are taken with.
type collection struct {
	gc, freed, alone, beside, gcSlow *harness.Figure
	bench                            *bench
	half, size                       int
	expects                          int64 // bytes of garbage
	seed                             uint64
}

// round measures one store.
func (c *collection) round(ctx context.Context, round uint64) error {
	root, err := c.bench.folder("collect")
	if err != nil {
		return err
	}
	s, err := c.bench.store.open(root)
	if err != nil {
		return err
	}
	c.seed = round << 32
	if err = errors.Join(c.measure(ctx, s), s.Close()); err != nil {
		return err
	}
	return c.bench.drop(root)
}

func (c *collection) measure(ctx context.Context, s cas.Store) error {
	if err := c.litter(ctx, s); err != nil {
		return err
	}
	moved, r, err := collect(ctx, s)
	if err != nil {
		return err
	}
	if r.MovedBytes > 0 { // else blobs are files, and nothing has to be copied
		c.gc.Add(moved)
		c.freed.Add(float64(r.FreedBytes) / float64(c.expects))
	}
	x, err := c.foreground(ctx, s, max(int(c.expects/c.bench.foreBytes), 1), nil)
	if err != nil {
		return err
	}
	c.alone.Add(x)
	if err := c.litter(ctx, s); err != nil {
		return err
	}
	return c.both(ctx, s)
}

// both collects and captures at the same time.
func (c *collection) both(ctx context.Context, s cas.Store) error {
	var over atomic.Bool
	type result struct {
		moved  float64
		report cas.CollectReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		moved, r, err := collect(ctx, s)
		over.Store(true)
		done <- result{moved, r, err}
	}()
	x, err := c.foreground(ctx, s, 0, &over)
	r := <-done
	if err = errors.Join(err, r.err); err != nil {
		return err
	}
	c.beside.Add(x)
	if r.report.MovedBytes > 0 {
		c.gcSlow.Add(r.moved)
	}
	return nil
}

// litter captures two snapshots blob by blob in turns and drops one.
func (c *collection) litter(ctx context.Context, s cas.Store) error {
	var sessions [2]cas.Session
	var snaps [2]captured
	for i := range sessions {
		sess, err := s.Begin(ctx, rawSession())
		if err != nil {
			return err
		}
		sessions[i], snaps[i] = sess, captured{}
	}
	c.seed++
	p := c.bench.pages(c.size, int64(2*c.half*c.size), c.seed)
	hs, err := hashers(workers)
	if err != nil {
		return err
	}
	all := make([]digest.Digest, p.count)
	err = each(ctx, workers, p.count, func(ctx context.Context, w, i int) error {
		plain := p.blob(i)
		all[i] = hs[w].Sum(plain)
		_, err := sessions[i%2].Put(ctx, all[i], plain)
		return err
	})
	if err != nil {
		return err
	}
	for i, d := range all {
		snaps[i%2].blobs = append(snaps[i%2].blobs, d)
	}
	for i := range sessions {
		if err := commit(ctx, sessions[i], &snaps[i]); err != nil {
			return err
		}
	}
	return s.Catalog().Drop(ctx, snaps[0].root)
}

// collect returns the rate at which a collection copies.
func collect(ctx context.Context, s cas.Store) (float64, cas.CollectReport, error) {
	x, ok := s.(cas.Collector)
	if !ok {
		return 0, cas.CollectReport{}, fmt.Errorf("collection: %w", kvferry.ErrUnsupported)
	}
	start := time.Now()
	r, err := x.Collect(ctx, cas.CollectOptions{References: references(s)})
	return harness.Rate(r.MovedBytes, start), r, err
}

// foreground captures n units, or units until over, and returns the bytes per
// second of those that ended before it was over, of one at least.
func (c *collection) foreground(ctx context.Context, s cas.Store, n int, over *atomic.Bool) (float64, error) {
	start := time.Now()
	var total int64
	var x float64
	for i := 0; over != nil || i < n; i++ {
		c.seed++
		p := c.bench.pages(c.size, c.bench.foreBytes, c.seed)
		got, err := capture(ctx, s, p.count, p.source())
		if err != nil {
			return 0, err
		}
		if over != nil && over.Load() && i > 0 {
			break
		}
		total += got.bytes
		x = harness.Rate(total, start)
	}
	return x, nil
}
