package planes

// sampledStripes is of how many stripes of a segment an estimate is made.
const sampledStripes = 2

// sampled is one of them.
var sampled = stripe{width: lanes, fold: 1, count: 1}

// Estimate returns about how many bytes the block of a segment of a page of
// shape s takes with the windows of p, its padding left out: not more than the
// segment. It codes 128 channels of the segment and takes the others to be like
// them; a segment of no more channels is estimated to the byte. A shape that
// is not valid, and a segment of another length, are taken not to shrink. The
// same arguments give the same result on every machine. It allocates nothing
// once its buffers are as large as the largest segment needs.
func (e *Encoder) Estimate(segment []byte, s Shape, p Params) int {
	if s.Validate() != nil || len(segment) != s.segmentBytes() {
		return len(segment)
	}
	e.prepare(s.Rows * s.Cols)
	w := e.plan.of(s.Rows-zeroRows(segment, 2*s.Cols), s.Cols)
	var outer int
	if s.Cols <= sampledStripes*lanes {
		e.scratch = extend(e.scratch[:0], w.values+w.planes)
		outer = e.outer(e.first(e.scratch, segment, w, p), p)
	} else {
		outer = (e.outer(e.sample(segment, w.rows, s.Cols, p), p)*s.Cols + sampledStripes*lanes/2) / (sampledStripes * lanes)
	}
	return min(paramBytes+w.values+w.planes+outer, len(segment))
}

// sample codes stripes of a segment by the first window: those around the
// middles of its parts, so that the halves of a head, which differ in keys, are
// both met. It returns how many values went on.
func (e *Encoder) sample(segment []byte, rows, cols int, p Params) int {
	if rows == 0 {
		return 0
	}
	n := rows * lanes
	e.scratch = extend(e.scratch[:0], n+2*planeBytes(n))
	r1 := 0
	for i := range sampledStripes {
		col := (2*i+1)*cols/(2*sampledStripes) - lanes/2
		r1 += e.k.encode(segment[2*col:], rows, 2*cols, &sampled, p, e.scratch[:n], e.scratch[n:], e.x1[r1:])
	}
	return r1
}

// outer returns how many bytes the r1 values that went on take behind the first
// window.
func (e *Encoder) outer(r1 int, p Params) int {
	planes2 := 2 * planeBytes(r1)
	e.scratch = extend(e.scratch[:0], planes2)
	r2 := e.k.encode2(e.x1[:r1], p.Second, e.scratch, e.x2)
	planes3 := 3 * planeBytes(r2)
	e.scratch = extend(e.scratch[:0], planes3)
	return planes2 + planes3 + e.k.encode3(e.x2[:r2], p.Third, e.scratch, e.x3)
}
