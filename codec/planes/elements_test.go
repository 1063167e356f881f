package planes

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// format is a floating-point format without infinities' special cases: what
// lies beyond it becomes the greatest value.
type format struct {
	el             Elements
	exponent, bits int // widths of exponent and mantissa
	most           float64
}

// most is the greatest finite value. Of e4m3 it is that of the variant that has
// no infinities.
var formats = []format{{Float16, 5, 10, 65504}, {E4M3, 4, 3, 448}, {E5M2, 5, 2, 57344}}

// of rounds f to the format, ties to even.
func (x format) of(f float64) uint16 {
	var sign uint16
	if math.Signbit(f) {
		sign, f = 1<<(x.exponent+x.bits), -f
	}
	if f == 0 {
		return sign
	}
	f = min(f, x.most)
	bias := 1<<(x.exponent-1) - 1
	_, e := math.Frexp(f) // f = 0.1... * 2^e
	e = max(e-1, 1-bias)
	n := math.RoundToEven(math.Ldexp(f, x.bits-e)) // with the leading one if it is normal
	return sign | uint16(int(n)+(e-1+bias)<<x.bits)
}

// converted makes pages of another format of real ones, as engines do: of e4m3
// with a scale for each layer's K and V, so that the greatest value is that of
// the format; else the values as they are. The bits of the mantissa that
// bfloat16 has not are drawn.
func (r *realPages) converted(x format) (pages [][]byte) {
	size := r.shape.segmentBytes()
	scale := make([]float64, r.shape.Segments)
	for i := range scale {
		scale[i] = 1
		if x.el != E4M3 {
			continue
		}
		greatest := 0.0
		for _, p := range r.pages {
			for at := i * size; at < (i+1)*size; at += 2 {
				greatest = max(greatest, math.Abs(value(p[at:])))
			}
		}
		scale[i] = x.most / greatest
	}
	draw := rand.New(rand.NewPCG(1, 1))
	for _, p := range r.pages {
		var out []byte
		for at := 0; at < r.shape.Bytes(); at += 2 {
			v := x.of(value(p[at:]) * (1 + draw.Float64()/256) * scale[at/size])
			if out = append(out, byte(v)); x.el.Bytes() == 2 {
				out = append(out, byte(v>>8))
			}
		}
		pages = append(pages, out)
	}
	return pages
}

// value is that of a bfloat16.
func value(b []byte) float64 {
	return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
}

func TestFormats(t *testing.T) {
	for i, c := range []struct {
		f    float64
		want uint16
	}{{1, 0x3c00}, {-2, 0xc000}, {65519, 0x7bff}, {1e9, 0x7bff}, {0, 0}, {math.Ldexp(1, -24), 1}, {math.Ldexp(1, -14), 0x400}, {1.0 / 3, 0x3555}} {
		require.Equal(t, c.want, formats[0].of(c.f), "%d", i)
	}
	require.Equal(t, uint16(0x7e), formats[1].of(448))
	require.Equal(t, uint16(0x38), formats[1].of(1))
	require.Equal(t, uint16(0x01), formats[1].of(math.Ldexp(1, -9)))
	require.Equal(t, uint16(0xbc), formats[2].of(-1))
}

// byWindows is about how long the fast level would make pages of el: its windows
// over their exponents, and signs and mantissas as they are.
func byWindows(t *testing.T, r *realPages, el Elements, pages [][]byte) (size int) {
	s := Shape{r.shape.Segments / 2, r.shape.Rows, r.shape.Cols}
	n := s.Segments * s.Rows * s.Cols
	var e Encoder
	for part := range 2 {
		var wide [][]byte
		for _, p := range pages {
			half := p[part*n*el.Bytes():][:n*el.Bytes()]
			wide = append(wide, el.widen(make([]byte, 2*n), make([]byte, n), half))
		}
		params, err := Tune(s, wide[1:5]...)
		require.NoError(t, err)
		for _, w := range wide {
			payload, err := e.Append(nil, w, s, params)
			require.NoError(t, err)
			size += len(payload) - n + (n*(1+el.mantissa())+7)/8
			if el == Float16 {
				size += n
			}
		}
	}
	return size
}

// TestOtherElements measures what there is for pages of other elements than
// bfloat16, and holds the level small to what docs/codec.md says of it.
func TestOtherElements(t *testing.T) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	require.NoError(t, err)
	defer func() { require.NoError(t, z.Close()) }()
	for _, set := range readPages(t) {
		if os.Getenv("KVFERRY_SOAK") == "" {
			set.pages = set.pages[:6] // a few tell nearly as much
		}
		s := Shape{set.shape.Segments / 2, set.shape.Rows, set.shape.Cols}
		for _, x := range formats {
			var e Encoder
			var d Decoder
			var plain, little, bytewise, general int
			pages := set.converted(x)
			for _, p := range pages {
				for _, half := range [][]byte{p[:len(p)/2], p[len(p)/2:]} {
					little += len(checkSmall(t, &e, &d, half, s, x.el))
					bytewise += huffmanBytes(half, x.el.Bytes())
					general += len(z.EncodeAll(half, nil))
					plain += len(half)
				}
			}
			ratio := func(n int) float64 { return float64(plain) / float64(n) }
			t.Logf("%s as %+v: small %.3f, windows %.3f, bytes by huff0 %.3f, zstd %.3f", set.name, x,
				ratio(little), ratio(byWindows(t, &set, x.el, pages)), ratio(bytewise), ratio(general))
			require.Less(t, little, bytewise)
			require.Greater(t, ratio(little), map[Elements]float64{Float16: 1.15, E4M3: 1.16, E5M2: 1.36}[x.el])
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
		for _, x := range formats {
			other := set.converted(x)[2]
			for _, el := range elements {
				s := Shape{set.shape.Segments, set.shape.Rows, set.shape.Cols}
				if s.Segments = len(other) / (el.Bytes() * s.Rows * s.Cols); s.Segments > 0 {
					checkSmall(t, &e, &d, other, s, el)
				}
			}
			s := set.shape
			if x.el.Bytes() == 1 {
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
