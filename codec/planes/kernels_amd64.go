package planes

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// Tables of the assembly.
var (
	// shuffles are indices of bytes in two registers of 64: the low bytes of 64
	// words, the high ones, and the reverse, for the first 32 words and the last.
	shuffles = makeShuffles()
	// squeezes and spreads are indices of bytes in a register for each mask of
	// eight: which bytes the mask names, and which of the first bytes comes
	// where the mask has a bit. 0x80 makes a zero.
	squeezes, spreads = makeMasks()
	// constants are registers of 32 bytes: for each value the byte of a plane
	// that has its bit, for the first 32 and the last; its bit; and 1, 2, 3, 7, 4.
	constants = makeConstants()
)

func makeShuffles() (t [4][lanes]byte) {
	for i := range lanes {
		t[0][i], t[1][i] = byte(2*i), byte(2*i+1)
		t[2][i] = byte(i/2 + i%2*lanes)
		t[3][i] = t[2][i] + lanes/2
	}
	return t
}

func makeMasks() (squeezes, spreads [256][8]byte) {
	for m := range squeezes {
		squeezes[m] = [8]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}
		spreads[m] = squeezes[m]
		n := 0
		for i := range 8 {
			if m>>i&1 != 0 {
				squeezes[m][n], spreads[m][i] = byte(i), byte(n)
				n++
			}
		}
	}
	return squeezes, spreads
}

func makeConstants() (t [8][lanes / 2]byte) {
	for i := range lanes / 2 {
		t[0][i], t[1][i] = byte(i/8), byte(i/8+4)
		t[2][i] = 1 << (i % 8)
		t[3][i], t[4][i], t[5][i], t[6][i], t[7][i] = 1, 2, 3, 7, 4
	}
	return t
}

