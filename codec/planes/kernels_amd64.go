package planes

import "golang.org/x/sys/cpu"

const (
	avx2 instructions = iota
	avx512
)

// Tables of the assembly.
var (
	// shuffles are indices of bytes in two registers of 64: the low bytes of 64
	// words, the high ones, and the reverse, for the first 32 words and the last.
	shuffles = makeShuffles() //nolint:unused // assembly reads it
	// constants are registers of 32 bytes: for each value the byte of a plane
	// that has its bit, for the first 32 and the last; its bit; and 1, 2, 3, 7, 4.
	constants = makeConstants() //nolint:unused // assembly reads it
)

func makeShuffles() (t [4][lanes]byte) { //nolint:unused // see shuffles
	for i := range lanes {
		t[0][i], t[1][i] = byte(2*i), byte(2*i+1)
		t[2][i] = byte(i/2 + i%2*lanes)
		t[3][i] = t[2][i] + lanes/2
	}
	return t
}

func makeConstants() (t [8][lanes / 2]byte) { //nolint:unused // see constants
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
func decode2AVX512(x, planes, in *byte, groups int, start, mask uint64, plane int) int

//go:noescape
func decode2AVX2(x, planes, in *byte, groups int, start uint64) int

//go:noescape
func decode3AVX512(x, planes, in *byte, groups int, start, mask uint64, plane int) int

//go:noescape
func decode3AVX2(x, planes, in *byte, groups int, start uint64) int

//go:noescape
func left2AVX512(planes *byte, groups int) int

// leftAVX512 counts like left2.
func leftAVX512(planes []byte, n int) int {
	whole := n / lanes
	if whole == 0 {
		return leftOfLast(planes, n, 2)
	}
	_ = planes[16*whole-1]
	return left2AVX512(&planes[0], whole) + leftOfLast(planes[16*whole:], n%lanes, 2)
}

// outer2AVX512 decodes in one go if there are bytes behind the planes.
func outer2AVX512(x []byte, start int8, planes, in []byte) int {
	whole, rest := len(x)/lanes, len(x)%lanes
	size := (rest + 7) / 8
	if len(x) == 0 || len(planes) < 16*whole+size+8 {
		return decodeOuter(avx512, 2, x, start, planes, in)
	}
	_, _ = x[:lanes*whole+lanes], in[len(x)+lanes-1]
	return decode2AVX512(&x[0], &planes[0], &in[0], whole, uint64(uint8(start)), 1<<rest-1, size)
}

// outer3AVX512 does so with the third window.
func outer3AVX512(x []byte, start int8, planes, in []byte) int {
	whole, rest := len(x)/lanes, len(x)%lanes
	size := (rest + 7) / 8
	if len(x) == 0 || len(planes) < 24*whole+2*size+8 {
		return decodeOuter(avx512, 3, x, start, planes, in)
	}
	_, _ = x[:lanes*whole+lanes], in[len(x)+lanes-1]
	return decode3AVX512(&x[0], &planes[0], &in[0], whole, uint64(uint8(start)), 1<<rest-1, size)
}

// available are the kernels that this processor can run, the fastest first.
func available() []*kernels {
	var all []*kernels
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VBMI && cpu.X86.HasAVX512VBMI2 && cpu.X86.HasAVX512VPOPCNTDQ && cpu.X86.HasPOPCNT {
		k := assembly("avx512", avx512)
		k.left, k.decode2, k.decode3 = leftAVX512, outer2AVX512, outer3AVX512
		k.smallAVX512()
		all = append(all, k)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasPOPCNT {
		all = append(all, assembly("avx2", avx2))
	}
	return append(all, &portable)
}

func encodeStripes(set instructions, src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int {
	if set == avx512 {
		return encodeAVX512(src, rests, planes, out, groups, step, second, stripes, p, across)
	}
	return encodeAVX2(src, rests, planes, out, groups, step, second, stripes, p, across)
}

func decodeStripes(set instructions, dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int {
	if set == avx512 {
		return decodeAVX512(dst, rests, planes, in, groups, step, second, stripes, p, across)
	}
	return decodeAVX2(dst, rests, planes, in, groups, step, second, stripes, p, across)
}

func encodeGroups(set instructions, depth int, x, planes, out *byte, groups int, start int8, mask uint64) int {
	s := uint64(uint8(start))
	switch {
	case set == avx512 && depth == 2:
		return encode2AVX512(x, planes, out, groups, s, mask)
	case set == avx512:
		return encode3AVX512(x, planes, out, groups, s, mask)
	case depth == 2:
		return encode2AVX2(x, planes, out, groups, s, mask)
	}
	return encode3AVX2(x, planes, out, groups, s, mask)
}

func decodeGroups(set instructions, depth int, x, planes, in *byte, groups int, start int8) int {
	s := uint64(uint8(start))
	switch {
	case set == avx512 && depth == 2:
		return decode2AVX512(x, planes, in, groups, s, 0, 0)
	case set == avx512:
		return decode3AVX512(x, planes, in, groups, s, 0, 0)
	case depth == 2:
		return decode2AVX2(x, planes, in, groups, s)
	}
	return decode3AVX2(x, planes, in, groups, s)
}
