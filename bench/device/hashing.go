package main

import (
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// hashing is what digests run on.
type hashing struct {
	meta    pager.Meta
	parts   []kernels.Part
	pages   *cuda.Memory // canonical pages, one after the other, or a cache
	digests *cuda.Memory
	scratch *cuda.Memory
	numbers *cuda.Memory
	stream  *cuda.Stream
	count   int
}

// places returns where regions begin that follow each other without gaps.
func places(l *pager.Layout) []int64 {
	var out []int64
	at := int64(0)
	for _, r := range l.Regions {
		out = append(out, at)
		at += r.Bytes
	}
	return out
}

// runs puts a layout whose regions follow each other from base onto the device.
func (b *bench) runs(l *pager.Layout, base cuda.Ptr) (*kernels.Runs, error) {
	m, err := l.Compile()
	if err != nil {
		return nil, err
	}
	var runs []kernels.Run
	for _, r := range m.Runs() {
		region := l.Regions[r.Region]
		runs = append(runs, kernels.Run{
			Address: base + cuda.Ptr(places(l)[r.Region]+region.Offset+r.Local), PageStride: region.Stride, LocalStride: r.LocalStride,
			Canonical: r.Canonical, CanonicalStride: r.CanonicalStride, Bytes: r.Bytes, Count: r.Count,
		})
	}
	on, err := b.set.NewRuns(runs, int64(l.Meta.PageBytes()))
	if err == nil {
		b.later(on.Close)
	}
	return on, err
}

// hashing takes memory for a set of pages and paints it.
func (b *bench) hashing(size int64) (h hashing, err error) {
	if h.meta, err = tinyLlama(); err != nil {
		return h, err
	}
	at := int64(0)
	for _, p := range h.meta.Parts {
		h.parts = append(h.parts, kernels.Part{Offset: at, Bytes: int64(p.Bytes)})
		at += int64(p.Bytes)
	}
	h.count = int(max(1, size/at))
	for _, m := range []struct {
		to    **cuda.Memory
		bytes int64
	}{
		{&h.pages, int64(h.count) * at},
		{&h.digests, int64(h.count*len(h.parts)) * kernels.DigestBytes},
		{&h.scratch, max(16, kernels.ScratchBytes(h.parts, h.count))},
		{&h.numbers, int64(h.count) * 4},
	} {
		if *m.to, err = b.alloc(m.bytes); err != nil {
			return h, err
		}
	}
	if h.stream, err = b.stream(); err != nil {
		return h, err
	}
	if err := b.number(h); err != nil {
		return h, err
	}
	return h, b.paint(h.pages)
}

// number writes 0, 1, 2 and so on.
func (b *bench) number(h hashing) error {
	mem, err := b.pin(h.numbers.Bytes())
	if err != nil {
		return err
	}
	for i := range h.count {
		mem[4*i], mem[4*i+1], mem[4*i+2], mem[4*i+3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
	}
	_, err = contiguous(h.stream, h.numbers.Ptr(), address(mem), int64(len(mem)))()
	return err
}

func (h *hashing) request() kernels.Hash {
	return kernels.Hash{
		Parts: h.parts, Count: h.count, Digests: h.digests.Ptr(),
		Scratch: h.scratch.Ptr(), ScratchBytes: h.scratch.Bytes(),
	}
}