//go:noescape
func encodeAVX512(src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int

//go:noescape
func encodeAVX2(src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int

//go:noescape
func decodeAVX512(dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int

//go:noescape
func decodeAVX2(dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int

//go:noescape
func encode2AVX512(x, planes, out *byte, groups int, start, mask uint64) int

//go:noescape
func encode2AVX2(x, planes, out *byte, groups int, start, mask uint64) int

//go:noescape
func encode3AVX512(x, planes, out *byte, groups int, start, mask uint64) int

//go:noescape
func encode3AVX2(x, planes, out *byte, groups int, start, mask uint64) int

//go:noescape
func decode2AVX512(x, planes, in *byte, groups int, start uint64) int

//go:noescape
func decode2AVX2(x, planes, in *byte, groups int, start uint64) int

//go:noescape
func decode3AVX512(x, planes, in *byte, groups int, start uint64) int

//go:noescape
func decode3AVX2(x, planes, in *byte, groups int, start uint64) int

// available are the kernels that this processor can run, the fastest first.
func available() []*kernels {
	var all []*kernels
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VBMI && cpu.X86.HasAVX512VBMI2 && cpu.X86.HasPOPCNT {
		all = append(all, assembly("avx512", true))
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasPOPCNT {
		all = append(all, assembly("avx2", false))
	}
	return append(all, &portable)
}

// assembly are the kernels in assembly, for AVX-512 or AVX2. Stripes of fewer
// than 32 channels, and such of 32 with an odd number of rows, are left to the
// portable ones.
func assembly(name string, wide bool) *kernels {
	return &kernels{
		name: name,
		encode: func(src []byte, rows, stride int, s stripe, p Params, rests, planes, out []byte) int {
			w, ok := aim(src, rows, stride, s, rests, planes, out)
			switch {
			case !ok:
				return encodePortable(src, rows, stride, s, p, rests, planes, out)
			case wide:
				return encodeAVX512(&src[0], &rests[0], &planes[0], &out[0], w.groups, w.step, w.second, s.count, p.word(), w.across)
			}
			return encodeAVX2(&src[0], &rests[0], &planes[0], &out[0], w.groups, w.step, w.second, s.count, p.word(), w.across)
		},
		decode: func(dst []byte, rows, stride int, s stripe, p Params, rests, planes, in []byte) int {
			w, ok := aim(dst, rows, stride, s, rests, planes, in)
			switch {
			case !ok:
				return decodePortable(dst, rows, stride, s, p, rests, planes, in)
			case wide:
				return decodeAVX512(&dst[0], &rests[0], &planes[0], &in[0], w.groups, w.step, w.second, s.count, p.word(), w.across)
			}
			return decodeAVX2(&dst[0], &rests[0], &planes[0], &in[0], w.groups, w.step, w.second, s.count, p.word(), w.across)
		},
		encode2: func(x []byte, start int8, planes, out []byte) int { return encodeOuter(wide, 2, x, start, planes, out) },
		encode3: func(x []byte, start int8, planes, out []byte) int { return encodeOuter(wide, 3, x, start, planes, out) },
		decode2: func(x []byte, start int8, planes, in []byte) int { return decodeOuter(wide, 2, x, start, planes, in) },
		decode3: func(x []byte, start int8, planes, in []byte) int { return decodeOuter(wide, 3, x, start, planes, in) },
	}
}

// word holds the parameters of the first window.
func (p Params) word() uint64 {
	return uint64(p.First) | uint64(p.Down)<<8 | uint64(p.Low)<<16 | uint64(p.Top)<<24
}

// walk says where assembly finds the groups of stripes.
type walk struct{ groups, step, second, across int }

// aim returns the walk through stripes, or not ok if assembly does not do
// them. It panics if one of the slices is too short.
func aim(values []byte, rows, stride int, s stripe, rests, planes, outer []byte) (w walk, ok bool) {
	switch {
	case rows == 0:
		return w, false
	case s.width == lanes:
		w = walk{rows, stride, lanes, 0}
	case s.width == lanes/2 && rows%2 == 0:
		w = walk{rows / 2, 2 * stride, stride, 1}
	default:
		return w, false
	}
	n := rows * s.width * s.count
	_ = values[(rows-1)*stride+2*s.width*s.count-1]
	_, _, _ = rests[n-1], planes[n/4-1], outer[n+lanes-1]
	return w, true
}

// encodeOuter codes x by the window of depth planes: whole groups into planes,
// the last one by way of an array, since its planes are shorter.
func encodeOuter(wide bool, depth int, x []byte, start int8, planes, out []byte) (n int) {
	whole, rest := len(x)/lanes, len(x)%lanes
	if whole > 0 {
		_, _ = planes[8*depth*whole-1], out[lanes*(whole+1)-1]
		n = encodeGroups(wide, depth, &x[0], &planes[0], &out[0], whole, start, ^uint64(0))
	}
	if rest > 0 {
		var t [3]uint64
		x, out = x[lanes*whole:][:lanes], out[n:][:lanes]
		n += encodeGroups(wide, depth, &x[0], (*byte)(unsafe.Pointer(&t)), &out[0], 1, start, 1<<rest-1)
		planes = planes[8*depth*whole:]
		for _, p := range t[:depth] {
			planes = putPlane(planes, p, rest)
		}
	}
	return n
}

func encodeGroups(wide bool, depth int, x, planes, out *byte, groups int, start int8, mask uint64) int {
	s := uint64(uint8(start))
	switch {
	case wide && depth == 2:
		return encode2AVX512(x, planes, out, groups, s, mask)
	case wide:
		return encode3AVX512(x, planes, out, groups, s, mask)
	case depth == 2:
		return encode2AVX2(x, planes, out, groups, s, mask)
	}
	return encode3AVX2(x, planes, out, groups, s, mask)
}

// decodeOuter is the reverse of encodeOuter.
func decodeOuter(wide bool, depth int, x []byte, start int8, planes, in []byte) (n int) {
	whole, rest := len(x)/lanes, len(x)%lanes
	if whole > 0 {
		_, _ = planes[8*depth*whole-1], in[lanes*(whole+1)-1]
		n = decodeGroups(wide, depth, &x[0], &planes[0], &in[0], whole, start)
	}
	if rest > 0 {
		var t [3]uint64
		planes = planes[8*depth*whole:]
		for i := range t[:depth] {
			t[i], planes = plane(planes, rest)
		}
		x, in = x[lanes*whole:][:lanes], in[n:][:lanes]
		n += decodeGroups(wide, depth, &x[0], (*byte)(unsafe.Pointer(&t)), &in[0], 1, start)
	}
	return n
}

func decodeGroups(wide bool, depth int, x, planes, in *byte, groups int, start int8) int {
	s := uint64(uint8(start))
	switch {
	case wide && depth == 2:
		return decode2AVX512(x, planes, in, groups, s)
	case wide:
		return decode3AVX512(x, planes, in, groups, s)
	case depth == 2:
		return decode2AVX2(x, planes, in, groups, s)
	}
	return decode3AVX2(x, planes, in, groups, s)
}
