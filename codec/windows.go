package codec

import (
	"fmt"

	"github.com/kvferry/kvferry/codec/planes"
)

// sampledSegments is of how many segments of a blob the windows are judged, or
// found where there are none. More sets than fewSets, as of engines with many KV
// groups, are chosen from by their profiles, and judged by one segment each.
const (
	sampledSegments = 3
	fewSets         = 2
)

// planes returns plain as a payload of planes, or nil if its elements are not
// known or do not shrink as far as the mode wants.
func (e *Encoder) planes(h *Hint, plain []byte) ([]byte, error) {
	switch h.Mode {
	case Auto:
		return e.fast(h, plain, len(plain)-len(plain)/worthwhile, true)
	case Fast:
		return e.fast(h, plain, len(plain), false)
	case Small:
		return e.small(h, plain)
	}
	return nil, nil
}

// fast codes bf16 by windows if that takes fewer bytes than limit. If sampled,
// it does not try where a sample says that it does not.
func (e *Encoder) fast(h *Hint, plain []byte, limit int, sampled bool) ([]byte, error) {
	s, params, size := e.windows(h, plain)
	if params == nil || sampled && size >= limit {
		return nil, nil
	}
	e.reserve(planes.MaxBytes(s, len(plain)))
	out, err := e.p.Append(e.buf[:0], plain, s, params)
	return e.shorter(out, limit, err)
}

// small codes all elements that are known, at the level small.
func (e *Encoder) small(h *Hint, plain []byte) ([]byte, error) {
	elem := h.Elem
	s, ok := h.shape(len(plain))
	if known := h.Tuning.find(len(plain)); len(known) > 0 {
		elem, s, ok = known[0].elem, known[0].shape, true
	}
	if !ok {
		return nil, nil
	}
	el, _ := elem.elements()
	e.reserve(planes.MaxBytes(s, s.Bytes())) // of elements of two bytes: enough for all
	out, err := e.p.AppendSmall(e.buf[:0], plain, s, el)
	return e.shorter(out, len(plain), err)
}

// shorter returns what was appended to the buffer, or nil if it is not shorter
// than limit.
func (e *Encoder) shorter(out []byte, limit int, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("codec: %w", err)
	}
	e.buf = out[:0]
	if len(out) >= limit {
		return nil, nil
	}
	return out, nil
}

// windows returns the shape of plain and the windows for it: of those that are
// known the ones that fit best, else some that are found in the blob itself.
// There are none if the blob is not of bf16. It also returns about how many
// bytes the segments take with them.
func (e *Encoder) windows(h *Hint, plain []byte) (s planes.Shape, params []planes.Params, size int) {
	known := h.Tuning.find(len(plain))
	if len(known) == 0 {
		if s, ok := h.shape(len(plain)); ok && h.Elem == BF16 {
			return e.search(s, plain)
		}
		return s, nil, 0
	}
	expected := e.candidates(h.Tuning, known, plain)
	each := sampledSegments
	if len(e.tries) > fewSets {
		each = 1
	}
	for _, k := range e.tries {
		if n := e.estimate(k.shape, k.params, plain, each); params == nil || n < size {
			s, params, size = k.shape, k.params, n
		}
	}
	clear(e.tries) // an encoder lives longer than what it was told
	switch {
	case params == nil && expected != nil:
		return e.search(expected.shape, plain)
	case params != nil && each < sampledSegments:
		size = e.estimate(s, params, plain, sampledSegments)
	}
	return s, params, size
}

// candidates leaves in e.tries which of the known sets are to be tried on plain:
// those without a profile, and the ones whose profile is most like plain's. It
// returns one of bf16, if there is any, be it only of a shape.
func (e *Encoder) candidates(t *Tuning, known []set, plain []byte) (expected *set) {
	var near nearest
	var of *set // whose shape p is by
	var p profile
	e.tries = e.tries[:0]
	for i := range known {
		k := &known[i]
		if k.elem != BF16 {
			continue
		}
		t.want()
		expected = k
		switch {
		case len(k.params) == 0:
		case !k.profiled || len(known) <= fewSets:
			e.tries = append(e.tries, k)
		default:
			if of == nil || of.shape != k.shape {
				of, p = k, profileOf(k.shape, plain)
			}
			near.offer(k, p.distance(&k.profile))
		}
	}
	e.tries = append(e.tries, near.sets[:near.n]...)
	return expected
}

// search finds windows in a few segments of plain, the same for all segments.
func (e *Encoder) search(s planes.Shape, plain []byte) (planes.Shape, []planes.Params, int) {
	var some [sampledSegments][]byte
	n := 0
	sample(s, plain, sampledSegments, func(_ int, segment []byte) {
		some[n] = segment
		n++
	})
	var err error
	if e.own[0], err = e.tuner.Segment(s, some[:n]...); err != nil {
		return s, nil, 0 // of a shape that is valid there is none
	}
	return s, e.own[:], e.estimate(s, e.own[:], plain, sampledSegments)
}

// estimate returns about how many bytes the segments of plain take, by so many
// of them.
func (e *Encoder) estimate(s planes.Shape, params []planes.Params, plain []byte, most int) int {
	size, n := 0, 0
	sample(s, plain, most, func(i int, segment []byte) {
		size += e.p.Estimate(segment, s, params[min(i, len(params)-1)])
		n++
	})
	return size*s.Segments/n + len(plain) - s.Bytes()
}

// sample calls f with at most so many segments of plain: those around the middles of
// its parts.
func sample(s planes.Shape, plain []byte, most int, f func(i int, segment []byte)) {
	n, size := min(most, s.Segments), s.Bytes()/s.Segments
	for k := range n {
		i := (2*k + 1) * s.Segments / (2 * n)
		f(i, plain[i*size:][:size])
	}
}
