package store

import (
	"context"
	"errors"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/cas"
)

// partSizes are the blobs of the sequential measurements: one part of a page of
// 16 tokens, 22 layers, 4 heads of 64 in bf16, which is 176 KiB, and a larger
// one.
func partSizes() []int { return []int{176 * kiB, miB} }

// sequentialGoal is the share of the disk's rate, by fio or by a loop past the
// page cache, that the store has to reach.
func sequentialGoal() harness.Goal { return harness.Goal{AtLeast: 0.85} }

// filled is a store with one snapshot.
type filled struct {
	dir string
	captured
}

// fill makes a new store, captures the set into it and closes it. The time is
// that from the session's begin to its commit, which is durable.
func (b *bench) fill(ctx context.Context, p *pages) (f filled, took time.Duration, used counters, err error) {
	if f.dir, err = b.folder("store"); err != nil {
		return f, 0, used, err
	}
	s, err := b.store.open(f.dir)
	if err != nil {
		return f, 0, used, err
	}
	before, err := count(f.dir)
	if err == nil {
		start := time.Now()
		f.captured, err = capture(ctx, s, p.count, p.source())
		took = time.Since(start)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return f, took, used, err
	}
	after, err := count(f.dir)
	return f, took, after.since(before), err
}

// measureWrite captures sets of pages, in turns with the disk's limits.
func measureWrite(ctx context.Context, b *bench, s *harness.Section) error {
	s.Note("%s of pages that look like bf16 keys and values, %d goroutines that hash with BLAKE3 and put, then a commit; "+
		"all of it is durable when the time is taken. The limit is the fastest of fio's ways and of a loop past the page cache; "+
		"each writes %s in new files and ends with an fsync. "+
		"Processor time is that of the whole process, system calls included.",
		harness.SizeText(int(b.writeBytes)), workers, harness.SizeText(int(b.fioBytes)))
	sizes := partSizes()
	rates := newDiskLimits(s, b, "write", fioVariants(sizes))
	ours, cpu := make([]*harness.Figure, len(sizes)), make([]*harness.Figure, len(sizes))
	for i, size := range sizes {
		ours[i] = s.Figure("op=write/"+b.by(size), harness.BytesPerSecond)
		cpu[i] = s.Figure("op=write-processors/"+b.by(size), harness.Cores)
	}
	for round := range b.rounds {
		if err := rates.write(ctx, b); err != nil {
			return err
		}
		for i, size := range sizes {
			p := b.pages(size, b.writeBytes, uint64(round+1))
			f, took, used, err := b.fill(ctx, p)
			if err != nil {
				return err
			}
			ours[i].Add(float64(f.bytes) / took.Seconds())
			cpu[i].Add(used.cpuSeconds / took.Seconds())
			if err := b.drop(f.dir); err != nil {
				return err
			}
		}
	}
	for i := range ours {
		ours[i].Versus(rates.best(), sequentialGoal())
	}
	return nil
}

// measureRead reads whole snapshots cold, in turns with the disk's limits.
func measureRead(ctx context.Context, b *bench, s *harness.Section) error {
	s.Note("The snapshots are read in their own order by %d goroutines with a cas.Reader each, which hashes every blob and "+
		"compares; stores are opened anew and nothing of them is in the page cache. The share that the kernel counts as read "+
		"from the device for this process shows that.", workers)
	sizes := partSizes()
	rates := newDiskLimits(s, b, "read", fioVariants(sizes))
	stores := make([]filled, len(sizes))
	ours, cpu, cold := make([]*harness.Figure, len(sizes)), make([]*harness.Figure, len(sizes)), make([]*harness.Figure, len(sizes))
	for i, size := range sizes {
		f, _, _, err := b.fill(ctx, b.pages(size, b.writeBytes, uint64(i+1)))
		if err != nil {
			return err
		}
		stores[i] = f
		ours[i] = s.Figure("op=read/"+b.by(size), harness.BytesPerSecond)
		cpu[i] = s.Figure("op=read-processors/"+b.by(size), harness.Cores)
		cold[i] = s.Figure("op=read-device/"+b.by(size), harness.Times)
	}
	fioDir, err := rates.lay(ctx, b)
	if err != nil {
		return err
	}
	for range b.rounds {
		if err := rates.read(ctx, b, fioDir); err != nil {
			return err
		}
		for i, size := range sizes {
			took, used, err := b.readCold(ctx, stores[i], size)
			if err != nil {
				return err
			}
			ours[i].Add(float64(stores[i].bytes) / took.Seconds())
			cpu[i].Add(used.cpuSeconds / took.Seconds())
			cold[i].Add(float64(used.readBytes) / float64(stores[i].bytes))
		}
	}
	for i := range ours {
		ours[i].Versus(rates.best(), sequentialGoal())
		if err := b.drop(stores[i].dir); err != nil {
			return err
		}
	}
	return b.drop(fioDir)
}

// readCold opens a store anew and reads its snapshot from the disk.
func (b *bench) readCold(ctx context.Context, f filled, size int) (took time.Duration, used counters, err error) {
	s, err := b.store.open(f.dir)
	if err != nil {
		return 0, used, err
	}
	took, used, err = readFrom(ctx, s, f, size)
	return took, used, errors.Join(err, s.Close())
}

// readFrom reads a snapshot of an open store from the disk.
func readFrom(ctx context.Context, s cas.Store, f filled, size int) (time.Duration, counters, error) {
	if err := harness.DropCached(f.dir); err != nil {
		return 0, counters{}, err
	}
	before, err := count(f.dir)
	if err != nil {
		return 0, counters{}, err
	}
	start := time.Now()
	err = restore(ctx, s, f.captured, size, workers, dropBlob)
	took := time.Since(start)
	if err != nil {
		return 0, counters{}, err
	}
	after, err := count(f.dir)
	return took, after.since(before), err
}
