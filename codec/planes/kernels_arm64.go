package planes

const neon instructions = 0

// constants are registers of 16 bytes: the bit of each value in its byte of a
// plane, and which byte that is, for each quarter of the values.
var constants = makeConstants() //nolint:unused // assembly reads it

func makeConstants() (t [5][lanes / 4]byte) { //nolint:unused // see constants
	for i := range lanes / 4 {
		t[0][i] = 1 << (i % 8)
		for q := range 4 {
			t[1+q][i] = byte(2*q + i/8)
		}
	}
	return t
}

//go:noescape
func encodeNEON(src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int

//go:noescape
func decodeNEON(dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int

//go:noescape
func encode2NEON(x, planes, out *byte, groups int, start, mask uint64) int

//go:noescape
func encode3NEON(x, planes, out *byte, groups int, start, mask uint64) int

//go:noescape
func decode2NEON(x, planes, in *byte, groups int, start uint64) int

//go:noescape
func decode3NEON(x, planes, in *byte, groups int, start uint64) int

// available are the kernels that this processor can run, the fastest first.
// Every one of this architecture has NEON.
func available() []*kernels { return []*kernels{assembly("neon", neon), &portable} }

func encodeStripes(_ instructions, src, rests, planes, out *byte, groups, step, second, stripes int, p uint64, across int) int {
	return encodeNEON(src, rests, planes, out, groups, step, second, stripes, p, across)
}

func decodeStripes(_ instructions, dst, rests, planes, in *byte, groups, step, second, stripes int, p uint64, across int) int {
	return decodeNEON(dst, rests, planes, in, groups, step, second, stripes, p, across)
}

func encodeGroups(_ instructions, depth int, x, planes, out *byte, groups int, start int8, mask uint64) int {
	if depth == 2 {
		return encode2NEON(x, planes, out, groups, uint64(uint8(start)), mask)
	}
	return encode3NEON(x, planes, out, groups, uint64(uint8(start)), mask)
}

func decodeGroups(_ instructions, depth int, x, planes, in *byte, groups int, start int8) int {
	if depth == 2 {
		return decode2NEON(x, planes, in, groups, uint64(uint8(start)))
	}
	return decode3NEON(x, planes, in, groups, uint64(uint8(start)))
}
