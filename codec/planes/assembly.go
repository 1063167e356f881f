//go:build amd64 || arm64

package planes

import "unsafe"

// instructions are a set of them that assembly is written for.
type instructions uint8

// squeezes and spreads are indices of bytes in a register for each mask of
// eight: which bytes the mask names, and which of the first bytes comes where
// the mask has a bit. 0x80 makes a zero.
var squeezes, spreads = makeMasks() //nolint:unused // assembly reads them

func makeMasks() (squeezes, spreads [256][8]byte) { //nolint:unused // see squeezes
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

// assembly are the kernels in assembly for a set of instructions. Stripes of
// fewer than 32 channels, and such of 32 with an odd number of rows, are left
// to the portable ones.
func assembly(name string, set instructions) *kernels {
	return &kernels{
		name: name,
		encode: func(src []byte, rows, stride int, s *stripe, p Params, rests, planes, out []byte) int {
			groups, step, second, across := aim(src, rows, stride, s, rests, planes, out)
			if groups == 0 {
				return encodePortable(src, rows, stride, s, p, rests, planes, out)
			}
			return encodeStripes(set, &src[0], &rests[0], &planes[0], &out[0], groups, step, second, s.count, p.word(), across)
		},
		decode: func(dst []byte, rows, stride int, s *stripe, p Params, rests, planes, in []byte) int {
			groups, step, second, across := aim(dst, rows, stride, s, rests, planes, in)
			if groups == 0 {
				return decodePortable(dst, rows, stride, s, p, rests, planes, in)
			}
			return decodeStripes(set, &dst[0], &rests[0], &planes[0], &in[0], groups, step, second, s.count, p.word(), across)
		},
		encode2: func(x []byte, start int8, planes, out []byte) int { return encodeOuter(set, 2, x, start, planes, out) },
		encode3: func(x []byte, start int8, planes, out []byte) int { return encodeOuter(set, 3, x, start, planes, out) },
		decode2: func(x []byte, start int8, planes, in []byte) int { return decodeOuter(set, 2, x, start, planes, in) },
		decode3: func(x []byte, start int8, planes, in []byte) int { return decodeOuter(set, 3, x, start, planes, in) },
		left:    left2,
		apart:   apartPortable, together: togetherPortable, pack: pack, unpack: unpack,
	}
}

// word holds the parameters of the first window.
func (p Params) word() uint64 {
	return uint64(p.First) | uint64(p.Down)<<8 | uint64(p.Low)<<16 | uint64(p.Top)<<24
}

// aim says how assembly walks through stripes: groups, how far apart they and
// their halves are, and whether these are of the same channels. Without groups,
// assembly does not do them. It panics if one of the slices is too short.
func aim(values []byte, rows, stride int, s *stripe, rests, planes, outer []byte) (groups, step, second, across int) {
	switch {
	case s.width == lanes:
		groups, step, second = rows, stride, lanes
	case s.width == lanes/2 && rows%2 == 0:
		groups, step, second, across = rows/2, 2*stride, stride, 1
	}
	if groups > 0 {
		n := rows * s.width * s.count
		_ = values[(rows-1)*stride+2*s.width*s.count-1]
		_, _, _ = rests[n-1], planes[n/4-1], outer[n+lanes-1]
	}
	return groups, step, second, across
}

// encodeOuter codes x by the window of depth planes: whole groups into planes,
// the last one by way of an array, since its planes are shorter.
func encodeOuter(set instructions, depth int, x []byte, start int8, planes, out []byte) (n int) {
	whole, rest := len(x)/lanes, len(x)%lanes
	if whole > 0 {
		_, _ = planes[8*depth*whole-1], out[lanes*(whole+1)-1]
		n = encodeGroups(set, depth, &x[0], &planes[0], &out[0], whole, start, ^uint64(0))
	}
	if rest > 0 {
		var t [3]uint64
		x, out = x[lanes*whole:][:lanes], out[n:][:lanes]
		n += encodeGroups(set, depth, &x[0], (*byte)(unsafe.Pointer(&t)), &out[0], 1, start, 1<<rest-1)
		planes = planes[8*depth*whole:]
		for _, p := range t[:depth] {
			planes = putPlane(planes, p, rest)
		}
	}
	return n
}

// decodeOuter is the reverse of encodeOuter.
func decodeOuter(set instructions, depth int, x []byte, start int8, planes, in []byte) (n int) {
	whole, rest := len(x)/lanes, len(x)%lanes
	if whole > 0 {
		_, _ = planes[8*depth*whole-1], in[lanes*(whole+1)-1]
		n = decodeGroups(set, depth, &x[0], &planes[0], &in[0], whole, start)
	}
	if rest > 0 {
		var t [3]uint64
		planes = planes[8*depth*whole:]
		for i := range t[:depth] {
			t[i], planes = plane(planes, rest)
		}
		x, in = x[lanes*whole:][:lanes], in[n:][:lanes]
		n += decodeGroups(set, depth, &x[0], (*byte)(unsafe.Pointer(&t)), &in[0], 1, start)
	}
	return n
}
