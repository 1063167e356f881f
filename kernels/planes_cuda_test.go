//go:build cuda

package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/codec/planes"
)

// planesShapes lie around what stripes, groups and bit planes are made of.
var planesShapes = []planes.Shape{
	{Segments: 1, Rows: 1, Cols: 1}, {Segments: 1, Rows: 1, Cols: 7}, {Segments: 3, Rows: 2, Cols: 8},
	{Segments: 1, Rows: 16, Cols: 9}, {Segments: 2, Rows: 5, Cols: 31}, {Segments: 2, Rows: 16, Cols: 32},
	{Segments: 1, Rows: 15, Cols: 32}, {Segments: 1, Rows: 1, Cols: 64}, {Segments: 5, Rows: 16, Cols: 64},
	{Segments: 1, Rows: 16, Cols: 63}, {Segments: 1, Rows: 130, Cols: 1}, {Segments: 2, Rows: 7, Cols: 80},
	{Segments: 33, Rows: 3, Cols: 12}, {Segments: 1, Rows: 33, Cols: 127}, {Segments: 2, Rows: 16, Cols: 128},
	{Segments: 1, Rows: 16, Cols: 576}, {Segments: 70, Rows: 2, Cols: 33}, {Segments: 1, Rows: 64, Cols: 96},
}

// planesValues are kinds of values: every one by its channel and row.
var planesValues = []struct {
	name string
	make func(l *lab, s planes.Shape, channel, row int) uint16
}{
	{"zero", func(*lab, planes.Shape, int, int) uint16 { return 0 }},
	{"noise", func(l *lab, _ planes.Shape, _, _ int) uint16 { return uint16(l.rng.Uint32()) }},
	{"normal", func(l *lab, _ planes.Shape, _, _ int) uint16 { return bfloat(l.rng.NormFloat64()) }},
	{"channels", func(l *lab, _ planes.Shape, channel, _ int) uint16 {
		return bfloat(l.rng.NormFloat64() * math.Exp2(float64(channel%9-4)))
	}},
	{"outliers", func(l *lab, _ planes.Shape, channel, _ int) uint16 {
		if channel == 3 {
			return bfloat(1e9 * l.rng.NormFloat64())
		}
		return bfloat(l.rng.NormFloat64())
	}},
	{"specials", func(l *lab, _ planes.Shape, _, _ int) uint16 {
		return [...]uint16{0, 0x8000, 1, 0x807f, 0x7f80, 0xff80, 0x7fc0, 0xffff, 0x7f81, 0x3f80, bfloat(l.rng.NormFloat64())}[l.rng.IntN(11)]
	}},
	{"wide", func(l *lab, _ planes.Shape, _, _ int) uint16 { // every window leaves some
		return bfloat(l.rng.NormFloat64() * math.Exp2(float64(l.rng.IntN(14)-12)))
	}},
	{"zeros at the end", func(l *lab, s planes.Shape, _, row int) uint16 {
		if row >= s.Rows/2 {
			return 0
		}
		return bfloat(l.rng.NormFloat64())
	}},
}

func bfloat(f float64) uint16 { return uint16(math.Float32bits(float32(f)) >> 16) }

// valuePage returns a page of s with tail bytes behind its values.
func (l *lab) valuePage(s planes.Shape, tail, kind int) []byte {
	p := make([]byte, 0, s.Bytes()+tail)
	for range s.Segments {
		for i := range s.Rows * s.Cols {
			p = binary.LittleEndian.AppendUint16(p, planesValues[kind].make(l, s, i%s.Cols, i/s.Cols))
		}
	}
	for range tail {
		p = append(p, byte(l.rng.Uint32()))
	}
	return p
}

// anyWindows returns windows that fit nothing.
func (l *lab) anyWindows(n int) []planes.Params {
	ws := make([]planes.Params, n)
	for i := range ws {
		b := binary.LittleEndian.AppendUint64(nil, l.rng.Uint64())
		ws[i] = planes.Params{First: b[0], Down: b[1], Low: b[2], Top: b[3], Second: int8(b[4]), Third: int8(b[5])}
	}
	return ws
}

// coding is pages on the device and the room for what becomes of them, exactly
// as large as it has to be between canaries.
type coding struct {
	pages, payloads, places, windows, scratch *area
	p                                         Planes
}

const planesCanary = 48

