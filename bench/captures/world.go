package captures

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// world is one cache and what is measured of it.
type world struct {
	env  *harness.Env
	s    *harness.Section
	c    cache
	dir  string
	meta pager.Meta
	from *synthetic.Engine
	to   *synthetic.Engine // of restores; nil if there are none
	// flat holds the same pages, one behind the other, for what hashes, copies
	// and writes them and nothing else.
	flat []byte
	all  []harness.Measure
	last []func() error // to be closed, the latest first
}

func newWorld(ctx context.Context, e *harness.Env, s *harness.Section, c cache) (w *world, err error) {
	w = &world{env: e, s: s, c: c}
	defer func() {
		if err != nil {
			err = w.close(err)
		}
	}()
	g := c.geometry
	if w.meta, err = pager.Plain(uint32(g.Tokens), uint32(g.Layers), uint32(g.Heads), uint32(g.Dim), pager.BF16); err != nil {
		return w, err
	}
	if w.dir, err = e.Folder(s.Name); err != nil {
		return w, err
	}
	w.last = append(w.last, func() error { return os.RemoveAll(w.dir) })
	n := max(int(c.bytes/int64(w.meta.PageBytes())), 1)
	if w.from, err = w.engine(n); err != nil {
		return w, err
	}
	if err := w.from.PopulateKV(n, 1); err != nil {
		return w, err
	}
	size := w.meta.PageBytes()
	w.flat = vfs.Buffer(n * size)
	w.last = append(w.last, func() error { vfs.FreeBuffer(w.flat); return nil })
	for i := range n {
		if err := w.from.ReadPage(ctx, pager.PageID(i), w.flat[i*size:][:size]); err != nil {
			return w, err
		}
	}
	return w, nil
}

// close ends everything, whatever err was before.
func (w *world) close(err error) error {
	for i := len(w.last) - 1; i >= 0; i-- {
		err = errors.Join(err, w.last[i]())
	}
	return err
}

// engine makes one that holds n pages.
func (w *world) engine(n int) (*synthetic.Engine, error) {
	e, err := synthetic.New(synthetic.Options{Meta: w.meta, Capacity: n})
	if err == nil {
		w.last = append(w.last, e.Close)
	}
	return e, err
}

// pages is how many there are.
func (w *world) pages() int { return len(w.flat) / w.meta.PageBytes() }

// memory makes a store in memory that waits for none.
func (w *world) memory() (*mem.Store, error) {
	slack := int64(w.pages())*512 + 1<<20 // page table, manifest and rounding
	n := int64(len(w.flat))
	return mem.Open(mem.Options{ReserveBytes: n + n/16 + slack, ReserveBlobs: 2*w.pages() + 1024})
}

// packs makes a store on the disk.
func (w *world) packs() (*pack.Store, error) {
	dir, err := os.MkdirTemp(w.dir, "pack-")
	if err != nil {
		return nil, err
	}
	return pack.Open(dir, pack.Options{})
}

// figure adds one that tells of the cache, in bytes of K and V per second.
func (w *world) figure(name string, role harness.Role) *harness.Figure {
	f := w.s.Figure(name, harness.BytesPerSecond)
	f.Role = role
	return f
}

// name is that of a figure: what is done, with the cache, and the rest.
func (w *world) name(op, rest string) string {
	return fmt.Sprintf("op=%s/data=%s/%s", op, w.c.name, rest)
}

// rate adds a figure of what once takes for all pages, and returns it. once
// returns the time that counts.
func (w *world) rate(name string, role harness.Role, once func(ctx context.Context) (time.Duration, error)) *harness.Figure {
	f := w.figure(name, role)
	w.all = append(w.all, harness.Measure{Figure: f, Once: func(ctx context.Context) (float64, error) {
		var total time.Duration
		for range w.c.times {
			took, err := once(ctx)
			if err != nil {
				return 0, err
			}
			total += took
		}
		return float64(len(w.flat)) * float64(w.c.times) / total.Seconds(), nil
	}})
	return f
}

// turns measures everything, in turns.
func (w *world) turns(ctx context.Context) error { return harness.Turns(ctx, w.env.Rounds, w.all...) }
