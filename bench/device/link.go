package main

import (
	"github.com/kvferry/kvferry/cuda"
)

// measureLink finds the limit of everything else: one contiguous copy between
// pinned and device memory, each way and both ways.
func measureLink(b *bench) error {
	if err := b.open(); err != nil {
		return err
	}
	size := b.scale.linkBytes
	l, err := b.link(size)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what  string
		bytes int64
		copy  timed
		check func() error
	}{
		{"device to host", size, contiguous(l.out, address(l.host), l.dev.Ptr(), size), func() error { return b.holdsPattern(l.host) }},
		{"host to device", size, contiguous(l.in, l.dev2.Ptr(), address(l.host2), size), func() error { return b.painted(l.dev2) }},
		{"both at once", 2 * size, both(l.out, l.in, address(l.host), l.dev.Ptr(), l.dev2.Ptr(), address(l.host2), size),
			func() error { return b.holdsPattern(l.host) }},
	} {
		err := b.measure(&row{What: c.what, With: "pinned, contiguous", Bytes: c.bytes}, func(r *row) error {
			took, err := b.turns(c.copy)
			if err != nil {
				return err
			}
			r.Unit, r.Samples = perSecond, rates(float64(c.bytes), took[0])
			if peak := b.device.Facts().LinkBytesPerSecond(); peak > 0 && c.bytes == size {
				r.Limit, r.Ratios = "the link before overhead", rates(float64(c.bytes)/peak, took[0])
			}
			r.checked(c.check())
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// linkMemory is what contiguous copies run on.
type linkMemory struct {
	host, host2 []byte
	dev, dev2   *cuda.Memory
	out, in     *cuda.Stream
}

// link takes it: host2 and dev hold the pattern.
func (b *bench) link(size int64) (l linkMemory, err error) {
	if l.dev, err = b.alloc(size); err != nil {
		return l, err
	}
	if l.dev2, err = b.alloc(size); err != nil {
		return l, err
	}
	if l.host, err = b.pin(size); err != nil {
		return l, err
	}
	if l.host2, err = b.pin(size); err != nil {
		return l, err
	}
	if l.out, err = b.stream(); err != nil {
		return l, err
	}
	if l.in, err = b.stream(); err != nil {
		return l, err
	}
	data, err := b.pool()
	if err != nil {
		return l, err
	}
	pattern(data).copy(l.host2, 0)
	return l, b.paint(l.dev)
}

// holdsPattern returns an error unless mem is the pattern from its beginning.
func (b *bench) holdsPattern(mem []byte) error {
	data, err := b.pool()
	if err != nil {
		return err
	}
	if !pattern(data).equal(mem, 0) {
		return errWrong
	}
	return nil
}
