package planes

//go:noescape
func apartAVX512(words, mantissas, known, last, symbols, escapes *byte, next *turns, cols int, keep uint64)

//go:noescape
func togetherAVX512(words, mantissas, known, last, symbols, escapes *byte, next *turns, cols int, keep uint64)

// smallAVX512 lets k use the assembly for the level small.
func (k *kernels) smallAVX512() {
	k.pack, k.unpack = packAVX512, unpackAVX512
	k.apart = func(r *smallRow, next *turns) {
		r.check(next)
		apartAVX512(&r.words[0], &r.mantissas[0], &r.known[0], &r.last[0], &r.symbols[0], &r.escapes[0], next, len(r.known), uint64(r.keep))
	}
	k.together = func(r *smallRow, next *turns) {
		r.check(next)
		togetherAVX512(&r.words[0], &r.mantissas[0], &r.known[0], &r.last[0], &r.symbols[0], &r.escapes[0], next, len(r.known), uint64(r.keep))
	}
}

// check panics if assembly would leave the slices of r.
func (r *smallRow) check(next *turns) {
	cols := len(r.known)
	_, _, _ = r.words[2*cols-1], r.mantissas[cols-1], r.last[cols-1]
	for _, at := range next[:contexts] {
		_ = r.symbols[at:][cols+lanes-1]
	}
	_ = r.escapes[next[contexts]:][cols+lanes-1]
}

// septets are indices of bytes: which seven make the words of eight numbers,
// and which of those words' bytes are the seven.
var septets = makeSeptets() //nolint:unused // assembly reads it

func makeSeptets() (t [2][lanes]byte) { //nolint:unused // see septets
	for i := range lanes {
		t[0][i] = byte(min(i/8*7+i%8, lanes-1))
		t[1][i] = byte(min(i/7*8+i%7, lanes-1))
	}
	return t
}

//go:noescape
func pack7AVX512(dst, src *byte, groups int)

//go:noescape
func unpack7AVX512(dst, src *byte, groups int)

func packAVX512(dst, src []byte, width int) {
	if n := len(src) / lanes; width == 7 && n > 0 {
		_ = dst[7*lanes/8*n-1]
		pack7AVX512(&dst[0], &src[0], n)
		dst, src = dst[7*lanes/8*n:], src[lanes*n:]
	}
	pack(dst, src, width)
}

func unpackAVX512(dst, src []byte, width int) {
	if n := len(dst) / lanes; width == 7 && n > 0 {
		_ = src[7*lanes/8*n-1]
		unpack7AVX512(&dst[0], &src[0], n)
		dst, src = dst[lanes*n:], src[7*lanes/8*n:]
	}
	unpack(dst, src, width)
}
