package model

// matmul sets out[t][r] to the dot product of x[t] and w[r], for rows vectors
// x of length in and the outs rows of w.
func (t team) matmul(out, x, w []float32, rows, in, outs int) {
	t.split(outs, rows*in, func(_, lo, hi int) {
		r := lo
		for ; r+4 <= hi; r += 4 {
			tok := 0
			for ; tok+2 <= rows; tok += 2 {
				dot4x2(out[tok*outs+r:], out[(tok+1)*outs+r:], w[r*in:(r+4)*in], x[tok*in:(tok+1)*in], x[(tok+1)*in:(tok+2)*in])
			}
			if tok < rows {
				dot4(out[tok*outs+r:], w[r*in:(r+4)*in], x[tok*in:(tok+1)*in])
			}
		}
		for ; r < hi; r++ {
			for tok := range rows {
				out[tok*outs+r] = dot(w[r*in:(r+1)*in], x[tok*in:(tok+1)*in])
			}
		}
	})
}

// The kernels are kept from the race detector, which would make them twenty times
// slower: they read weights, which never change, and vectors of the pass that
// called them. The cache, which others share, is watched.

// dot is the definition that the wider kernels reproduce bit for bit: one sum
// from left to right. They gain by running independent sums side by side.
//
//go:norace
func dot(w, x []float32) float32 {
	var s float32
	w = w[:len(x)]
	for i, v := range x {
		s += float32(w[i] * v)
	}
	return s
}

// dot4 sets out[0..3] to the products of four consecutive rows of w with x.
//
//go:norace
func dot4(out, w, x []float32) {
	n := len(x)
	w0, w1, w2, w3 := w[:n], w[n:][:n], w[2*n:][:n], w[3*n:][:n]
	var s0, s1, s2, s3 float32
	for i, v := range x {
		s0 += float32(w0[i] * v)
		s1 += float32(w1[i] * v)
		s2 += float32(w2[i] * v)
		s3 += float32(w3[i] * v)
	}
	out = out[:4]
	out[0], out[1], out[2], out[3] = s0, s1, s2, s3
}

// dot4x2 is dot4 for two vectors at once, so that a weight is loaded once.
//
//go:norace
func dot4x2(outA, outB, w, a, b []float32) {
	n := len(a)
	w0, w1, w2, w3 := w[:n], w[n:][:n], w[2*n:][:n], w[3*n:][:n]
	b = b[:n]
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	for i, v := range a {
		u := b[i]
		p, q, r, s := w0[i], w1[i], w2[i], w3[i]
		a0 += float32(p * v)
		a1 += float32(q * v)
		a2 += float32(r * v)
		a3 += float32(s * v)
		b0 += float32(p * u)
		b1 += float32(q * u)
		b2 += float32(r * u)
		b3 += float32(s * u)
	}
	outA, outB = outA[:4], outB[:4]
	outA[0], outA[1], outA[2], outA[3] = a0, a1, a2, a3
	outB[0], outB[1], outB[2], outB[3] = b0, b1, b2, b3
}
