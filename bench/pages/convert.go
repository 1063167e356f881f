package pages

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// Format is a floating-point format that engines keep a cache in: a sign, an
// exponent and a mantissa, 8 or 16 bits together.
type Format struct {
	Name               string
	Exponent, Mantissa int     // bits
	Most               float64 // greatest finite value
	Scaled             bool    // each layer's K and V are scaled so that their greatest value is Most
}

// Formats are those besides bfloat16. The greatest value of e4m3 is that of the
// variant without infinities.
func Formats() []Format {
	return []Format{
		{Name: "f16", Exponent: 5, Mantissa: 10, Most: 65504},
		{Name: "e4m3", Exponent: 4, Mantissa: 3, Most: 448, Scaled: true},
		{Name: "e5m2", Exponent: 5, Mantissa: 2, Most: 57344},
	}
}

// Bytes is the length of a value.
func (f Format) Bytes() int { return (1 + f.Exponent + f.Mantissa) / 8 }

// Round rounds v to the format, ties to even; what lies beyond the greatest
// value becomes that.
func (f Format) Round(v float64) uint16 {
	var sign uint16
	if math.Signbit(v) {
		sign, v = 1<<(f.Exponent+f.Mantissa), -v
	}
	if v == 0 {
		return sign
	}
	v = min(v, f.Most)
	bias := 1<<(f.Exponent-1) - 1
	_, e := math.Frexp(v) // v is 0.1... * 2^e
	e = max(e-1, 1-bias)
	n := math.RoundToEven(math.Ldexp(v, f.Mantissa-e)) // with the leading one if v is normal
	return sign | uint16(int(n)+(e-1+bias)<<f.Mantissa)
}

// Convert returns the pages of a set in another format, as an engine has them
// that keeps its cache in it; s is not changed. The bits of a mantissa that
// bfloat16 lacks are drawn, the same in each call.
func (s *Set) Convert(f Format) [][]byte {
	scale := s.scales(f)
	draw := rand.New(rand.NewPCG(1, 1))
	size := s.SegmentBytes()
	var pages [][]byte
	for _, p := range s.Pages {
		out := make([]byte, 0, len(p)/2*f.Bytes())
		for at := 0; at < len(p); at += 2 {
			v := f.Round(value(p[at:]) * (1 + draw.Float64()/256) * scale[at/size])
			if out = append(out, byte(v)); f.Bytes() == 2 {
				out = append(out, byte(v>>8))
			}
		}
		pages = append(pages, out)
	}
	return pages
}

// scales are what the values of each segment are multiplied by.
func (s *Set) scales(f Format) []float64 {
	scale, size := make([]float64, s.Segments()), s.SegmentBytes()
	for i := range scale {
		scale[i] = 1
		if !f.Scaled {
			continue
		}
		greatest := 0.0
		for _, p := range s.Pages {
			for at := i * size; at < (i+1)*size; at += 2 {
				greatest = max(greatest, math.Abs(value(p[at:])))
			}
		}
		if greatest > 0 {
			scale[i] = f.Most / greatest
		}
	}
	return scale
}

// value is that of a bfloat16.
func value(b []byte) float64 {
	return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
}
