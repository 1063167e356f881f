package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/cuda"
)

// somePlanes are pages of layers that one may code.
func somePlanes() Planes {
	s := planes.Shape{Segments: 44, Rows: 16, Cols: 256}
	return Planes{
		Shape: s, Tail: 3, Count: 100, Pages: somewhere, Stride: int64(s.Bytes()) + 4,
		Payloads: somewhere, PayloadBytes: PlanesBytes(s, 3, 100), Places: somewhere,
	}
}

func TestPlanesRefused(t *testing.T) {
	s := bare()
	var q cuda.Submission
	for name, change := range map[string]func(*Planes){
		"no shape":             func(p *Planes) { p.Shape = planes.Shape{} },
		"too many rows":        func(p *Planes) { p.Shape.Rows = 1 << 16 },
		"too many segments":    func(p *Planes) { p.Shape = planes.Shape{Segments: 1<<16 + 1, Rows: 1, Cols: 1} },
		"negative tail":        func(p *Planes) { p.Tail = -1 },
		"long tail":            func(p *Planes) { p.Tail = math.MaxInt32 },
		"tail overflows":       func(p *Planes) { p.Tail = math.MaxInt64 },
		"negative count":       func(p *Planes) { p.Count = -1 },
		"count":                func(p *Planes) { p.Count = math.MaxInt32 / 45 * 2 },
		"no pages":             func(p *Planes) { p.Pages = 0 },
		"odd pages":            func(p *Planes) { p.Pages++ },
		"odd stride":           func(p *Planes) { p.Stride++ },
		"short stride":         func(p *Planes) { p.Stride -= 2 },
		"negative stride":      func(p *Planes) { p.Stride = -p.Stride },
		"stride overflows":     func(p *Planes) { p.Stride = math.MaxInt64 - 1 },
		"pages overflow":       func(p *Planes) { p.Pages = math.MaxUint64 - 1 },
		"no payloads":          func(p *Planes) { p.Payloads = 0 },
		"payloads between":     func(p *Planes) { p.Payloads += 8 },
		"negative room":        func(p *Planes) { p.PayloadBytes = -1 },
		"room overflows":       func(p *Planes) { p.PayloadBytes = math.MaxInt64 },
		"no places":            func(p *Planes) { p.Places = 0 },
		"places between":       func(p *Planes) { p.Places += 8 },
		"negative blocks":      func(p *Planes) { p.Blocks = -1 },
		"segments of 1 GiB":    func(p *Planes) { p.Shape = planes.Shape{Segments: 1, Rows: 1 << 15, Cols: 1 << 14} },
		"more pages than fits": func(p *Planes) { p.Count, p.Stride = math.MaxInt32/45, 1<<60 },
	} {
		p := somePlanes()
		change(&p)
		require.ErrorIs(t, s.EncodePlanes(&q, p, somewhere, somewhere), kvferry.ErrInvalid, name)
		require.ErrorIs(t, s.DecodePlanes(&q, p, somewhere), kvferry.ErrInvalid, name)
	}
	p := somePlanes()
	p.PayloadBytes--
	require.ErrorIs(t, s.EncodePlanes(&q, p, somewhere, somewhere), kvferry.ErrInvalid)
	p = somePlanes()
	for _, at := range []cuda.Ptr{0, somewhere + 4} {
		require.ErrorIs(t, s.EncodePlanes(&q, p, at, somewhere), kvferry.ErrInvalid)
		require.ErrorIs(t, s.EncodePlanes(&q, p, somewhere, at), kvferry.ErrInvalid)
	}
	for _, at := range []cuda.Ptr{0, somewhere + 2} {
		require.ErrorIs(t, s.DecodePlanes(&q, p, at), kvferry.ErrInvalid)
	}
	none := Planes{Shape: p.Shape}
	require.NoError(t, s.EncodePlanes(&q, none, 0, 0)) // no pages
	require.NoError(t, s.DecodePlanes(&q, none, 0))
	require.Zero(t, q.Len())
	require.NoError(t, s.EncodePlanes(&q, p, somewhere, somewhere))
	require.Equal(t, 4, q.Len())
	require.NoError(t, s.DecodePlanes(&q, p, somewhere))
	require.Equal(t, 4+2, q.Len())
	s.closed = true
	require.ErrorIs(t, s.EncodePlanes(&q, p, somewhere, somewhere), kvferry.ErrClosed)
	require.ErrorIs(t, s.DecodePlanes(&q, p, somewhere), kvferry.ErrClosed)
}

// TestPlanesRoom: what the room is reckoned from is what a payload may have.
func TestPlanesRoom(t *testing.T) {
	s := planes.Shape{Segments: 3, Rows: 5, Cols: 7}
	most := int64(planes.MaxBytes(s, s.Bytes()+9))
	require.Equal(t, 2*((most+15)/16*16), PlanesBytes(s, 9, 2))
	require.EqualValues(t, math.MaxInt64, PlanesBytes(planes.Shape{}, 0, 1))
	require.EqualValues(t, math.MaxInt64, PlanesBytes(s, -1, 1))
	require.EqualValues(t, 2*3*blockBytes, PlanesScratch(s, 2))
}

func TestPlacesAndWindows(t *testing.T) {
	table := make([]byte, 3*PlaceBytes)
	for i := range table {
		table[i] = 0xff
	}
	want := Place{1<<40 + 5, 1<<32 - 2}
	PutPlace(table, 1, want)
	require.Equal(t, want, PlaceAt(table, 1))
	require.Equal(t, byte(0xff), table[PlaceBytes-1])
	require.Equal(t, byte(0xff), table[2*PlaceBytes])
	require.Equal(t, []byte{9, 1, 2, 3, 4, 0xfb, 0xfa, 0, 0},
		AppendWindows([]byte{9}, planes.Params{First: 1, Down: 2, Low: 3, Top: 4, Second: -5, Third: -6}))
}

func TestPlanesLaunchersAllocateNothing(t *testing.T) {
	s, p := bare(), somePlanes()
	var q cuda.Submission
	add := func() {
		q.Reset()
		require.NoError(t, s.EncodePlanes(&q, p, somewhere, somewhere))
		require.NoError(t, s.DecodePlanes(&q, p, somewhere))
	}
	add()
	require.Zero(t, testing.AllocsPerRun(100, add))
}
