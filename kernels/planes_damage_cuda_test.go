//go:build cuda

package kernels

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/codec/planes"
)

// damaged are payloads with something wrong, or not.
func (l *lab) damaged(payload []byte, n int) [][]byte {
	var all [][]byte
	for range n {
		bad := bytes.Clone(payload)
		switch l.rng.IntN(6) {
		case 0: // cut or longer
			if l.rng.IntN(2) == 0 {
				bad = bad[:l.rng.IntN(len(bad))]
			} else {
				bad = append(bad, make([]byte, 1+l.rng.IntN(20))...)
			}
		case 1: // in the head, the entries or a block's parameters
			bad[l.rng.IntN(min(len(bad), 40))] ^= 1 << l.rng.IntN(8)
		case 2:
			_, _ = l.noise.Read(bad[l.rng.IntN(len(bad)):])
		case 3:
			for range 8 {
				bad[l.rng.IntN(len(bad))] = byte(l.rng.Uint32())
			}
		default:
			bad[l.rng.IntN(len(bad))] ^= 1 << l.rng.IntN(8)
		}
		all = append(all, bad)
	}
	return all
}

// TestDamagedPlanes: the kernel takes the payloads that planes.Decoder takes, to
// the same pages, and tells of the others. That it reads and writes nothing
// outside is for the software driver, or a sanitizer, to say.
func TestDamagedPlanes(t *testing.T) {
	l := newLab(t)
	for _, s := range []planes.Shape{
		{Segments: 2, Rows: 5, Cols: 31}, {Segments: 2, Rows: 16, Cols: 32}, {Segments: 3, Rows: 16, Cols: 64}, {Segments: 1, Rows: 9, Cols: 80},
	} {
		for _, kind := range []int{3, 6, 7} {
			const tail = 3
			page := l.valuePage(s, tail, kind)
			windows, err := planes.Tune(s, page)
			require.NoError(t, err)
			payload, err := new(planes.Encoder).Append(nil, page, s, windows)
			require.NoError(t, err)
			l.decodes(s, tail, append(l.damaged(payload, 60), payload))
		}
	}
}

// TestPlanesHeads flips every bit of what is not a block, and of its parameters.
func TestPlanesHeads(t *testing.T) {
	l := newLab(t)
	s := planes.Shape{Segments: 2, Rows: 5, Cols: 31}
	for _, kind := range []int{1, 3} { // stored as they are, and coded
		page := l.valuePage(s, 3, kind)
		windows, err := planes.Tune(s, page)
		require.NoError(t, err)
		payload, err := new(planes.Encoder).Append(nil, page, s, windows)
		require.NoError(t, err)
		all := [][]byte{payload}
		for bit := range 8 * (24 + 8) {
			bad := bytes.Clone(payload)
			bad[bit/8] ^= 1 << (bit % 8)
			all = append(all, bad)
		}
		l.decodes(s, 3, all)
	}
}

// decodes decodes payloads that may be damaged, and compares.
func (l *lab) decodes(s planes.Shape, tail int, payloads [][]byte) {
	t := l.t
	var all []byte
	places := make([]byte, len(payloads)*PlaceBytes)
	for i, p := range payloads {
		PutPlace(places, i, Place{uint64(len(all)), uint32(len(p))})
		all = append(all, p...)
		all = append(all, make([]byte, -len(all)&7)...)
	}
	page := s.Bytes() + tail
	stride := (page + 1) &^ 1
	from, table := l.holding(all), l.holding(places)
	back, bad := l.random(int64(stride*len(payloads))), l.random(int64(4*len(payloads)))
	p := Planes{
		Shape: s, Tail: int64(tail), Count: len(payloads), Pages: back.at(0), Stride: int64(stride),
		Payloads: from.at(0), PayloadBytes: int64(len(all)), Places: table.at(0),
	}
	require.NoError(t, l.set.DecodePlanes(&l.q, p, bad.at(0)))
	got := l.contents(back, bad)
	taken := 0
	for i, payload := range payloads {
		want := make([]byte, page)
		err := new(planes.Decoder).Decode(want, payload)
		if shape, e := planes.ParseShape(payload); err == nil && (e != nil || shape != s) {
			err = fmt.Errorf("another shape, %+v", shape) // of which the kernel is told
		}
		wrong := binary.LittleEndian.Uint32(got[1][4*i:])
		require.Equal(t, err != nil, wrong != 0, "payload %d of %+v: %v", i, s, err)
		require.LessOrEqual(t, wrong, uint32(1))
		if err == nil {
			taken++
			require.True(t, bytes.Equal(want, got[0][i*stride:][:page]), "payload %d of %+v", i, s)
		}
	}
	require.Positive(t, taken)
	require.Less(t, taken, len(payloads))
	for _, a := range []*area{from, table, back, bad} {
		require.NoError(t, a.memory.Free())
	}
}

