package planes

import (
	"encoding/binary"
	"math/bits"
)

// The portable kernels of the second and third window: eight values at a time,
// in their order. Behind x there is room for 64 more.

// gather is gatherBits for words whose bytes are in order.
func gather(w uint64) uint8 { return uint8(w & ones * 0x0102040810204080 >> 56) }

// inOrder is spreadBits for such words.
var inOrder = makeInOrder()

func makeInOrder() (t [256]uint64) {
	for m := range t {
		for i := range octet {
			t[m] |= uint64(m>>i&1) << (8 * i)
		}
	}
	return t
}

// isNot0 has the lowest bit of the bytes that are not 0.
func isNot0(w uint64) uint64 { return (w&^signs + ^uint64(signs) | w) >> 7 & ones }

// closeGap does what outside does with every byte.
func closeGap(w uint64) uint64 { return sub(w, isNot0(w)&^(w>>7)*3) }

// openGap does what back does with every byte.
func openGap(w uint64) uint64 { return add(w, ^w>>7&ones*3) }

func encode2Portable(x []byte, start int8, planes, out []byte) (n int) {
	first := ones * uint64(uint8(start))
	for ; len(x) > 0; x = x[min(lanes, len(x)):] {
		size := min(lanes, len(x))
		group := x[:lanes]
		var code0, code1 uint64
		for lane := 0; lane < size; lane += octet {
			y := sub(closeGap(binary.LittleEndian.Uint64(group[lane&56:])), first)
			far := isNot0(y &^ (3 * ones))
			code0 |= uint64(gather(y|far)) << lane
			code1 |= uint64(gather(y>>1|far)) << lane
			binary.LittleEndian.PutUint64(group[lane&56:], y)
		}
		there := ^uint64(0) >> (-size & 63)
		planes = putPlane(putPlane(planes, code0&there, size), code1&there, size)
		for on := code0 & code1 & there; on != 0; on &= on - 1 {
			out[n] = group[bits.TrailingZeros64(on)]
			n++
		}
	}
	return n
}

func encode3Portable(x []byte, start int8, planes, out []byte) (n int) {
	first := ones * uint64(uint8(start))
	for ; len(x) > 0; x = x[min(lanes, len(x)):] {
		size := min(lanes, len(x))
		group := x[:lanes]
		var code [3]uint64
		for lane := 0; lane < size; lane += octet {
			z := sub(closeGap(binary.LittleEndian.Uint64(group[lane&56:])), first)
			far := isNot0(z &^ (7 * ones))
			for b := range code {
				code[b] |= uint64(gather(z>>b|far)) << lane
			}
			binary.LittleEndian.PutUint64(group[lane&56:], z)
		}
		there := ^uint64(0) >> (-size & 63)
		for _, c := range code {
			planes = putPlane(planes, c&there, size)
		}
		for on := code[0] & code[1] & code[2] & there; on != 0; on &= on - 1 {
			out[n] = group[bits.TrailingZeros64(on)]
			n++
		}
	}
	return n
}

func decode2Portable(x []byte, start int8, planes, in []byte) (n int) {
	first := ones * uint64(uint8(start))
	for ; len(x) > 0; x = x[min(lanes, len(x)):] {
		size := min(lanes, len(x))
		group := x[:lanes]
		var code0, code1 uint64
		code0, planes = plane(planes, size)
		code1, planes = plane(planes, size)
		for on := code0 & code1; on != 0; on &= on - 1 {
			group[bits.TrailingZeros64(on)] = in[n]
			n++
		}
		for lane := 0; lane < size; lane += octet {
			bit0, bit1 := inOrder[uint8(code0>>lane)], inOrder[uint8(code1>>lane)]
			on := bit0 & bit1 * 255
			v := group[lane&56:][:octet]
			y := (bit0|bit1<<1)&^on | binary.LittleEndian.Uint64(v)&on
			binary.LittleEndian.PutUint64(v, openGap(add(y, first)))
		}
	}
	return n
}

func decode3Portable(x []byte, start int8, planes, in []byte) (n int) {
	first := ones * uint64(uint8(start))
	for ; len(x) > 0; x = x[min(lanes, len(x)):] {
		size := min(lanes, len(x))
		group := x[:lanes]
		var code [3]uint64
		for b := range code {
			code[b], planes = plane(planes, size)
		}
		for on := code[0] & code[1] & code[2]; on != 0; on &= on - 1 {
			group[bits.TrailingZeros64(on)] = in[n]
			n++
		}
		for lane := 0; lane < size; lane += octet {
			on, z := uint64(ones*255), uint64(0)
			for b, c := range code {
				bit := inOrder[uint8(c>>lane)]
				on &= bit * 255
				z |= bit << b
			}
			v := group[lane&56:][:octet]
			z = z&^on | binary.LittleEndian.Uint64(v)&on
			binary.LittleEndian.PutUint64(v, openGap(add(z, first)))
		}
	}
	return n
}
