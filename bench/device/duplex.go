package main

import (
	"fmt"

	"github.com/kvferry/kvferry/pager"
)

// measureDuplex moves one cache out and another in at the same time, beside two
// contiguous copies at once.
func measureDuplex(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	l, err := interleaved(8<<10, 32, max(1, int(b.scale.linkBytes/(8<<10)/32)))
	if err != nil {
		return err
	}
	size := int64(l.Pages * l.Meta.PageBytes())
	return b.measure(&row{What: "both at once", With: "runs of 8 KiB", Bytes: 2 * size, Goal: goalDuplex}, func(r *row) error {
		d, err := b.duplex(l)
		if err != nil {
			return err
		}
		k, err := b.link(size)
		if err != nil {
			return err
		}
		limit := both(k.out, k.in, address(k.host), k.dev.Ptr(), k.dev2.Ptr(), address(k.host2), size)
		took, err := b.turns(limit, clocked(d.move))
		if err != nil {
			return err
		}
		r.versus(took[1], took[0], "two contiguous copies at once")
		err = d.out.right(d.ids, d.outFrames)
		if err == nil {
			err = b.painted(d.in.memory)
		}
		r.checked(err)
		return nil
	})
}

// duplex is two caches that move in opposite directions.
type duplex struct {
	out, in             *world
	outFrames, inFrames [][]byte
	ids                 []pager.PageID
}

func (b *bench) duplex(l *pager.Layout) (d duplex, err error) {
	if d.out, err = b.world(l, nil); err != nil {
		return d, err
	}
	if d.in, err = b.world(l, nil); err != nil {
		return d, err
	}
	if _, d.outFrames, err = d.out.frames(l.Pages); err != nil {
		return d, err
	}
	if _, d.inFrames, err = d.in.frames(l.Pages); err != nil {
		return d, err
	}
	d.ids = d.out.shuffled()
	if err := d.in.move(pager.Out, d.ids, d.inFrames, d.in.perJob()); err != nil {
		return d, err
	}
	return d, b.wipe(d.in.memory)
}

// move does both.
func (d *duplex) move() error {
	return parallelOn(d.out.bench.ctx, 2, 2, func(i int) error {
		if i == 0 {
			return d.out.move(pager.Out, d.ids, d.outFrames, d.out.perJob())
		}
		return d.in.move(pager.In, d.ids, d.inFrames, d.in.perJob())
	})
}

// measureLoad takes the time until a prefix is in the device's memory.
func measureLoad(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	meta, err := llama8B()
	if err != nil {
		return err
	}
	for _, tokens := range b.scale.loadTokens {
		pages := tokens / int(meta.PageTokens)
		r := &row{What: "load", With: fmt.Sprintf("%d tokens of Llama-3-8B's shape", tokens), Goal: goalLoad}
		err := b.measure(r, func(r *row) error {
			l, err := pager.KVOutermost(meta, pages)
			if err != nil {
				return err
			}
			w, err := b.world(l, nil)
			if err != nil {
				return err
			}
			_, frames, err := w.frames(pages)
			if err != nil {
				return err
			}
			return b.loads(r, w, frames)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loads does it many times.
func (b *bench) loads(r *row, w *world, frames [][]byte) error {
	ids := w.shuffled()
	if err := w.move(pager.Out, ids, frames, w.perJob()); err != nil {
		return err
	}
	if err := b.wipe(w.memory); err != nil {
		return err
	}
	load := w.moving(pager.In, ids, frames, w.perJob())
	for i := 0; i <= b.scale.loads && (i < 2 || !b.late()); i++ {
		took, err := load()
		if err != nil {
			return err
		}
		if i > 0 {
			r.Samples = append(r.Samples, took)
		}
	}
	r.Bytes, r.Unit = int64(len(ids)*w.layout.Meta.PageBytes()), seconds
	r.Note = fmt.Sprintf("p50 %s, p99 %s", seconds.text(median(r.Samples)), seconds.text(quantile(r.Samples, 0.99)))
	r.checked(b.painted(w.memory))
	return nil
}
