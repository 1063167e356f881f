package pages_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/pages"
)

func TestRound(t *testing.T) {
	f := pages.Formats()
	for i, c := range []struct {
		v    float64
		want uint16
	}{{1, 0x3c00}, {-2, 0xc000}, {65519, 0x7bff}, {1e9, 0x7bff}, {0, 0}, {math.Ldexp(1, -24), 1}, {math.Ldexp(1, -14), 0x400}, {1.0 / 3, 0x3555}} {
		require.Equal(t, c.want, f[0].Round(c.v), "%d", i)
	}
	require.Equal(t, uint16(0x7e), f[1].Round(448))
	require.Equal(t, uint16(0x38), f[1].Round(1))
	require.Equal(t, uint16(0x01), f[1].Round(math.Ldexp(1, -9)))
	require.Equal(t, uint16(0xbc), f[2].Round(-1))
	require.Equal(t, []int{2, 1, 1}, []int{f[0].Bytes(), f[1].Bytes(), f[2].Bytes()})
}

// TestConvert: a scaled format's greatest value comes up in every segment that
// has values, one that is not scaled keeps them, and zeros stay zeros.
func TestConvert(t *testing.T) {
	s := &pages.Set{Geometry: pages.Geometry{Layers: 1, Tokens: 1, Heads: 1, Dim: 4}}
	page := make([]byte, s.PageBytes())
	for i, v := range []uint16{0x3f80, 0xc000, 0, 0x3e80} { // 1, -2, 0, 0.25; V is empty
		binary.LittleEndian.PutUint16(page[2*i:], v)
	}
	s.Pages = [][]byte{page}
	f := pages.Formats()
	wide := s.Convert(f[0])
	require.Len(t, wide[0], 16)
	for i, v := range []uint16{0x3c00, 0xc000, 0, 0x3400, 0, 0, 0, 0} {
		got := binary.LittleEndian.Uint16(wide[0][2*i:])
		require.Equal(t, v, got&^0xf, "%d: but for the bits that bfloat16 lacks", i)
	}
	scaled := s.Convert(f[1])
	require.Equal(t, byte(0xfe), scaled[0][1])
	require.Equal(t, make([]byte, 4), scaled[0][4:])
	require.Equal(t, scaled, s.Convert(f[1]))
}
