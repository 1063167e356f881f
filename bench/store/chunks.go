package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
)

// measureChunks moves what engines' disk tiers move, in their chunks.
func measureChunks(ctx context.Context, b *bench, s *harness.Section) error {
	s.Note("%s in chunks of %s and in blobs of 80 KiB. Ours is hashed, durable when the time is taken, and verified when it is "+
		"read. The goals are rates that such tiers reached on a machine like this one, without fsync and without a checksum, "+
		"back from the page cache: vLLM's 1.9 GB/s in and 1.5 to 1.7 out at 32 MiB, 0.4 to 1.1 in at 80 KiB; LMCache's 1.8 and "+
		"1.5 to 1.7. Beside ours stands a tier of files that is not slowed down by Python: one file per chunk, written and "+
		"renamed by %d threads, nothing synced, nothing checked.", harness.SizeText(int(b.chunkAll)), harness.SizeText(b.chunkBytes), workers)
	for _, x := range []struct {
		size    int
		in, out harness.Goal
	}{
		{b.chunkBytes, harness.Goal{AtLeast: 1.9e9}, harness.Goal{AtLeast: 1.7e9}},
		{80 * kiB, harness.Goal{AtLeast: 1.1e9}, harness.Goal{}},
	} {
		if err := b.chunksOf(ctx, s, x.size, x.in, x.out); err != nil {
			return err
		}
	}
	return nil
}

// chunksOf measures one size.
func (b *bench) chunksOf(ctx context.Context, s *harness.Section, size int, inGoal, outGoal harness.Goal) error {
	in := s.Figure("op=chunks-in/"+b.by(size), harness.BytesPerSecond)
	out := s.Figure("op=chunks-out/"+b.by(size), harness.BytesPerSecond)
	cold := s.Figure("op=chunks-out-cold/"+b.by(size), harness.BytesPerSecond)
	filesIn := peer(s, "op=chunks-in/by=files/size="+sizeKey(size), harness.BytesPerSecond)
	filesOut := peer(s, "op=chunks-out/by=files/size="+sizeKey(size), harness.BytesPerSecond)
	filesIn.Note, filesOut.Note = "no fsync, no checksum", "no checksum, from the page cache"
	in.Goal, out.Goal = inGoal, outGoal
	for round := range b.rounds {
		p := b.pages(size, b.chunkAll, uint64(round+1))
		f, took, _, err := b.fill(ctx, p)
		if err != nil {
			return err
		}
		in.Add(float64(f.bytes) / took.Seconds())
		c, _, err := b.readCold(ctx, f, size)
		if err != nil {
			return err
		}
		cold.Add(float64(f.bytes) / c.Seconds())
		w, err := b.readWarm(ctx, f, size)
		if err != nil {
			return err
		}
		out.Add(float64(f.bytes) / w.Seconds())
		if err := b.drop(f.dir); err != nil {
			return err
		}
		if err := b.plainFiles(ctx, p, filesIn, filesOut); err != nil {
			return err
		}
	}
	in.Beside(filesIn)
	out.Beside(filesOut)
	return nil
}

// readWarm reads a snapshot right after another reading of it.
func (b *bench) readWarm(ctx context.Context, f filled, size int) (time.Duration, error) {
	s, err := b.store.open(f.dir)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	err = restore(ctx, s, f.captured, size, workers, dropBlob)
	took := time.Since(start)
	return took, errors.Join(err, s.Close())
}

// plainFiles is a tier that keeps each chunk in a file.
func (b *bench) plainFiles(ctx context.Context, p *pages, in, out *harness.Figure) error {
	dir, err := b.folder("tier")
	if err != nil {
		return err
	}
	start := time.Now()
	err = each(ctx, workers, p.count, func(_ context.Context, _, i int) error {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := writeFile(path+".tmp", p.blob(i), false); err != nil {
			return err
		}
		return os.Rename(path+".tmp", path)
	})
	if err != nil {
		return err
	}
	in.Add(harness.Rate(int64(p.count)*int64(p.size), start))
	bufs := make([][]byte, workers)
	for w := range bufs {
		bufs[w] = make([]byte, p.size)
	}
	start = time.Now()
	err = each(ctx, workers, p.count, func(_ context.Context, w, i int) error {
		f, err := os.Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(f, bufs[w])
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return err
	}
	out.Add(harness.Rate(int64(p.count)*int64(p.size), start))
	return b.drop(dir)
}