// TestPlacesOutside: places that do not lie in the payloads are bad, and the
// others' pages are right.
func TestPlacesOutside(t *testing.T) {
	l := newLab(t)
	s := planes.Shape{Segments: 2, Rows: 4, Cols: 16}
	page := l.valuePage(s, 0, 2)
	payload, err := new(planes.Encoder).Append(nil, page, s, []planes.Params{{First: 125, Low: 120, Top: 126}})
	require.NoError(t, err)
	n := uint32(len(payload))
	from := l.holding(append(bytes.Clone(payload), make([]byte, 8)...))
	bads := []Place{
		{8, n}, {1, n}, {4, n}, {0, n + 1}, {0, n + 9}, {16, n}, {1 << 63, n}, {math.MaxUint64 - 7, n}, {0, math.MaxUint32}, {0, 0}, {uint64(n), 0},
		{uint64(n) + 8, 0}, {uint64(n) + 16, 0},
	}
	places := make([]byte, (len(bads)+1)*PlaceBytes)
	for i, b := range bads {
		PutPlace(places, i, b)
	}
	PutPlace(places, len(bads), Place{0, n})
	table, back, bad := l.holding(places), l.random(int64((len(bads)+1)*s.Bytes())), l.random(int64(4*len(bads)+4))
	p := Planes{
		Shape: s, Count: len(bads) + 1, Pages: back.at(0), Stride: int64(s.Bytes()),
		Payloads: from.at(0), PayloadBytes: int64(len(from.host)), Places: table.at(0),
	}
	require.NoError(t, l.set.DecodePlanes(&l.q, p, bad.at(0)))
	clear(bad.host)
	for i := range bads {
		bad.host[4*i] = 1
	}
	clear(back.host)
	copy(back.host[len(bads)*s.Bytes():], page)
	got := l.contents(bad)[0]
	require.Equal(t, bad.host, got)
	have := l.content(back)
	require.Equal(t, page, have[len(bads)*s.Bytes():])
	for _, a := range []*area{from, table, back, bad} {
		require.NoError(t, a.memory.Free())
	}
}

// TestPlanesAtTheEndOfMemory cuts blocks where each part begins and ends, with
// their entries telling of it, at the end of an allocation: what reads on meets
// memory that nobody may touch.
func TestPlanesAtTheEndOfMemory(t *testing.T) {
	l := newLab(t)
	s := planes.Shape{Segments: 1, Rows: 32, Cols: 96}
	page := l.valuePage(s, 0, 6)
	windows, err := planes.Tune(s, page)
	require.NoError(t, err)
	good, err := new(planes.Encoder).Append(nil, page, s, windows)
	require.NoError(t, err)
	const head = 24 // and one entry
	n := s.Rows * s.Cols
	length := len(good) - head
	ones := bytes.Clone(good)
	for i := range ones[head+8:] {
		ones[head+8+i] = 0xff // every window leaves everything
	}
	zeros := bytes.Clone(good)
	zeros[head+6], zeros[head+7] = 0xff, 0xff // more rows of zeros than there are
	for _, payload := range [][]byte{good, ones, zeros} {
		for _, cut := range []int{0, 1, 7, 8, 9, 16, n, n + 8, n + 16, n + n/4, n + n/4 + 8, n + n/4 + 16, n + n/4 + 64, length - 64, length - 16, length - 8} {
			bad := bytes.Clone(payload[:head+(cut+7)&^7])
			binary.LittleEndian.PutUint32(bad[16:], uint32(cut)|1<<30)
			l.decodesAtEnd(s, bad)
			bad = bad[:len(bad)-min(8, len(bad)-head)]
			l.decodesAtEnd(s, bad)
		}
	}
	for n := range head {
		l.decodesAtEnd(s, good[:n])
	}
}

// decodesAtEnd decodes a payload that is not right, the last bytes of an
// allocation.
func (l *lab) decodesAtEnd(s planes.Shape, payload []byte) {
	t := l.t
	require.Error(t, new(planes.Decoder).Decode(make([]byte, s.Bytes()), payload))
	const page = 256 // what the software driver lets an allocation end at
	whole := make([]byte, (len(payload)+page-1)&^(page-1)+page)
	at := (len(whole) - len(payload)) &^ 7
	copy(whole[at:], payload)
	places := make([]byte, PlaceBytes)
	PutPlace(places, 0, Place{uint64(at), uint32(len(payload))})
	from, table, back, bad := l.holding(whole), l.holding(places), l.random(int64(s.Bytes())), l.random(4)
	p := Planes{
		Shape: s, Count: 1, Pages: back.at(0), Stride: int64(s.Bytes()),
		Payloads: from.at(0), PayloadBytes: int64(len(whole)), Places: table.at(0),
	}
	require.NoError(t, l.set.DecodePlanes(&l.q, p, bad.at(0)))
	require.Equal(t, []byte{1, 0, 0, 0}, l.content(bad), "%d bytes", len(payload))
	for _, a := range []*area{from, table, back, bad} {
		require.NoError(t, a.memory.Free())
	}
}

// FuzzDecodePlanes decodes arbitrary payloads of one shape: the kernel agrees with
// planes.Decoder.
func FuzzDecodePlanes(f *testing.F) {
	l := newLab(f)
	s := planes.Shape{Segments: 2, Rows: 7, Cols: 20}
	whole := new(planes.Encoder)
	var good []byte
	for _, kind := range []int{2, 6, 7} {
		page := l.valuePage(s, 1, kind)
		windows, err := planes.Tune(s, page)
		require.NoError(f, err)
		good, err = whole.Append(nil, page, s, windows)
		require.NoError(f, err)
		f.Add(good)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		l.t = t
		l.decodes(s, 1, [][]byte{payload, good, good[:len(good)-1]})
	})
}
