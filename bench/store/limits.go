package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
)

// The loop past the page cache has so many goroutines, of which each moves a
// block at a time: what a pack store does at its best, and what the suites
// capture and restore have for a limit.
const (
	loopJobs  = 4
	loopBlock = 4 * miB
)

// diskLimits are the disk's rates in one direction over the rounds: fio's ways,
// and a loop of ours, for fio is not everywhere and its ways are not always the
// fastest.
type diskLimits struct {
	section  *harness.Section
	variants []fioVariant
	fio      []*harness.Figure
	loop     *harness.Figure // nil where the file system has no O_DIRECT
}

func newDiskLimits(s *harness.Section, b *bench, op string, variants []fioVariant) *diskLimits {
	l := &diskLimits{section: s}
	if !b.pastCache {
		s.Miss("fio and a loop past the page cache", "the file system has no O_DIRECT: nothing to hold the rates against")
		return l
	}
	l.loop = limit(s, "op="+op+"/by=direct/block="+sizeKey(loopBlock)+"/jobs="+strconv.Itoa(loopJobs))
	l.loop.Note = "a loop of ours into one file, preallocated"
	if b.fio == "" {
		s.Miss("fio", "not installed: the rates are held against a loop of ours alone")
		return l
	}
	l.variants = variants
	for _, v := range variants {
		l.fio = append(l.fio, limit(s, "op="+op+"/"+v.String()))
	}
	return l
}

// best is the fastest of all ways, or nil where there is none.
func (l *diskLimits) best() *harness.Figure {
	all := l.fio
	if l.loop != nil {
		all = append([]*harness.Figure{l.loop}, all...)
	}
	return harness.Fastest(all)
}

// without goes on without fio if that is what failed, and tells so.
func (l *diskLimits) without(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	l.section.Fail("fio", err, l.fio...)
	l.variants, l.fio = nil, nil
	return nil
}

// write writes new files in each way.
func (l *diskLimits) write(ctx context.Context, b *bench) error {
	var own error // which fio is not to blame for
	err := l.fioRound(func(v fioVariant) (float64, error) {
		dir, err := b.folder("fio")
		if err != nil {
			own = err
			return 0, err
		}
		x, err := b.fioRate(ctx, dir, "write", v, b.fioBytes)
		own = b.drop(dir)
		return x, errors.Join(err, own)
	})
	if own != nil {
		return err
	}
	if err = l.without(ctx, err); err != nil || l.loop == nil {
		return err
	}
	dir, err := b.folder("loop")
	if err != nil {
		return err
	}
	x, err := b.loopRate(ctx, dir, true)
	if err != nil {
		return err
	}
	l.loop.Add(x)
	return b.drop(dir)
}

// fioRound adds what fio does in each of its ways.
func (l *diskLimits) fioRound(once func(v fioVariant) (float64, error)) error {
	for i, v := range l.variants {
		x, err := once(v)
		if err != nil {
			return err
		}
		l.fio[i].Add(x)
	}
	return nil
}

// lay makes the files that read reads, in a folder that the caller drops. Each
// of fio's is as long as the longest that a way wants, and a block more, for the
// lengths are rounded.
func (l *diskLimits) lay(ctx context.Context, b *bench) (dir string, err error) {
	if dir, err = b.folder("limits"); err != nil || l.loop == nil {
		return dir, err
	}
	if _, err = b.loopRate(ctx, dir, true); err != nil || len(l.variants) == 0 {
		return dir, err
	}
	v := fioVariant{"psync", loopBlock, 1, loopJobs}
	_, err = b.fioRate(ctx, dir, "write", v, loopJobs*(b.fioBytes/workers+loopBlock))
	return dir, l.without(ctx, err)
}

// read reads them in each way.
func (l *diskLimits) read(ctx context.Context, b *bench, dir string) error {
	err := l.fioRound(func(v fioVariant) (float64, error) { return b.fioRate(ctx, dir, "read", v, b.fioBytes) })
	if err = l.without(ctx, err); err != nil || l.loop == nil {
		return err
	}
	x, err := b.loopRate(ctx, dir, false)
	if err == nil {
		l.loop.Add(x)
	}
	return err
}

// loopRate writes a new file in dir, durable when the time is taken, or reads
// the one that was written. As many bytes are moved as fio moves.
func (b *bench) loopRate(ctx context.Context, dir string, write bool) (rate float64, err error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_CREATE | os.O_EXCL | os.O_WRONLY
	}
	f, err := openDirect(filepath.Join(dir, "loop"), flags)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf, release, err := alignedBuffer(loopJobs * loopBlock)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	newGenerator().fill(buf, 1)
	n := int(max(b.fioBytes/loopBlock, 1))
	start := time.Now()
	if write {
		if err := allocate(f, int64(n)*loopBlock); err != nil {
			return 0, err
		}
	}
	err = each(ctx, loopJobs, n, func(_ context.Context, w, i int) error {
		block := buf[w*loopBlock : (w+1)*loopBlock]
		if write {
			_, err := f.WriteAt(block, int64(i)*loopBlock)
			return err
		}
		_, err := f.ReadAt(block, int64(i)*loopBlock)
		return err
	})
	if err == nil && write {
		err = f.Sync()
	}
	return harness.Rate(int64(n)*loopBlock, start), err
}
