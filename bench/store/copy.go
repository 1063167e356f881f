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

// copyBlock is what the copy loop moves at a time.
const copyBlock = 4 * miB

// copyRate copies a file within dir past the page cache, with so many
// goroutines that each read a block and then write it, into a file that is
// preallocated and synced in the end: what a disk gives whoever copies.
func (b *bench) copyRate(ctx context.Context, jobs int) (float64, error) {
	dir, err := b.folder("copy")
	if err != nil {
		return 0, err
	}
	n := int(max(b.copyBytes/copyBlock, 1))
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to-"+strconv.Itoa(jobs))
	if err := b.copySource(ctx, from, n); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := copyDirect(ctx, from, to, n, jobs); err != nil {
		return 0, err
	}
	x := harness.Rate(int64(n)*copyBlock, start)
	return x, b.drop(dir)
}

// copySource makes the file to copy.
func (b *bench) copySource(ctx context.Context, path string, blocks int) error {
	p := b.pages(copyBlock, int64(blocks)*copyBlock, 1)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = each(ctx, 1, blocks, func(_ context.Context, _, i int) error {
		_, err := f.WriteAt(p.blob(i), int64(i)*copyBlock)
		return err
	})
	return errors.Join(err, f.Sync(), f.Close())
}

func copyDirect(ctx context.Context, from, to string, blocks, jobs int) (err error) {
	in, err := openDirect(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := openDirect(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := allocate(out, int64(blocks)*copyBlock); err != nil {
		return err
	}
	buf, release, err := alignedBuffer(jobs * copyBlock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	err = each(ctx, jobs, blocks, func(_ context.Context, w, i int) error {
		block := buf[w*copyBlock : (w+1)*copyBlock]
		if _, err := in.ReadAt(block, int64(i)*copyBlock); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		_, err := out.WriteAt(block, int64(i)*copyBlock)
		return err
	})
	if err != nil {
		return err
	}
	return out.Sync()
}
