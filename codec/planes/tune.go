package planes

// sampledChannels is how many channels of a segment of a page are looked at.
const sampledChannels = 96

// pairs counts which exponent a value has, by the greatest exponent of its
// channel above it; row 256 is of values that have none above.
type pairs [257][256]uint32

// Tune returns the windows that fit the pages best, one for each segment. All
// pages have the shape s; what lies behind it is not looked at. It samples
// whole channels, an odd number apart. Pages of the beginning of a text are
// unlike others (attention sinks): some of elsewhere should be among them.
// The same pages give the same result on every machine.
func Tune(s Shape, pages ...[]byte) ([]Params, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	all := make([]Params, s.Segments)
	h := new(pairs)
	size := s.segmentBytes()
	for i := range all {
		*h = pairs{}
		for _, p := range pages {
			if len(p) >= s.Bytes() {
				h.add(p[i*size:][:size], s)
			}
		}
		all[i] = h.best()
	}
	return all, nil
}

// add counts a sample of a segment.
func (h *pairs) add(segment []byte, s Shape) {
	stride := 2 * s.Cols
	rows := s.Rows - zeroRows(segment, stride)
	step := max(1, s.Cols/sampledChannels) | 1
	for c := 0; c < s.Cols; c += step {
		top := -1
		for r := range rows {
			at := r*stride + 2*c
			e := segment[at]>>7 | segment[at+1]<<1
			if top < 0 {
				h[256][e]++
			} else {
				h[top][e]++
			}
			top = max(top, int(e))
		}
	}
}

// best finds the parameters that let the fewest values go on.
func (h *pairs) best() Params {
	var sum [256]uint32
	lowest, highest := 255, 0 // maxima that were met
	for m := range h {
		for e, n := range h[m] {
			sum[e] += n
			if n > 0 && m < 256 {
				lowest, highest = min(lowest, m), max(highest, m)
			}
		}
	}
	first := window(sum[:], 3)
	if h[256] != [256]uint32{} {
		first = window(h[256][:], 3)
	}
	within := func(m, start int) uint32 { return h[m][start] + h[m][start+1] + h[m][start+2] }
	down, low, top, most := 0, first, first, uint32(0)
	centre := window(sum[:], 3)
	for d := range 5 {
		for lo := max(0, centre-6); lo <= centre; lo++ {
			for hi := centre; hi <= min(centre+8, 253); hi++ {
				var n uint32
				for m := lowest; m <= highest; m++ {
					n += within(m, min(max(m-d, lo), hi))
				}
				if n > most {
					down, low, top, most = d, lo, hi, n
				}
			}
		}
	}
	p := Params{First: uint8(first), Down: uint8(down), Low: uint8(low), Top: uint8(top)}
	p.Second, p.Third = h.outer(p)
	return p
}

// outer finds the second and third window of what the first leaves.
func (h *pairs) outer(p Params) (second, third int8) {
	var x, y [256]uint32 // by the value as a signed byte, -128 first
	for m := range h {
		start := p.First
		if m < 256 {
			start = min(max(uint8(m)-min(uint8(m), p.Down), p.Low), p.Top)
		}
		for e, n := range h[m] {
			if v := uint8(e) - start; v >= 3 {
				x[outside(v)^0x80] += n
			}
		}
	}
	second = int8(window(x[:], 3) - 128)
	for i, n := range x {
		if v := uint8(i) ^ 0x80 - uint8(second); v >= 3 {
			y[outside(v)^0x80] += n
		}
	}
	return second, int8(window(y[:], 7) - 128)
}

// window returns the start of the width entries that hold most, the first of
// equal ones.
func window(h []uint32, width int) int {
	var n uint32
	for _, c := range h[:width] {
		n += c
	}
	best, most := 0, n
	for i := 1; i+width <= len(h); i++ {
		n += h[i+width-1] - h[i-1]
		if n > most {
			best, most = i, n
		}
	}
	return best
}
