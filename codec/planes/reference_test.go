package planes

// reference are kernels that do one value after the other, as the package
// comment says: what all others are held to.
var reference = kernels{
	name: "reference", encode: encodeReference, decode: decodeReference,
	encode2: encode2Reference, encode3: encode3Reference, decode2: decode2Reference, decode3: decode3Reference, left: left2,
	apart: apartPortable, together: togetherPortable, pack: pack, unpack: unpack,
}

func encodeReference(src []byte, rows, stride int, s *stripe, p Params, rests, planes, out []byte) (n int) {
	for range s.count {
		n += encodeStripe(src, rows, stride, s, p, rests, planes, out[n:])
		src, rests, planes = src[2*s.width:], rests[rows*s.width:], planes[2*planeBytes(rows*s.width):]
	}
	return n
}

func decodeReference(dst []byte, rows, stride int, s *stripe, p Params, rests, planes, in []byte) (n int) {
	for range s.count {
		n += decodeStripe(dst, rows, stride, s, p, rests, planes, in[n:])
		dst, rests, planes = dst[2*s.width:], rests[rows*s.width:], planes[2*planeBytes(rows*s.width):]
	}
	return n
}

// back is the reverse of outside.
func back(y byte) byte {
	if int8(y) >= 0 {
		return y + 3
	}
	return y
}

func encode2Reference(x []byte, start int8, planes, out []byte) int {
	n := 0
	for len(x) > 0 {
		size := min(lanes, len(x))
		var code0, code1 uint64
		for i, v := range x[:size] {
			y := outside(v) - byte(start)
			k := min(y, 3)
			code0 |= uint64(k&1) << i
			code1 |= uint64(k>>1) << i
			out[n] = y
			n += int(k+1) >> 2
		}
		planes = putPlane(putPlane(planes, code0, size), code1, size)
		x = x[size:]
	}
	return n
}

func decode2Reference(x []byte, start int8, planes, in []byte) int {
	n := 0
	for len(x) > 0 {
		size := min(lanes, len(x))
		var code0, code1 uint64
		code0, planes = plane(planes, size)
		code1, planes = plane(planes, size)
		for i := range x[:size] {
			y := byte(code0>>i&1 | code1>>i&1<<1)
			on := (y + 1) >> 2
			y ^= (y ^ in[n]) & -on
			n += int(on)
			x[i] = back(y + byte(start))
		}
		x = x[size:]
	}
	return n
}

func encode3Reference(x []byte, start int8, planes, out []byte) int {
	n := 0
	for len(x) > 0 {
		size := min(lanes, len(x))
		var code [3]uint64
		for i, v := range x[:size] {
			z := outside(v) - byte(start)
			k := min(z, 7)
			for b := range code {
				code[b] |= uint64(k>>b&1) << i
			}
			out[n] = z
			n += int(k+1) >> 3
		}
		for _, c := range code {
			planes = putPlane(planes, c, size)
		}
		x = x[size:]
	}
	return n
}

func decode3Reference(x []byte, start int8, planes, in []byte) int {
	n := 0
	for len(x) > 0 {
		size := min(lanes, len(x))
		var code [3]uint64
		for b := range code {
			code[b], planes = plane(planes, size)
		}
		for i := range x[:size] {
			z := byte(code[0]>>i&1 | code[1]>>i&1<<1 | code[2]>>i&1<<2)
			on := (z + 1) >> 3
			z ^= (z ^ in[n]) & -on
			n += int(on)
			x[i] = back(z + byte(start))
		}
		x = x[size:]
	}
	return n
}
