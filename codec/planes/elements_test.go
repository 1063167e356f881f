package planes

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/huff0"
	"github.com/stretchr/testify/require"
)

// shorten makes another element of a bfloat16 by leaving bits of its mantissa out,
// or drawing those that it lacks; those of E4M3 are 64 times as great, as an
// engine's scale makes them.
func (e Elements) shorten(v, drawn uint16) uint16 {
	sign, exponent, mantissa := v>>15, int(v>>7&0xff)-127, v&0x7f
	if e == E4M3 {
		n := min(exponent+6+7, 14)
		if n <= 0 {
			return sign << 7
		}
		return sign<<7 | uint16(n)<<3 | mantissa>>4
	}
	n := min(exponent+15, 30)
	if n <= 0 {
		n, mantissa, drawn = 0, 0, 0
	}
	half := sign<<15 | uint16(n)<<10 | mantissa<<3 | drawn&7
	if e == E5M2 {
		return half >> 8
	}
	return half
}

// narrowed makes pages of other elements of real ones.
func (r *realPages) narrowed(e Elements) (pages [][]byte) {
	draw := rand.NewPCG(1, 1)
	for _, p := range r.pages {
		var out []byte
		for at := 0; at < len(p); at += 2 {
			v := e.shorten(binary.LittleEndian.Uint16(p[at:]), uint16(draw.Uint64()))
			if out = append(out, byte(v)); e.Bytes() == 2 {
				out = append(out, byte(v>>8))
			}
		}
		pages = append(pages, out)
	}
	return pages
}

// others are the elements besides bfloat16.
var others = []Elements{Float16, E4M3, E5M2}

// TestOtherElements holds the level small, on real pages of other elements than
// bfloat16, to a ratio, and to what huff0 makes of their bytes.
func TestOtherElements(t *testing.T) {
	for _, set := range readPages(t) {
		if os.Getenv("KVFERRY_SOAK") == "" {
			set.pages = set.pages[:6] // a few tell nearly as much
		}
		s := Shape{set.shape.Segments / 2, set.shape.Rows, set.shape.Cols}
		for _, el := range others {
			var e Encoder
			var d Decoder
			var plain, little, bytewise int
			for _, p := range set.narrowed(el) {
				for _, half := range [][]byte{p[:len(p)/2], p[len(p)/2:]} {
					little += len(checkSmall(t, &e, &d, half, s, el))
					bytewise += huffmanBytes(half, el.Bytes())
					plain += len(half)
				}
			}
			require.Less(t, little, bytewise, "%s as %d", set.name, el)
			ratio := float64(plain) / float64(little)
			require.Greater(t, ratio, map[Elements]float64{Float16: 1.15, E4M3: 1.16, E5M2: 1.36}[el], "%s as %d", set.name, el)
		}
	}
}

// huffmanBytes is how long huff0 makes elements whose bytes of each place it
// codes by themselves.
func huffmanBytes(b []byte, width int) (size int) {
	for at := range width {
		var one []byte
		for i := at; i < len(b); i += width {
			one = append(one, b[i])
		}
		out, _, err := huff0.Compress4X(one, &huff0.Scratch{})
		if err != nil {
			out = one
		}
		size += len(out)
	}
	return size
}

// TestWrongElements: what is said to be something else costs no more than its
// bytes and a head, at either level.
func TestWrongElements(t *testing.T) {
	var e Encoder
	var d Decoder
	for _, set := range readPages(t) {
		set.pages = set.pages[:5]
		page := set.pages[2]
		for _, of := range others {
			other := set.narrowed(of)[2]
			for _, el := range elements {
				s := Shape{set.shape.Segments, set.shape.Rows, set.shape.Cols}
				if s.Segments = len(other) / (el.Bytes() * s.Rows * s.Cols); s.Segments > 0 {
					checkSmall(t, &e, &d, other, s, el)
				}
			}
			s := set.shape
			if of.Bytes() == 1 {
				s.Segments /= 2
			}
			params, err := Tune(s, page, other)
			require.NoError(t, err)
			payload, err := e.Append(nil, other, s, params)
			require.NoError(t, err)
			require.LessOrEqual(t, len(payload), MaxBytes(s, len(other)))
			require.LessOrEqual(t, len(payload), len(other)+pad8(headBytes+entryBytes*s.Segments))
			back := make([]byte, len(other))
			require.NoError(t, d.Decode(back, payload))
			require.Equal(t, other, back)
		}
	}
}
