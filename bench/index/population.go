package index

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/kvferry/kvferry/index"
)

// filled is an index with a population that is measured.
type filled struct {
	*opened
	p     *population
	t     *task
	draws draws
	dst   []index.Record
}

// population fills an index and measures it. The steps leave what is in it as
// it was, but for clearing a worker, which is the last.
func (t *task) population(ctx context.Context, rep *Population) (err error) {
	o, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = o.close(err) }()
	rep.Asked = t.Records
	n := t.Records
	if o.b.Most > 0 {
		n = min(n, o.b.Most)
	}
	f := &filled{opened: o, p: newPopulation(n), t: t}
	for _, w := range f.p.workers {
		if err := o.x.Announce(ctx, w, incarnation); err != nil {
			return err
		}
	}
	if err := f.fill(ctx, rep); err != nil {
		return err
	}
	steps := []func(context.Context, *Population) error{f.read, f.snapshot, f.remove, f.batches, f.mixed, f.match}
	if o.b.Persistent {
		steps = append(steps, f.durable)
	}
	if o.b.outlives() {
		steps = append(steps, f.reopened)
	}
	for _, step := range append(steps, f.clearWorkers) {
		if err := step(ctx, rep); err != nil {
			return err
		}
	}
	return nil
}

// fill puts the population, in the way that the backend is made for, and takes
// what the kernel and the runtime say of it.
func (f *filled) fill(ctx context.Context, rep *Population) error {
	rep.Batch, rep.Writers = f.b.Batch, f.b.Writers
	mem, heap, err := f.memory()
	if err != nil {
		return err
	}
	before, err := counted(f.pid)
	if err != nil {
		return err
	}
	var w stopwatch
	for rep.Records < f.p.n && w.total < f.t.Fill {
		rs := f.chunk(rep.Records, rep.Batch*rep.Writers)
		for i := range rs {
			rep.UserBytes += userBytes(&rs[i])
		}
		w.start()
		if err := spread(rep.Writers, len(rs), rep.Batch, func(_, lo, hi int) error { return f.x.Put(ctx, rs[lo:hi]) }); err != nil {
			return err
		}
		w.stop()
		rep.Records += len(rs)
	}
	rep.PutsPerSec, rep.PutsPerCPU = perSecond(rep.Records, w.total), w.perCPU(f.opened, rep.Records)
	start := time.Now()
	if err := f.x.Flush(ctx); err != nil {
		return err
	}
	rep.FlushSecs = time.Since(start).Seconds()
	if rep.Kernel, err = since(f.pid, before); err != nil {
		return err
	}
	f.p.n = rep.Records
	if f.b.Persistent {
		rep.Amplified = ratio(rep.Kernel.WriteBytes, rep.UserBytes)
	}
	if rep.DiskBytes, err = diskBytes(f.dir); err != nil {
		return err
	}
	mem2, heap2, err := f.memory()
	rep.MemoryBytes = float64(mem2-mem) / float64(rep.Records)
	rep.HeapBytes = float64(heap2-heap) / float64(rep.Records)
	return err
}

// chunk makes the next records; at least four calls of every writer.
func (f *filled) chunk(from, least int) []index.Record {
	n := min(f.p.n-from, max(chunk, 4*least))
	rs := make([]index.Record, n)
	for i := range rs {
		rs[i] = f.p.record(from + i)
	}
	return rs
}

// memory returns what the process that holds the index has, and the live heap of
// this one, after a collection.
func (f *filled) memory() (resident, heap int64, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	resident, err = memoryBytes(f.pid)
	return resident, int64(m.HeapAlloc), err
}

// spread gives ranges of at most batch out of n to workers, and returns the
// first error.
func spread(workers, n, batch int, f func(worker, lo, hi int) error) error {
	if workers == 1 {
		for lo := 0; lo < n; lo += batch {
			if err := f(0, lo, min(lo+batch, n)); err != nil {
				return err
			}
		}
		return nil
	}
	return together(workers, func(w int) error {
		for lo := w * batch; lo < n; lo += workers * batch {
			if err := f(w, lo, min(lo+batch, n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// together runs f for all workers at once, and returns the first error.
func together(workers int, f func(worker int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() { errs <- f(w) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
