package planes

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/huff0"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// TestEverythingComesBack holds all kernels to the bytes of the reference.
func TestEverythingComesBack(t *testing.T) {
	for _, s := range shapes {
		for c, content := range contents {
			page := makePage(s, c%3*5, c)
			tuned, err := Tune(s, page)
			require.NoError(t, err)
			for _, params := range [][]Params{tuned, {{}}, {{First: 250, Down: 255, Low: 255, Top: 1, Second: 127, Third: -128}}} {
				want, err := (&Encoder{k: &reference}).Append([]byte("before"), page, s, params)
				require.NoError(t, err)
				require.LessOrEqual(t, len(want)-6, MaxBytes(s, len(page)))
				for _, k := range implementations {
					got, err := (&Encoder{k: k}).Append(nil, page, s, params)
					require.NoError(t, err)
					require.True(t, bytes.Equal(want[6:], got), "%s %v of %v: %v", k.name, content.name, s, params)
					back, check := guarded(len(page))
					require.NoError(t, (&Decoder{k: k}).Decode(back, got))
					require.True(t, bytes.Equal(page, back), "%s %v of %v: %v", k.name, content.name, s, params)
					check(t)
				}
			}
		}
	}
}

// TestAnyBytes does so for random shapes, parameters and bits.
func TestAnyBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		s := Shape{1 + r.IntN(3), 1 + r.IntN(40), 1 + r.IntN(300)}
		page := make([]byte, s.Bytes()+r.IntN(4))
		width := r.IntN(16) // of exponents
		base := uint16(r.Uint32())
		for i := 0; i+1 < len(page); i += 2 {
			binary.LittleEndian.PutUint16(page[i:], base+uint16(r.Uint32())>>width)
		}
		p := []Params{{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), int8(r.Uint32()), int8(r.Uint32())}}
		if r.IntN(2) == 0 {
			var err error
			p, err = Tune(s, page)
			require.NoError(t, err)
		}
		want, err := (&Encoder{k: &reference}).Append(nil, page, s, p)
		require.NoError(t, err)
		for _, k := range implementations {
			got, err := (&Encoder{k: k}).Append(nil, page, s, p)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got), "%s %v %v", k.name, s, p)
			back := make([]byte, len(page))
			require.NoError(t, (&Decoder{k: k}).Decode(back, got))
			require.True(t, bytes.Equal(page, back), "%s %v %v", k.name, s, p)
		}
	}
}

// TestRatio holds the codec to what it is for: it shrinks real pages as far as an
// entropy coder of all exponents does, also without those at the end of a text,
// which are zero in part and shrink to less.
func TestRatio(t *testing.T) {
	for _, set := range readPages(t) {
		params := set.tuned(t)
		var e Encoder
		var all, full struct{ plain, coded, entropy int }
		for _, page := range set.pages {
			payload, err := e.Append(nil, page, set.shape, params)
			require.NoError(t, err)
			entropy := exponentsByHuff0(t, page)
			all.plain += len(page)
			all.coded += len(payload)
			all.entropy += entropy
			if zeroRows(page, 2*set.shape.Cols) == 0 {
				full.plain += len(page)
				full.coded += len(payload)
				full.entropy += entropy
			}
		}
		ratio, ofFull := float64(all.plain)/float64(all.coded), float64(full.plain)/float64(full.coded)
		limit, limitOfFull := float64(all.plain)/float64(all.entropy), float64(full.plain)/float64(full.entropy)
		t.Logf("%s: %.4f, exponents by huff0 %.4f; full pages %.4f, %.4f", set.name, ratio, limit, ofFull, limitOfFull)
		require.Greater(t, ratio, map[string]float64{"s260k": 1.465, "kvlab": 1.505}[set.name])
		require.Greater(t, ratio, 0.985*limit)
		require.Greater(t, ofFull, map[string]float64{"s260k": 1.45, "kvlab": 1.48}[set.name])
		require.Greater(t, ofFull, 0.985*limitOfFull)
	}
}

// exponentsByHuff0 is the size of a page whose exponents are coded by huff0,
// each half of the page with its own tables, and whose other bits are kept.
func exponentsByHuff0(t *testing.T, page []byte) (size int) {
	for half := range 2 {
		part := page[half*len(page)/2:][:len(page)/2]
		exps := make([]byte, 0, len(part)/2)
		for i := 0; i < len(part); i += 2 {
			exps = append(exps, byte(binary.LittleEndian.Uint16(part[i:])>>7))
		}
		out, _, err := huff0.Compress1X(exps, new(huff0.Scratch))
		require.NoError(t, err)
		size += len(out) + len(part)/2
	}
	return size
}

// TestZeros: what holds nothing costs nothing.
func TestZeros(t *testing.T) {
	s := Shape{12, 16, 256}
	payload, err := new(Encoder).Append(nil, make([]byte, s.Bytes()), s, []Params{{First: 120}})
	require.NoError(t, err)
	require.Len(t, payload, headBytes+12*entryBytes+12*paramBytes)
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	set := readPages(t)[1]
	params := set.tuned(t)
	eachKernels(t, func(t *testing.T, k *kernels) {
		e, d := Encoder{k: k}, Decoder{k: k}
		payload := make([]byte, 0, 2*MaxBytes(set.shape, set.shape.Bytes()))
		page := make([]byte, set.shape.Bytes())
		require.Zero(t, testing.AllocsPerRun(20, func() {
			payload, _ = e.Append(payload[:0], set.pages[3], set.shape, params)
			_ = d.Decode(page, payload)
		}))
		require.True(t, bytes.Equal(page, set.pages[3]))
	})
}

func TestInvalid(t *testing.T) {
	var e Encoder
	for _, s := range []Shape{{}, {1, 1, 0}, {-1, 1, 1}, {1, 70000, 1}, {1, 1, math.MaxInt}, {math.MaxInt, 1, 1}, {1, 60000, 60000}} {
		_, err := e.Append(nil, nil, s, []Params{{}})
		require.ErrorIs(t, err, kvferry.ErrInvalid, s.String())
		_, err = Tune(s)
		require.ErrorIs(t, err, kvferry.ErrInvalid, s.String())
	}
	_, err := e.Append(nil, make([]byte, 31), Shape{1, 1, 16}, []Params{{}})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	for _, n := range []int{0, 2, 4} {
		_, err = e.Append(nil, make([]byte, 96), Shape{3, 1, 16}, make([]Params, n))
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}
