package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// world is a cache in device memory, filled with the pattern, and its pager.
type world struct {
	bench  *bench
	layout *pager.Layout
	memory *cuda.Memory
	// places is where each region begins in the memory.
	places []int64
	engine *engine
	pager  *gpu.Pager
	view   pager.Pager
	mover  pager.Mover
}

// world makes one, until the row is done. paths may be nil.
func (b *bench) world(l *pager.Layout, paths *gpu.Paths) (*world, error) {
	if err := b.kernels(); err != nil {
		return nil, err
	}
	w := &world{bench: b, layout: l, engine: newEngine(l.Pages)}
	size := int64(0)
	for _, r := range l.Regions {
		w.places = append(w.places, size)
		size += (r.Bytes + 255) / 256 * 256
	}
	var err error
	if w.memory, err = b.alloc(size); err != nil {
		return nil, err
	}
	if err := b.paint(w.memory); err != nil {
		return nil, err
	}
	return w, w.open(paths, gpu.LinkPlain)
}

// open makes a pager of the world's memory, until the row is done.
func (w *world) open(paths *gpu.Paths, link gpu.Link) (err error) {
	b := w.bench
	cfg := gpu.Config{Device: b.device, Kernels: b.set, Layout: w.layout, Engine: w.engine, Paths: paths, Link: link}
	for _, at := range w.places {
		cfg.Regions = append(cfg.Regions, w.memory.Ptr()+cuda.Ptr(at))
	}
	if w.pager, err = gpu.New(cfg); err != nil {
		return err
	}
	b.later(w.pager.Close)
	w.view = w.pager.View()
	mover, ok := w.view.(pager.Mover)
	if !ok {
		return fmt.Errorf("the pager has no Mover: %w", kvferry.ErrUnsupported)
	}
	w.mover = mover
	return nil
}

// shuffled returns the pages in an order that lets no two neighbours be merged,
// but by accident.
func (w *world) shuffled() []pager.PageID {
	ids := ascending(w.layout.Pages)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // an order that can be repeated, not a secret
	random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids
}

// frames takes pinned memory for n pages.
func (w *world) frames(n int) ([]byte, [][]byte, error) {
	size := w.layout.Meta.PageBytes()
	mem, err := w.bench.pin(int64(n) * int64(size))
	if err != nil {
		return nil, nil, err
	}
	return mem[:n*size], cut(mem, n, size), nil
}

// cut returns the first n frames of size bytes in mem.
func cut(mem []byte, n, size int) [][]byte {
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = mem[i*size:][:size:size]
	}
	return frames
}

// inFlight is how many jobs are under way at once, jobTime the longest one.
const (
	inFlight = 4
	jobTime  = 30 * time.Second
)

// move copies pages in jobs of perJob pages. Whatever happens, nothing is under
// way when it returns, unless the error says that this is not known.
func (w *world) move(d pager.Direction, ids []pager.PageID, frames [][]byte, perJob int) error {
	var (
		tickets []pager.Ticket
		failed  error
	)
	for at := 0; at < len(ids) && failed == nil; at += perJob {
		if len(tickets) == inFlight {
			failed = w.wait(tickets[0])
			tickets = tickets[1:]
		}
		end := min(len(ids), at+perJob)
		t, err := w.mover.Submit(w.bench.ctx, pager.Job{
			Direction: d, Pages: ids[at:end], Frames: frames[at:end], Deadline: time.Now().Add(jobTime),
		})
		if err == nil {
			tickets = append(tickets, t)
		}
		failed = errors.Join(failed, err)
	}
	for _, t := range tickets {
		failed = errors.Join(failed, w.wait(t))
	}
	return failed
}

// wait waits for the end of a job, which its deadline bounds.
func (w *world) wait(t pager.Ticket) error {
	c, err := w.mover.Wait(context.WithoutCancel(w.bench.ctx), t)
	return errors.Join(err, c.Err)
}

// moving is move as something that takes time.
func (w *world) moving(d pager.Direction, ids []pager.PageID, frames [][]byte, perJob int) timed {
	return clocked(func() error { return w.move(d, ids, frames, perJob) })
}

// perJob returns how many pages make a job of the scale's bytes.
func (w *world) perJob() int {
	return max(1, int(w.bench.scale.jobBytes/int64(w.layout.Meta.PageBytes())))
}

// pieces calls f for each contiguous piece of page id: where it is in a memory
// whose regions begin at places, and where in the canonical page.
func pieces(l *pager.Layout, places []int64, id pager.PageID, f func(at, canonical, bytes int64) bool) bool {
	base := int64(0)
	for i, runs := range l.Runs {
		for _, r := range runs {
			region := l.Regions[r.Region]
			at := places[r.Region] + region.Offset + int64(id)*region.Stride + r.Local
			for k := range r.Count {
				if !f(at+k*r.LocalStride, base+r.Canonical+k*r.CanonicalStride, r.Bytes) {
					return false
				}
			}
		}
		base += int64(l.Meta.Parts[i].Bytes)
	}
	return true
}

// holds reports whether frame holds the canonical bytes that page id has under
// the pattern.
func (w *world) holds(data pattern, frame []byte, id pager.PageID) bool {
	return pieces(w.layout, w.places, id, func(at, canonical, bytes int64) bool {
		return data.equal(frame[canonical:canonical+bytes], at)
	})
}

// right returns an error unless each frame holds its page.
func (w *world) right(ids []pager.PageID, frames [][]byte) error {
	data, err := w.bench.pool()
	if err != nil {
		return err
	}
	return parallel(w.bench.ctx, len(ids), func(i int) error {
		if !w.holds(data, frames[i], ids[i]) {
			return wrongPage(ids[i])
		}
		return nil
	})
}

// spoil makes frames, that a copy is to fill, nothing like what it has to bring.
func spoil(frames [][]byte) {
	// Nobody stops it, so that nothing can fail.
	_ = parallel(context.Background(), len(frames), func(i int) error {
		for k := range frames[i] {
			frames[i][k] = 0xee
		}
		return nil
	})
}
