package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// measureCoded codes pages as planes: within the device's memory, and so that
// they cross the link in fewer bytes.
func measureCoded(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	meta, err := tinyLlama()
	if err != nil {
		return err
	}
	if err := b.codedInMemory(meta); err != nil {
		return err
	}
	return b.codedOverLink(meta)
}

// coding is what pages are coded on.
type coding struct {
	shape                                         planes.Shape
	windows                                       []planes.Params
	pages, payloads, places, params, scratch, bad *cuda.Memory
	stream                                        *cuda.Stream
	request                                       kernels.Planes
}

// tunedPages is how many pages the windows are tuned by.
const tunedPages = 8

// coding takes memory for a set of pages, paints it and tunes the windows.
func (b *bench) coding(meta pager.Meta, size int64) (c coding, err error) {
	c.shape = planes.Shape{Segments: 2 * int(meta.Layers), Rows: int(meta.PageTokens), Cols: int(meta.KVHeads * meta.HeadDim)}
	page := int64(meta.PageBytes())
	count := int(max(1, size/page))
	room := kernels.PlanesBytes(c.shape, 0, count)
	for _, m := range []struct {
		to    **cuda.Memory
		bytes int64
	}{
		{&c.pages, int64(count) * page},
		{&c.payloads, room},
		{&c.places, int64(count+1) * kernels.PlaceBytes},
		{&c.params, int64(c.shape.Segments) * kernels.WindowsBytes},
		{&c.scratch, kernels.PlanesScratch(c.shape, count)},
		{&c.bad, int64(count) * 4},
	} {
		if *m.to, err = b.alloc(m.bytes); err != nil {
			return c, err
		}
	}
	if c.stream, err = b.stream(); err != nil {
		return c, err
	}
	c.request = kernels.Planes{
		Shape: c.shape, Count: count, Pages: c.pages.Ptr(), Stride: page,
		Payloads: c.payloads.Ptr(), PayloadBytes: room, Places: c.places.Ptr(),
	}
	if err := b.paint(c.pages); err != nil {
		return c, err
	}
	return c, b.tune(&c)
}

// tune finds the windows and brings them to the device.
func (b *bench) tune(c *coding) error {
	data, err := b.pool()
	if err != nil {
		return err
	}
	var pages [][]byte
	for i := range min(tunedPages, c.request.Count) {
		p := make([]byte, c.request.Stride)
		pattern(data).copy(p, int64(i)*c.request.Stride)
		pages = append(pages, p)
	}
	if c.windows, err = planes.Tune(c.shape, pages...); err != nil {
		return err
	}
	mem, err := b.pin(c.params.Bytes())
	if err != nil {
		return err
	}
	at := mem[:0]
	for _, w := range c.windows {
		at = kernels.AppendWindows(at, w)
	}
	_, err = contiguous(c.stream, c.params.Ptr(), address(mem), c.params.Bytes())()
	return err
}

// codedInMemory is the rate of the kernels, in bytes of pages.
func (b *bench) codedInMemory(meta pager.Meta) error {
	with := "set of " + bytesText(b.scale.codedBytes)
	err := b.measure(&row{What: "encode", With: with, Goal: goalCoded}, func(r *row) error {
		c, err := b.coding(meta, b.scale.codedBytes)
		if err != nil {
			return err
		}
		if err := b.coded(r, &c, c.encode(b.set)); err != nil {
			return err
		}
		return b.rightPayloads(r, &c)
	})
	if err != nil {
		return err
	}
	return b.measure(&row{What: "decode", With: with, Goal: goalCoded}, func(r *row) error {
		c, err := b.coding(meta, b.scale.codedBytes)
		if err != nil {
			return err
		}
		if err := c.once(c.encode(b.set)); err != nil {
			return err
		}
		if err := b.wipe(c.pages); err != nil {
			return err
		}
		if err := b.coded(r, &c, func(q *cuda.Submission) error { return b.set.DecodePlanes(q, c.request, c.bad.Ptr()) }); err != nil {
			return err
		}
		r.checked(b.painted(c.pages))
		return nil
	})
}

func (c *coding) encode(s *kernels.Set) func(q *cuda.Submission) error {
	return func(q *cuda.Submission) error { return s.EncodePlanes(q, c.request, c.params.Ptr(), c.scratch.Ptr()) }
}

// once runs what add queues, and waits for it.
func (c *coding) once(add ...func(q *cuda.Submission) error) error {
	var q cuda.Submission
	for _, f := range add {
		if err := f(&q); err != nil {
			return err
		}
	}
	if _, err := c.stream.Submit(&q); err != nil {
		return err
	}
	return c.stream.Synchronize()
}

// codedAtOnce is how often a set is coded while one sample is taken, so that the
// end of it is no part of the figure.
const codedAtOnce = 8