func (l *lab) coding(s planes.Shape, tail int, pages [][]byte, windows []planes.Params, lead, gap int64) *coding {
	l.t.Helper()
	page := int64(s.Bytes() + tail)
	stride := (page + gap + 1) &^ 1
	memory := make([]byte, lead+stride*int64(len(pages)))
	_, _ = l.noise.Read(memory)
	for i, p := range pages {
		copy(memory[lead+stride*int64(i):], p)
	}
	var ws []byte
	for _, w := range windows {
		ws = AppendWindows(ws, w)
	}
	room := PlanesBytes(s, int64(tail), len(pages))
	c := &coding{
		pages: l.holding(memory), windows: l.holding(ws), payloads: l.random(room + 2*planesCanary),
		places:  l.random(int64(len(pages)+1)*PlaceBytes + 2*planesCanary),
		scratch: l.random(PlanesScratch(s, len(pages))),
	}
	c.p = Planes{
		Shape: s, Tail: int64(tail), Count: len(pages), Pages: c.pages.at(lead), Stride: stride,
		Payloads: c.payloads.at(planesCanary), PayloadBytes: room, Places: c.places.at(planesCanary), Blocks: l.rng.IntN(3),
	}
	return c
}

// payloadsReference writes the payloads of pages, one behind the other, and where
// they are.
func payloadsReference(t testing.TB, to, table []byte, s planes.Shape, pages [][]byte, windows []planes.Params) {
	t.Helper()
	var e planes.Encoder
	at := 0
	for i, page := range pages {
		payload, err := e.Append(nil, page, s, windows)
		require.NoError(t, err)
		PutPlace(table, i, Place{uint64(at), uint32(len(payload))})
		next := (at + len(payload) + 15) &^ 15
		clear(to[at:next])
		copy(to[at:], payload)
		at = next
	}
	PutPlace(table, len(pages), Place{Offset: uint64(at)})
}

// codes encodes pages and decodes what became of them, and compares both.
func (l *lab) codes(s planes.Shape, tail int, pages [][]byte, windows []planes.Params, what string) {
	l.t.Helper()
	c := l.coding(s, tail, pages, windows, 2*l.rng.Int64N(9), l.rng.Int64N(20))
	what = fmt.Sprintf("%s in %d pages of %+v with %d bytes behind, stride %d, %d blocks", what, len(pages), s, tail, c.p.Stride, c.p.Blocks)
	require.NoError(l.t, l.set.EncodePlanes(&l.q, c.p, c.windows.at(0), c.scratch.at(0)), what)
	l.run()
	payloadsReference(l.t, c.payloads.host[planesCanary:], c.places.host[planesCanary:], s, pages, windows)
	for i, got := range l.contents(c.payloads, c.places, c.pages) {
		want := []*area{c.payloads, c.places, c.pages}[i].host
		if at := differs(got, want); at >= 0 {
			l.t.Fatalf("area %d, byte %d: %#x, want %#x: %s", i, at, got[at], want[at], what)
		}
	}
	back, bad := l.random(int64(len(c.pages.host))), l.random(int64(4*len(pages)+2*planesCanary))
	d := c.p
	d.Pages = back.at(int64(c.p.Pages - c.pages.at(0)))
	require.NoError(l.t, l.set.DecodePlanes(&l.q, d, bad.at(planesCanary)), what)
	l.run()
	for i, page := range pages {
		copy(back.host[int64(d.Pages-back.at(0))+int64(i)*d.Stride:], page)
	}
	clear(bad.host[planesCanary:][:4*len(pages)])
	l.check([]*area{back, bad, c.payloads, c.places, c.pages, c.windows}, "%s", what)
	require.NoError(l.t, c.scratch.memory.Free())
}

// TestPlanes holds the kernels to package codec/planes, byte for byte.
func TestPlanes(t *testing.T) {
	l := newLab(t)
	for i, s := range planesShapes {
		for kind, values := range planesValues {
			count, tail := 1+(i+kind)%3, (i+kind)%4*7
			var pages [][]byte
			for range count {
				pages = append(pages, l.valuePage(s, tail, kind))
			}
			windows, err := planes.Tune(s, pages...)
			require.NoError(t, err)
			l.codes(s, tail, pages, windows, values.name)
			if kind%3 == i%3 {
				l.codes(s, tail, pages, l.anyWindows(s.Segments), values.name+", any windows")
			}
		}
	}
}

// TestPlanesOfManyPages goes around the rounds of planes_offsets.
func TestPlanesOfManyPages(t *testing.T) {
	l := newLab(t)
	s := planes.Shape{Segments: 1, Rows: 1, Cols: 24}
	for _, count := range []int{255, 256, 257, 600} {
		var pages [][]byte
		for i := range count {
			pages = append(pages, l.valuePage(s, 1, i%len(planesValues)))
		}
		l.codes(s, 1, pages, []planes.Params{{First: 125, Down: 2, Low: 120, Top: 126, Second: -4, Third: -11}}, "mixed")
	}
}
