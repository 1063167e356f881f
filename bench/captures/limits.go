package captures

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	zeebo "github.com/zeebo/blake3"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/digest/blake3"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	// hashing goroutines, and those that copy.
	hashing = 2
	// writing goroutines, and how much each writes or reads at a time: what a
	// pack store does at its best.
	writing   = 4
	diskBlock = 4 << 20
)

// both runs do with the numbers of goroutines and returns how long they took,
// and the first error.
func both(n int, do func(k int) error) (time.Duration, error) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for k := range n {
		wg.Go(func() { errs[k] = do(k) })
	}
	wg.Wait()
	return time.Since(start), errors.Join(errs...)
}

// hashes are what hashing takes: with the kernel in use, with the library's, and
// with the one in use beside a single copy, without which nothing is captured.
type hashes struct{ ours, library, copied *harness.Figure }

// Parts of smallPart bytes are hashed together, as many as make together bytes:
// a capture does so, and a limit that did not would be none.
const (
	smallPart = 15 << 10
	together  = 64 << 10
)

// summer hashes the parts of pages as a capture does.
type summer struct {
	hasher *digest.Hasher
	part   int
	parts  [][]byte
	sums   []digest.Digest
}

func (w *world) summer() (*summer, error) {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	return &summer{hasher: h, part: w.meta.PageBytes() / 2}, err
}

// step is the length of what is hashed at once.
func (s *summer) step() int {
	if s.part > smallPart {
		return s.part
	}
	return together / s.part * s.part
}

// sum hashes the parts in p.
func (s *summer) sum(p []byte) {
	s.parts = slices.AppendSeq(s.parts[:0], slices.Chunk(p, s.part))
	s.sums = slices.Grow(s.sums[:0], len(s.parts))[:len(s.parts)]
	s.hasher.SumMany(s.sums, s.parts)
}

// hashLimits add what nothing but BLAKE3 takes, of each part of a page by
// itself.
func (w *world) hashLimits() (h hashes) {
	part := w.meta.PageBytes() / 2
	h.copied = w.copyAndHash()
	h.ours = w.rate(w.name("blake3", "by="+blake3.Active()+"/goroutines=2"), harness.Limit, func(context.Context) (time.Duration, error) {
		return both(hashing, func(k int) error {
			s, err := w.summer()
			for at := k * s.step(); at < len(w.flat) && err == nil; at += hashing * s.step() {
				s.sum(w.flat[at:min(at+s.step(), len(w.flat))])
			}
			return err
		})
	})
	if h.library = h.ours; blake3.Active() == "zeebo" {
		return h
	}
	h.library = w.rate(w.name("blake3", "by=zeebo/goroutines=2"), harness.Limit, func(context.Context) (time.Duration, error) {
		return both(hashing, func(k int) error {
			z, sum := zeebo.New(), [32]byte{}
			for at := k * part; at < len(w.flat); at += hashing * part {
				z.Reset()
				_, _ = z.Write(w.flat[at:][:part]) // never fails
				z.Sum(sum[:0])
			}
			return nil
		})
	})
	return h
}

// copyAndHash adds what it takes to copy each part and to hash the copy.
func (w *world) copyAndHash() *harness.Figure {
	return w.rate(w.name("copy-and-hash", "by="+blake3.Active()+"/goroutines=2"), harness.Limit, func(context.Context) (time.Duration, error) {
		to := vfs.Buffer(len(w.flat))
		defer vfs.FreeBuffer(to)
		clear(to) // the system finds the memory now
		return both(hashing, func(k int) error {
			s, err := w.summer()
			for at := k * s.step(); at < len(w.flat) && err == nil; at += hashing * s.step() {
				end := min(at+s.step(), len(w.flat))
				copy(to[at:end], w.flat[at:end])
				s.sum(to[at:end])
			}
			return err
		})
	})
}

// copyLimit adds what a plain copy takes.
func (w *world) copyLimit() {
	size := w.meta.PageBytes()
	w.rate(w.name("memcpy", "goroutines=2"), harness.Limit, func(context.Context) (time.Duration, error) {
		to := vfs.Buffer(len(w.flat))
		defer vfs.FreeBuffer(to)
		clear(to) // the system finds the memory now
		return both(hashing, func(k int) error {
			for at := k * size; at < len(w.flat); at += hashing * size {
				copy(to[at:][:size], w.flat[at:])
			}
			return nil
		})
	})
}

// blocks calls do with what goroutine k is to move.
func (w *world) blocks(k int, do func(p []byte, off int64) error) error {
	whole := len(w.flat) / vfs.BlockBytes * vfs.BlockBytes
	for at := k * diskBlock; at < whole; at += writing * diskBlock {
		if err := do(w.flat[at:min(at+diskBlock, whole)], int64(at)); err != nil {
			return err
		}
	}
	return nil
}

// disk makes a file in a new folder, which done takes away.
func (w *world) disk() (f vfs.File, done func() error, err error) {
	dir, err := os.MkdirTemp(w.dir, "plain-")
	if err != nil {
		return nil, nil, err
	}
	root, err := vfs.OS(dir)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	f, err = root.Open("plain", vfs.Create|vfs.Exclusive|vfs.Direct)
	if err != nil {
		return nil, nil, errors.Join(err, root.Close(), os.RemoveAll(dir))
	}
	return f, func() error { return errors.Join(f.Close(), root.Close(), os.RemoveAll(dir)) }, nil
}

// fill writes the pages to a file and syncs it.
func (w *world) fill(f vfs.File) (time.Duration, error) {
	start := time.Now()
	err := f.Allocate(int64(len(w.flat)))
	if err == nil {
		_, err = both(writing, func(k int) error {
			return w.blocks(k, func(p []byte, off int64) error { _, err := f.WriteAt(p, off); return err })
		})
	}
	err = errors.Join(err, f.Sync())
	return time.Since(start), err
}

// writeLimit adds what the disk takes to hold the bytes of all pages.
func (w *world) writeLimit() *harness.Figure {
	return w.rate(w.name("write", "by=direct"), harness.Limit, func(context.Context) (time.Duration, error) {
		f, done, err := w.disk()
		if err != nil {
			return 0, err
		}
		took, err := w.fill(f)
		return took, errors.Join(err, done())
	})
}

// readLimit adds what the disk takes to give them.
func (w *world) readLimit() (*harness.Figure, error) {
	f, done, err := w.disk()
	if err != nil {
		return nil, err
	}
	w.last = append(w.last, done)
	if _, err := w.fill(f); err != nil {
		return nil, err
	}
	return w.rate(w.name("read", "by=direct"), harness.Limit, func(context.Context) (time.Duration, error) {
		room := vfs.Buffer(writing * diskBlock)
		defer vfs.FreeBuffer(room)
		return both(writing, func(k int) error {
			mine := room[k*diskBlock:][:diskBlock]
			return w.blocks(k, func(p []byte, off int64) error { _, err := f.ReadAt(mine[:len(p)], off); return err })
		})
	}), nil
}
