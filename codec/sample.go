package codec

import (
	"bytes"
	"math"
)

const (
	sampleCount = 2048
	// compressibleBits is the entropy per byte below which Auto compresses.
	// Noise has 8 bits, the values of a KV cache in bf16 about 6: a byte coder
	// would save a quarter of them, at a tenth of the speed of hashing, which
	// is for those who ask for PreferZstd.
	compressibleBits = 5.5
)

// period returns the length of the shortest pattern, of at most maxPattern
// bytes, whose repetition is plain, or 0 if there is none or if it would not
// be shorter than plain. For anything but such data it ends within the first
// bytes.
func period(plain []byte) int {
	for p := 1; p <= maxPattern && p < len(plain); p++ {
		if bytes.Equal(plain[p:], plain[:len(plain)-p]) {
			return p
		}
	}
	return 0
}

// compressible reports whether a sample of plain shows fewer than
// compressibleBits of entropy per byte. The stride is odd so that the bytes of
// an element, whose sizes are powers of two, are met equally often.
func compressible(plain []byte) bool {
	if len(plain) < 64 {
		return false
	}
	var count [256]uint32
	stride := len(plain)/sampleCount | 1
	n := 0
	for i := 0; i < len(plain); i += stride {
		count[plain[i]]++
		n++
	}
	var sum float64
	for _, c := range count {
		if c > 1 {
			sum += float64(c) * math.Log2(float64(c))
		}
	}
	bits := math.Log2(float64(n)) - sum/float64(n)
	// A short sample cannot show more than log2(n) bits: noise of 64 bytes
	// looks like 6. The second condition asks for a saving beyond that.
	return bits < compressibleBits && bits < math.Log2(float64(n))-1.5
}

// fill writes the repetition of pattern to dst.
func fill(dst, pattern []byte) {
	n := copy(dst, pattern)
	for n < len(dst) {
		n += copy(dst[n:], dst[:n])
	}
}
