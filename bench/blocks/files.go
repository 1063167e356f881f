package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/internal/vfs"
)

// each runs do for 0 to n-1 on the workers and returns the first error, which
// ends it.
func each(ctx context.Context, n int, do func(ctx context.Context, worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, w, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// filesRound moves the set as a tier does that keeps each chunk in a file.
func (w ways) filesRound(ctx context.Context, e *harness.Env, c *set) (err error) {
	dir, err := e.Folder("files")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := harness.SyncFS(dir); err != nil {
		return err
	}
	start, total := time.Now(), int64(len(c.all))
	err = each(ctx, c.count(), func(_ context.Context, _, i int) error {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path+".tmp", c.chunk(i), 0o600); err != nil {
			return err
		}
		return os.Rename(path+".tmp", path)
	})
	if err != nil {
		return err
	}
	w["put"].Add(harness.Rate(total, start))
	if err := harness.SyncFS(dir); err != nil {
		return err
	}
	w["put-sync"].Add(harness.Rate(total, start))
	if err := harness.DropCached(dir); err != nil {
		return err
	}
	for _, f := range []*harness.Figure{w["get"], w["get-warm"]} {
		clear(c.back)
		start := time.Now()
		if err := loadFiles(ctx, dir, c); err != nil {
			return err
		}
		f.Add(harness.Rate(total, start))
		if !bytes.Equal(c.all, c.back) {
			return fmt.Errorf("files came back differently: %w", kvferry.ErrCorrupt)
		}
	}
	return nil
}

func loadFiles(ctx context.Context, dir string, c *set) error {
	return each(ctx, c.count(), func(_ context.Context, _, i int) error {
		f, err := os.Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(f, c.returned(i))
		return errors.Join(err, f.Close())
	})
}

// directBytes is what the limit moves at a time.
const directBytes = 4 * miB

// directRound writes the set into one file past the page cache, and reads it.
func (w ways) directRound(ctx context.Context, e *harness.Env, c *set) (err error) {
	dir, err := e.Folder("direct")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fs, err := vfs.OS(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	f, err := fs.Open("file", vfs.Create|vfs.Direct)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Allocate(int64(len(c.all))); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := harness.SyncFS(dir); err != nil {
		return err
	}
	parts := (len(c.all) + directBytes - 1) / directBytes
	part := func(b []byte, i int) ([]byte, int64) {
		return b[i*directBytes : min(len(b), (i+1)*directBytes)], int64(i) * directBytes
	}
	start := time.Now()
	err = each(ctx, parts, func(_ context.Context, _, i int) error {
		b, at := part(c.all, i)
		_, err := f.WriteAt(b, at)
		return err
	})
	if err = errors.Join(err, f.Sync()); err != nil {
		return err
	}
	w["put-sync"].Add(harness.Rate(int64(len(c.all)), start))
	if !f.Direct() {
		note := "the file system has no direct files"
		w["put-sync"].Note, w["get"].Note = note, note
	}
	if err := harness.DropCached(dir); err != nil {
		return err
	}
	clear(c.back)
	start = time.Now()
	err = each(ctx, parts, func(_ context.Context, _, i int) error {
		b, at := part(c.back, i)
		if n, err := f.ReadAt(b, at); n < len(b) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	w["get"].Add(harness.Rate(int64(len(c.all)), start))
	if !bytes.Equal(c.all, c.back) {
		return fmt.Errorf("a direct file came back differently: %w", kvferry.ErrCorrupt)
	}
	return nil
}
