package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry/index"
)

// calls is how many times one thing is done at most.
const calls = 200_000

// read measures one reader. Prefixes are drawn before the clock starts.
func (f *filled) read(ctx context.Context, rep *Population) (err error) {
	s := harnessScope()
	scan := func(prefixes []string, expected int) (Latency, error) {
		return timed(ctx, calls, f.t.Each, func(i int) (n int, err error) {
			f.dst, err = f.x.Scan(ctx, &s, prefixes[i%len(prefixes)], f.dst[:0])
			return len(f.dst), errors.Join(err, atLeast("scan", len(f.dst), expected))
		})
	}
	hits, misses := make([]string, 1<<16), make([]string, 1<<16)
	keys, hashes := make([]index.Key, 1<<14), make([]string, 1<<14)
	for i := range hits {
		hits[i], misses[i] = f.inner(), hashOf(f.p.n+i)
	}
	for i := range keys {
		r := f.p.record(f.draws.below(f.p.n))
		keys[i], hashes[i] = r.Key, r.Hash
	}
	if rep.Scan, err = scan(hits, 1); err != nil {
		return err
	}
	if rep.ScanMiss, err = scan(misses, 0); err != nil {
		return err
	}
	if rep.ScanMiss.Records != 0 {
		return fmt.Errorf("scans for what is not there returned %v records", rep.ScanMiss.Records)
	}
	if rep.ScanLong, err = scan([]string{fanPrefix}, min(f.p.fan, f.p.n)); err != nil {
		return err
	}
	if rep.Locate, err = timed(ctx, calls, f.t.Each, func(i int) (n int, err error) {
		f.dst, err = f.x.Locate(ctx, &keys[i%len(keys)], f.dst[:0])
		return len(f.dst), errors.Join(err, want("locate", len(f.dst), 1))
	}); err != nil {
		return err
	}
	rep.ByHash, err = timed(ctx, calls, f.t.Each, func(i int) (n int, err error) {
		f.dst, err = f.x.ByHash(ctx, hashes[i%len(hashes)], f.dst[:0])
		return len(f.dst), errors.Join(err, want("by hash", len(f.dst), 1))
	})
	return err
}

func atLeast(what string, got, n int) error {
	if got < n {
		return fmt.Errorf("%s returned %d records, want %d", what, got, n)
	}
	return nil
}

// inner draws a prefix with one record.
func (f *filled) inner() string {
	for range 1000 {
		if i := f.draws.below(f.p.n); i > f.p.fan && (i-f.p.fan)%promptBlocks != 0 {
			return hashOf(i - 1)
		}
	}
	return fanPrefix // a population of so few has no other
}

// snapshot visits all records.
func (f *filled) snapshot(ctx context.Context, rep *Population) error {
	n := 0
	start := time.Now()
	_, err := f.x.Snapshot(ctx, func(*index.Record) error { n++; return nil })
	rep.SnapshotSecs = time.Since(start).Seconds()
	return errors.Join(err, want("snapshot", n, f.p.n))
}

// remove takes single blocks away, and puts them again outside the clock.
func (f *filled) remove(ctx context.Context, rep *Population) error {
	var ns []int64
	removals := make([]index.Removal, 1)
	for begin := time.Now(); len(ns) == 0 || time.Since(begin) < f.t.Each && len(ns) < calls; {
		i := f.draws.below(f.p.n)
		removals[0] = f.p.removal(i)
		start := time.Now()
		n, err := f.x.Remove(ctx, removals)
		ns = append(ns, time.Since(start).Nanoseconds())
		if err := errors.Join(err, want("remove", n, 1)); err != nil {
			return err
		}
		if err := f.x.Put(ctx, []index.Record{f.p.record(i)}); err != nil {
			return err
		}
	}
	rep.Remove = latency(ns, len(ns))
	return ctx.Err()
}

