package model

import (
	"math"
	"sync"
)

// The explicit float32 conversions around products are not idle: they forbid
// the compiler to fuse a product and a sum into one rounding, which it would
// do on some architectures only.

// bf16 rounds f to the nearest bf16, ties to even; NaN stays NaN.
func bf16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// unbf16 returns the value of a bf16 that is stored little-endian.
func unbf16(lo, hi byte) float32 {
	return math.Float32frombits(uint32(lo)<<16 | uint32(hi)<<24)
}

// rmsNorm sets out to x, scaled to a mean square of one, times w.
func rmsNorm(out, x, w []float32) {
	var ss float32
	for _, v := range x {
		ss += float32(v * v)
	}
	s := float32(math.Sqrt(float64(ss/float32(len(x)) + normEps)))
	for i, v := range x {
		out[i] = v / s * w[i]
	}
}

// softmax turns scores into weights that sum to one.
func softmax(x []float32) {
	top := x[0]
	for _, v := range x[1:] {
		top = max(top, v)
	}
	var sum float32
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v - top)))
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// gate sets a to silu(a) times b.
func gate(a, b []float32) {
	for i, v := range a {
		a[i] = v / (1 + float32(math.Exp(float64(-v)))) * b[i]
	}
}

// add adds b to a.
func add(a, b []float32) {
	for i, v := range b {
		a[i] += v
	}
}

// team is how the work of a pass is spread. Results do not depend on it.
type team struct {
	workers int // goroutines at most
	grain   int // multiply-adds below which a split does not pay
}

// split calls f for consecutive ranges that cover 0 to n, of cost
// multiply-adds each, concurrently where that pays, and waits for all.
func (t team) split(n, cost int, f func(worker, lo, hi int)) {
	parts := min(t.workers, n, max(n*cost/t.grain, 1))
	if parts <= 1 {
		f(0, 0, n)
		return
	}
	var wg sync.WaitGroup
	for p := 1; p < parts; p++ {
		wg.Go(func() { f(p, n*p/parts, n*(p+1)/parts) })
	}
	f(0, 0, n/parts)
	wg.Wait()
}
