package codec

import (
	"fmt"

	"github.com/kvferry/kvferry/codec/planes"
)

// sampledSegments is of how many segments of a blob the windows are judged, or
// found where there are none.
const sampledSegments = 3

// planes returns plain as a payload of planes, or nil if it is not of bf16 or
// does not shrink as far as the mode wants.
func (e *Encoder) planes(h *Hint, plain []byte) ([]byte, error) {
	s, params, size := e.windows(h, plain)
	limit := len(plain)
	if h.Mode == Auto {
		limit -= len(plain) / worthwhile
	}
	if params == nil || h.Mode == Auto && size >= limit {
		return nil, nil
	}
	e.reserve(planes.MaxBytes(s, len(plain)))
	out, err := e.p.Append(e.buf[:0], plain, s, params)
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
		var ok bool
		if s, ok = h.shape(len(plain)); !ok {
			return s, nil, 0
		}
		return e.search(s, plain)
	}
	for i := range known {
		k := &known[i]
		if len(k.params) == 0 {
			continue
		}
		if n := e.estimate(k.shape, k.params, plain); params == nil || n < size {
			s, params, size = k.shape, k.params, n
		}
	}
	if params == nil {
		return e.search(known[0].shape, plain)
	}
	return s, params, size
}

// search finds windows in a few segments of plain, the same for all segments.
func (e *Encoder) search(s planes.Shape, plain []byte) (planes.Shape, []planes.Params, int) {
	var some [sampledSegments][]byte
	n := 0
	sample(s, plain, func(_ int, segment []byte) {
		some[n] = segment
		n++
	})
	var err error
	if e.own[0], err = e.tuner.Segment(s, some[:n]...); err != nil {
		return s, nil, 0 // of a shape that is valid there is none
	}
	return s, e.own[:], e.estimate(s, e.own[:], plain)
}

// estimate returns about how many bytes the segments of plain take.
func (e *Encoder) estimate(s planes.Shape, params []planes.Params, plain []byte) int {
	size, n := 0, 0
	sample(s, plain, func(i int, segment []byte) {
		size += e.p.Estimate(segment, s, params[min(i, len(params)-1)])
		n++
	})
	return size*s.Segments/n + len(plain) - s.Bytes()
}

// sample calls f with a few segments of plain: those around the middles of its
// parts.
func sample(s planes.Shape, plain []byte, f func(i int, segment []byte)) {
	n, size := min(sampledSegments, s.Segments), s.Bytes()/s.Segments
	for k := range n {
		i := (2*k + 1) * s.Segments / (2 * n)
		f(i, plain[i*size:][:size])
	}
}
