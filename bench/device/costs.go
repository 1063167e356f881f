package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// measureCosts finds what a step costs the host, alone and in a batch, and what
// the kernels cost at a start.
func measureCosts(b *bench) error {
	if err := b.open(); err != nil {
		return err
	}
	if err := b.starts(); err != nil {
		return err
	}
	if err := b.kernels(); err != nil {
		return err
	}
	c, err := b.costs()
	if err != nil {
		return err
	}
	for _, n := range b.scale.batches {
		for _, k := range c.kinds {
			r := &row{What: k.name, With: fmt.Sprintf("%d to a submission, each", n), Unit: seconds}
			if err := b.measure(r, func(r *row) error { return c.take(r, k.add, n) }); err != nil {
				return err
			}
		}
	}
	return b.measure(&row{What: "look at an event that is done", Unit: seconds}, func(r *row) error {
		const looks = 1000
		took, err := b.turns(clocked(func() error {
			for range looks {
				if _, err := c.event.Done(); err != nil {
					return err
				}
			}
			return nil
		}))
		if err != nil {
			return err
		}
		for _, t := range took[0] {
			r.Samples = append(r.Samples, t/looks)
		}
		return nil
	})
}

// starts takes the time to have the kernels, without and with a cache.
func (b *bench) starts() error {
	dir := filepath.Join(b.options.work, "pipelines-anew")
	for _, what := range []string{"kernels compiled by the driver", "kernels from the cache"} {
		err := b.measure(&row{What: what, Unit: seconds}, func(r *row) error {
			cache, err := disk.Open(dir, disk.Options{})
			if err != nil {
				return err
			}
			start := time.Now()
			set, err := kernels.Open(b.ctx, b.device, cache)
			if err != nil {
				return err
			}
			b.later(set.Close)
			r.Samples = []float64{time.Since(start).Seconds()}
			r.Note = map[bool]string{true: "compiled", false: "loaded"}[set.Compiled()]
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// costs is what steps are made of.
type costs struct {
	bench        *bench
	stream       *cuda.Stream
	event        *cuda.Event
	host         []byte
	dev          *cuda.Memory
	got, changed cuda.Ptr
	kinds        []costKind
}

type costKind struct {
	name string
	add  func(q *cuda.Submission, n int) error
}

// piece is what one copy moves: a run of TinyLlama's cache.
const piece = 8 << 10

func (b *bench) costs() (*costs, error) {
	most := int64(b.scale.batches[len(b.scale.batches)-1])
	c := &costs{bench: b}
	var err error
	if c.stream, err = b.stream(); err != nil {
		return nil, err
	}
	if c.event, err = b.device.NewEvent(cuda.EventOptions{}); err != nil {
		return nil, err
	}
	b.later(c.event.Close)
	if c.host, err = b.pin(most * piece); err != nil {
		return nil, err
	}
	if c.dev, err = b.alloc(most*piece + 4096); err != nil {
		return nil, err
	}
	if err := b.paint(c.dev); err != nil {
		return nil, err
	}
	c.got = c.dev.Ptr() + cuda.Ptr(most*piece)
	c.changed = c.got + 2048
	c.kinds = []costKind{
		{"launch of a small kernel", c.launches},
		{"record of an event", func(q *cuda.Submission, n int) error {
			for range n {
				q.RecordEvent(c.event)
			}
			return nil
		}},
		{"copy of 8 KiB, device to host, one call each", func(q *cuda.Submission, n int) error { c.copies(q, n, cuda.Single, true); return nil }},
		{"copy of 8 KiB, device to host, one batch", func(q *cuda.Submission, n int) error { c.copies(q, n, cuda.Batch, true); return nil }},
		{"copy of 8 KiB, host to device, one batch", func(q *cuda.Submission, n int) error { c.copies(q, n, cuda.Batch, false); return nil }},
	}
	return c, nil
}

// launches compares one digest with itself, n times over.
func (c *costs) launches(q *cuda.Submission, n int) error {
	for range n {
		if err := c.bench.set.Compare(q, c.got, c.got+1024, 1, 1, c.changed, c.changed+1024); err != nil {
			return err
		}
	}
	return nil
}

// copies adds n copies as one step.
func (c *costs) copies(q *cuda.Submission, n int, m cuda.Method, out bool) {
	list := make([]cuda.Copy, n)
	for i := range list {
		at := cuda.Ptr(i * piece)
		list[i] = cuda.Copy{Dst: address(c.host) + at, Src: c.dev.Ptr() + at, Bytes: piece}
		if !out {
			list[i].Dst, list[i].Src = list[i].Src, list[i].Dst
		}
	}
	q.Copies(list, m)
}

// take fills a row: samples are the host's time until the steps are queued, the
// note is the time until they are done.
func (c *costs) take(r *row, add func(*cuda.Submission, int) error, n int) error {
	var (
		q    cuda.Submission
		done []float64
	)
	if err := add(&q, n); err != nil {
		return err
	}
	took, err := c.bench.turns(func() (float64, error) {
		start := time.Now()
		if _, err := c.stream.Submit(&q); err != nil {
			return 0, err
		}
		queued := time.Since(start).Seconds()
		err := c.stream.Synchronize()
		done = append(done, time.Since(start).Seconds()/float64(n))
		return queued / float64(n), err
	})
	if err != nil {
		return err
	}
	r.Samples = took[0]
	r.Note = "until done " + seconds.text(median(done[1:]))
	return nil
}