// batches puts records that are there again, in calls of several lengths.
func (f *filled) batches(ctx context.Context, rep *Population) error {
	for _, shape := range []shape{{1, 1}, {1, f.t.Clients}, {64, 1}, {512, 1}, {512, f.t.Clients}} {
		p, err := f.puts(ctx, shape.batch, shape.writers, func(context.Context) error { return nil })
		if err != nil {
			return err
		}
		rep.PutsByBatch = append(rep.PutsByBatch, p)
	}
	return nil
}

// shape is how records are put: in calls of batch, by writers at once.
type shape struct{ batch, writers int }

func durableShapes() []shape { return []shape{{1, 1}, {1, 16}, {16, 16}, {256, 16}, {2048, 16}} }

// durable puts records that are there again; each call is followed by a Flush,
// behind which its records are on the disk.
func (f *filled) durable(ctx context.Context, rep *Population) error {
	for _, shape := range durableShapes() {
		if f.b.Most > 0 && shape.batch > 16 {
			break
		}
		p, err := f.puts(ctx, shape.batch, shape.writers, f.x.Flush)
		if err != nil {
			return err
		}
		rep.Durable = append(rep.Durable, p)
	}
	return nil
}

// puts takes the rate of calls of batch records by writers at once, each followed
// by then. Every writer has records of its own, which it made before.
func (f *filled) puts(ctx context.Context, batch, writers int, then func(context.Context) error) (Puts, error) {
	const ready = 16 // calls that a writer goes round in
	rs := make([][]index.Record, writers)
	for w := range rs {
		for range ready * batch {
			rs[w] = append(rs[w], f.p.record(f.draws.below(f.p.n)))
		}
	}
	took, flushes, counts := make([][]int64, writers), make([][]int64, writers), make([]int, writers)
	start := time.Now()
	err := together(writers, func(w int) error {
		for i := 0; i == 0 || time.Since(start) < f.t.Each; i++ {
			own := rs[w][i%ready*batch:][:batch]
			t0 := time.Now()
			if err := f.x.Put(ctx, own); err != nil {
				return err
			}
			t1 := time.Now()
			if err := then(ctx); err != nil {
				return err
			}
			if i < calls {
				took[w] = append(took[w], t1.Sub(t0).Nanoseconds())
				flushes[w] = append(flushes[w], time.Since(t1).Nanoseconds())
			}
			counts[w] += batch
		}
		return nil
	})
	all := time.Since(start)
	p := Puts{Batch: batch, Writers: writers}
	var ns, flushed []int64
	total := 0
	for w := range writers {
		ns, flushed, total = append(ns, took[w]...), append(flushed, flushes[w]...), total+counts[w]
	}
	p.PutsPerSec, p.Call = perSecond(total, all), latency(ns, len(ns)*batch)
	if l := latency(flushed, 0); l.P50US > 1 {
		p.FlushUS = l.P50US
	}
	return p, err
}

// reopened closes the index and opens it again, and tells it of all workers.
func (f *filled) reopened(ctx context.Context, rep *Population) error {
	if err := f.x.Close(); err != nil {
		return err
	}
	if _, _, err := f.memory(); err != nil { // the old index's memory is no part of the new one's time
		return err
	}
	start := time.Now()
	var err error
	if f.x, err = f.b.open(ctx, f.dir, f.addr); err != nil {
		return err
	}
	rep.ReopenMS = milliseconds(time.Since(start))
	start = time.Now()
	for _, w := range append(f.p.workers, matchWorkers()...) {
		if err := f.x.Announce(ctx, w, incarnation); err != nil {
			return err
		}
	}
	rep.AnnounceMS = milliseconds(time.Since(start))
	m, err := f.x.Metrics(ctx)
	return errors.Join(err, want("reopening", int(m.ResidentBlocks), f.p.n+matchRecords(f.b.prompt())))
}

// clearWorkers clears four workers, of equal shares of the population.
func (f *filled) clearWorkers(ctx context.Context, rep *Population) (err error) {
	rep.ClearWorker, err = timed(ctx, 4, time.Hour, func(i int) (int, error) { return f.x.ClearWorker(ctx, f.p.workers[i]) })
	return err
}