// coded fills a row with the rate of what add queues.
func (b *bench) coded(r *row, c *coding, add func(q *cuda.Submission) error) error {
	all := make([]func(q *cuda.Submission) error, codedAtOnce)
	if b.options.small {
		all = all[:1]
	}
	for i := range all {
		all[i] = add
	}
	took, err := b.turns(clocked(func() error { return c.once(all...) }))
	if err != nil {
		return err
	}
	r.Bytes = int64(c.request.Count) * c.request.Stride
	r.Unit, r.Samples = perSecond, rates(float64(r.Bytes)*float64(len(all)), took[0])
	return nil
}

// rightPayloads holds some payloads against those of the host, and notes how
// much the set shrank.
func (b *bench) rightPayloads(r *row, c *coding) error {
	table, err := b.pin(c.places.Bytes())
	if err != nil {
		return err
	}
	if _, err := contiguous(c.stream, address(table), c.places.Ptr(), c.places.Bytes())(); err != nil {
		return err
	}
	total := kernels.PlaceAt(table, c.request.Count).Offset
	if total > uint64(c.request.PayloadBytes) {
		r.checked(fmt.Errorf("%d bytes of payloads in %d: %w", total, c.request.PayloadBytes, errWrong))
		return nil
	}
	r.Note = fmt.Sprintf("to %s of the bytes", percent(float64(total)/float64(r.Bytes)))
	mem, err := b.pin(c.payloads.Bytes())
	if err != nil {
		return err
	}
	if _, err := contiguous(c.stream, address(mem), c.payloads.Ptr(), int64(total))(); err != nil {
		return err
	}
	data, err := b.pool()
	if err != nil {
		return err
	}
	step := max(1, c.request.Count/256)
	r.checked(parallel(b.ctx, (c.request.Count+step-1)/step, func(k int) error {
		return c.rightPayload(data, table, mem[:total], k*step)
	}))
	return nil
}

// rightPayload holds the payload of page i against the host's.
func (c *coding) rightPayload(data pattern, table, payloads []byte, i int) error {
	page := make([]byte, c.request.Stride)
	data.copy(page, int64(i)*c.request.Stride)
	want, err := new(planes.Encoder).Append(nil, page, c.shape, c.windows)
	if err != nil {
		return err
	}
	p := kernels.PlaceAt(table, i)
	if p.Offset > uint64(len(payloads)) || uint64(p.Bytes) > uint64(len(payloads))-p.Offset || !bytes.Equal(payloads[p.Offset:][:p.Bytes], want) {
		return fmt.Errorf("the payload of page %d: %w", i, errWrong)
	}
	return nil
}

// codedOverLink moves pages, that lie in canonical order, coded beside as they
// are, which is then a few large copies: the best that there is.
func (b *bench) codedOverLink(meta pager.Meta) error {
	page := int64(meta.PageBytes())
	l := &pager.Layout{Meta: meta, Pages: b.scale.codedPages, Regions: []pager.Region{{Stride: page, Bytes: int64(b.scale.codedPages) * page}}}
	at := int64(0)
	for _, p := range meta.Parts {
		l.Runs = append(l.Runs, []pager.Run{{Local: at, Bytes: int64(p.Bytes), Count: 1}})
		at += int64(p.Bytes)
	}
	size := int64(l.Pages) * page
	with := fmt.Sprintf("%d pages of %s, canonical", l.Pages, bytesText(page))
	for _, d := range []pager.Direction{pager.Out, pager.In} {
		what := map[pager.Direction]string{pager.Out: "coded out", pager.In: "coded back"}[d]
		err := b.measure(&row{What: what, With: with, Bytes: size, Goal: goalCoded}, func(r *row) error {
			return b.codedWay(r, l, d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// codedWay fills a row of one direction.
func (b *bench) codedWay(r *row, l *pager.Layout, d pager.Direction) error {
	w, err := b.world(l, nil)
	if err != nil {
		return err
	}
	coded := *w
	if err := coded.open(nil, gpu.LinkPlanes); err != nil {
		return err
	}
	ids := ascending(l.Pages)
	_, frames, err := w.frames(l.Pages)
	if err != nil {
		return err
	}
	if err := w.move(pager.Out, ids, frames, w.perJob()); err != nil {
		return err
	}
	took, err := b.turns(w.moving(d, ids, frames, w.perJob()), coded.moving(d, ids, frames, w.perJob()))
	if err != nil {
		return err
	}
	r.versus(took[1], took[0], "the same pages as they are")
	before := coded.pager.Stats()
	if d == pager.In {
		if err := b.wipe(w.memory); err != nil {
			return err
		}
	} else {
		spoil(frames)
	}
	if err := coded.move(d, ids, frames, w.perJob()); err != nil {
		return err
	}
	s := coded.pager.Stats()
	if s.PlainBytes == before.PlainBytes {
		return errors.New("nothing crossed the link coded")
	}
	r.Note = fmt.Sprintf("%s of the bytes cross the link, coded by up to %d goroutines of the host",
		percent(float64(s.CodedBytes-before.CodedBytes)/float64(s.PlainBytes-before.PlainBytes)), gpu.DefaultCoders)
	if d == pager.In {
		r.checked(b.painted(w.memory))
	} else {
		r.checked(w.right(ids, frames))
	}
	return nil
}
