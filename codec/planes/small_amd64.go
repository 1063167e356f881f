package planes

//go:noescape
func apartAVX512(words, mantissas, known, last, symbols, escapes *byte, next *turns, cols int, keep uint64)

//go:noescape
func togetherAVX512(words, mantissas, known, last, symbols, escapes *byte, next *turns, cols int, keep uint64)

// smallAVX512 lets k use the assembly for the level small.
func (k *kernels) smallAVX512() {
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
