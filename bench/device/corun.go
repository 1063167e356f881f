package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// measureCorun sees how much of a model's work is left beside copies.
func measureCorun(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	l, err := interleaved(8<<10, 32, max(1, int(b.scale.linkBytes/(8<<10)/32)))
	if err != nil {
		return err
	}
	d, err := b.duplex(l)
	if err != nil {
		return err
	}
	p, err := b.product(b.scale.matrix)
	switch {
	case err == nil:
		err = b.measure(&row{What: p.name(), With: "alone, elements compared with the host's"}, func(r *row) error {
			r.checked(p.check())
			return nil
		})
		err = errors.Join(err, b.beside(d, p, true))
	case errors.Is(err, kvferry.ErrUnsupported):
		err = errors.Join(b.missing("matrix product in this process", goalCorunOne, err), b.missing("matrix product in this process", goalCorunBoth, err))
	}
	if err != nil {
		return err
	}
	if err := b.besideDigests(d); err != nil {
		return err
	}
	return b.besidePyTorch(d)
}

// beside measures a load alone, copies alone, and both, in turns.
func (b *bench) beside(d duplex, w load, answers bool) error {
	out := func() error { return d.out.move(pager.Out, d.ids, d.outFrames, d.out.perJob()) }
	in := func() error { return d.in.move(pager.In, d.ids, d.inFrames, d.in.perJob()) }
	bytes := float64(len(d.ids) * d.out.layout.Meta.PageBytes())
	for _, c := range []struct {
		with  string
		goal  goalID
		moves []func() error
	}{
		{"beside copies to the host", goalCorunOne, []func() error{out}},
		{"beside copies to the device", goalCorunOne, []func() error{in}},
		{"beside copies both ways", goalCorunBoth, []func() error{out, in}},
	} {
		r := &row{What: w.name(), With: c.with, Unit: w.unit()}
		if answers {
			r.Goal = c.goal
		}
		err := b.measure(r, func(r *row) error {
			var alone, with, moved, copies []float64
			for range max(1, b.scale.rounds/2) {
				a, err := w.rate(b.scale.window)
				if err != nil {
					return err
				}
				_, full, err := b.during(c.moves, bytes, b.idle)
				if err != nil {
					return err
				}
				v, copied, err := b.during(c.moves, bytes, func() (float64, error) { return w.rate(b.scale.window) })
				if err != nil {
					return err
				}
				alone, with, moved, copies = append(alone, a), append(with, v), append(moved, copied), append(copies, full)
			}
			r.Samples, r.Ratios, r.Limit = with, ratios(with, alone), "itself alone"
			r.Copies = ratios(moved, copies)
			r.Note = fmt.Sprintf("alone %s; copies at %s, alone %s: %s", w.unit().text(median(alone)), perSecond.text(median(moved)),
				perSecond.text(median(copies)), percent(median(r.Copies)))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// idle is half a window in which copies are alone.
func (b *bench) idle() (float64, error) {
	t := time.NewTimer(b.scale.window / 2)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.ctx.Done():
	}
	return 0, b.ctx.Err()
}

// during runs f while each of moves goes on and on, and returns what f does and
// the rate of the moves of bytes each.
func (b *bench) during(moves []func() error, bytes float64, f func() (float64, error)) (value, rate float64, err error) {
	ctx, stop := context.WithCancel(b.ctx)
	counts, ends := make([]int, len(moves)), make(chan error, len(moves))
	start := time.Now()
	for i, move := range moves {
		go func() {
			var err error
			for ctx.Err() == nil && err == nil {
				err = move()
				counts[i]++
			}
			ends <- err
		}()
	}
	value, err = f()
	stop()
	for range moves {
		err = errors.Join(err, <-ends)
	}
	took, total := time.Since(start).Seconds(), 0
	for _, n := range counts {
		total += n
	}
	return value, bytes * float64(total) / took, err
}

// digests is hashing as a load: every multiprocessor computes, and the compiler
// of matmul.cu is not needed.
type digests struct {
	hashing
	bench *bench
	q     cuda.Submission
}

var _ load = (*digests)(nil)

func (d *digests) name() string { return "BLAKE3 in this process" }
func (d *digests) unit() unit   { return perSecond }

func (d *digests) rate(t time.Duration) (float64, error) {
	return sustained(d.stream, d.bench.device, &d.q, t, 2, float64(d.count)*float64(d.meta.PageBytes()))
}

func (b *bench) besideDigests(d duplex) error {
	h, err := b.hashing(b.scale.linkBytes)
	if err != nil {
		return err
	}
	w := &digests{hashing: h, bench: b}
	if err := b.set.HashPages(&w.q, h.pages.Ptr(), int64(h.meta.PageBytes()), h.request()); err != nil {
		return err
	}
	return b.beside(d, w, false)
}
