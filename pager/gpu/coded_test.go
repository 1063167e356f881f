package gpu

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// valuePages returns pages of values as keys have them: each channel of a size
// of its own.
func valuePages(r *rand.Rand, s planes.Shape, n int) [][]byte {
	var pages [][]byte
	for range n {
		p := make([]byte, 0, s.Bytes())
		for i := range s.Bytes() / 2 {
			v := r.NormFloat64() * math.Exp2(float64(i%s.Cols%5-2))
			p = binary.LittleEndian.AppendUint16(p, uint16(math.Float32bits(float32(v))>>16))
		}
		pages = append(pages, p)
	}
	return pages
}

func TestShapesThatAreCoded(t *testing.T) {
	t.Parallel()
	m, err := pager.Plain(16, 3, 2, 12, pager.BF16)
	require.NoError(t, err)
	s, ok := shapeOf(m)
	require.True(t, ok)
	require.Equal(t, planes.Shape{Segments: 6, Rows: 16, Cols: 24}, s)
	require.Equal(t, m.PageBytes(), s.Bytes())
	latent := m
	latent.Parts = []pager.Part{{Kind: pager.PartLatent, Bytes: 3 * 16 * 1152, Form: pager.FormLatent}}
	s, ok = shapeOf(latent)
	require.True(t, ok)
	require.Equal(t, planes.Shape{Segments: 3, Rows: 16, Cols: 576}, s)
	for name, change := range map[string]func(*pager.Meta){
		"another dtype":     func(m *pager.Meta) { m.Dtype = pager.F16 },
		"no layers":         func(m *pager.Meta) { m.Layers = 0 },
		"no tokens":         func(m *pager.Meta) { m.PageTokens = 0 },
		"too many tokens":   func(m *pager.Meta) { m.PageTokens, m.Layers, m.Parts = 1<<16, 1, []pager.Part{{Bytes: 1 << 17}} },
		"no parts":          func(m *pager.Meta) { m.Parts = nil },
		"parts of no bytes": func(m *pager.Meta) { m.Parts = []pager.Part{{}} },
		"parts differ":      func(m *pager.Meta) { m.Parts = []pager.Part{{Bytes: 96}, {Bytes: 192}} },
		"odd rows":          func(m *pager.Meta) { m.Parts = []pager.Part{{Bytes: 97}} },
	} {
		other := m
		change(&other)
		_, ok := shapeOf(other)
		require.False(t, ok, name)
	}
}

func TestCoderOfAConfig(t *testing.T) {
	t.Parallel()
	m, err := pager.Plain(16, 3, 2, 12, pager.BF16)
	require.NoError(t, err)
	c, err := newCoder(&Config{}, m, 5)
	require.NoError(t, err)
	require.Nil(t, c)
	c, err = newCoder(&Config{Link: LinkPlanes}, m, 5)
	require.NoError(t, err)
	require.Equal(t, kernels.PlanesBytes(c.shape, 0, 5), c.room)
	require.Nil(t, c.current())
	_, err = newCoder(&Config{Link: LinkPlanes, Windows: make([]planes.Params, 5)}, m, 5)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	m.Dtype = pager.F16
	c, err = newCoder(&Config{Link: LinkPlanes, Windows: make([]planes.Params, 5)}, m, 5)
	require.NoError(t, err)
	require.Nil(t, c, "pages of other elements cross as they are")
	require.Nil(t, (&Pager{&cache{}}).Windows())
}

// TestWindowsAreLearnt from the first pages, and anew by the 1st, 2nd, 4th ...
// batch that hardly shrinks.
func TestWindowsAreLearnt(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	c := &coder{shape: planes.Shape{Segments: 2, Rows: 16, Cols: 64}}
	pages := valuePages(r, c.shape, 20)
	want, err := planes.Tune(c.shape, pages[1], pages[3], pages[6], pages[8], pages[11], pages[13], pages[16], pages[18])
	require.NoError(t, err)
	c.learn(pages, 0)
	require.Equal(t, want, c.current())
	others := valuePages(r, c.shape, 1)
	for i := range others[0] {
		if i%2 != 0 {
			others[0][i] ^= 0x30 // other exponents
		}
	}
	plain := uint64(len(others) * c.shape.Bytes())
	c.learn(others, plain/2)
	require.Equal(t, want, c.current())
	again, err := planes.Tune(c.shape, others...)
	require.NoError(t, err)
	require.NotEqual(t, want, again)
	for _, tunes := range []bool{true, true, false, true, false, false, false, true} {
		c.windows = want
		c.learn(others, plain)
		if tunes {
			require.Equal(t, again, c.current())
		} else {
			require.Equal(t, want, c.current())
		}
	}
}

// arrived is a batch out of three pages whose payloads have arrived.
func arrived(t *testing.T) (*way, *slot, [][]byte) {
	t.Helper()
	const n = 3
	c := &coder{shape: planes.Shape{Segments: 2, Rows: 16, Cols: 24}}
	c.room = kernels.PlanesBytes(c.shape, 0, n)
	pages := valuePages(rand.New(rand.NewPCG(1, 2)), c.shape, n)
	windows, err := planes.Tune(c.shape, pages...)
	require.NoError(t, err)
	l := &lane{coding: codingRoom{hostPayloads: make([]byte, c.room), hostPlaces: make([]byte, (n+1)*kernels.PlaceBytes)}}
	k := &work{}
	at := 0
	for i, p := range pages {
		payload, err := new(planes.Encoder).Append(nil, p, c.shape, windows)
		require.NoError(t, err)
		copy(l.coding.hostPayloads[at:], payload)
		kernels.PutPlace(l.coding.hostPlaces, i, kernels.Place{Offset: uint64(at), Bytes: uint32(len(payload))})
		at += (len(payload) + 15) &^ 15
		k.job.Pages = append(k.job.Pages, pager.PageID(i))
		k.job.Frames = append(k.job.Frames, make([]byte, len(p)))
	}
	kernels.PutPlace(l.coding.hostPlaces, n, kernels.Place{Offset: uint64(at)})
	w := newWay(&cache{coder: c, geometry: geometry{pageBytes: int64(c.shape.Bytes())}}, pager.Out)
	w.crew.start(2)
	t.Cleanup(w.crew.stop)
	return w, &slot{work: k, lane: l, n: n, coded: true, fetching: true}, pages
}

// TestCorruptPayloadsAreCorrupt: what the link makes of payloads is ErrCorrupt or
// another page, which its digest tells of; never a panic.
func TestCorruptPayloadsAreCorrupt(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	w, s, pages := arrived(t)
	again, err := w.receiveCoded(s)
	require.NoError(t, err)
	require.False(t, again)
	for i, p := range pages {
		require.True(t, bytes.Equal(p, s.work.job.Frames[i]))
	}
	require.EqualValues(t, 3, w.c.counts.codedPages.Load())
	require.EqualValues(t, 3*len(pages[0]), w.c.counts.codedFrom.Load())
	require.Less(t, w.c.counts.codedBytes.Load(), w.c.counts.codedFrom.Load())
	good := bytes.Clone(s.lane.coding.hostPayloads)
	failed, other := 0, 0
	for range 400 {
		copy(s.lane.coding.hostPayloads, good)
		p := kernels.PlaceAt(s.lane.coding.hostPlaces, r.IntN(3))
		s.lane.coding.hostPayloads[p.Offset+r.Uint64N(uint64(p.Bytes))] ^= 1 << r.IntN(8)
		if _, err := w.receiveCoded(s); err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.NotErrorIs(t, err, kvferry.ErrUnsupported)
			failed++
			continue
		}
		other++
	}
	require.Positive(t, failed)
	require.Positive(t, other)
	s.lane.coding.hostPayloads[0] = 9
	_, err = w.receiveCoded(s)
	require.ErrorIs(t, err, kvferry.ErrCorrupt, "another version")
	require.NotErrorIs(t, err, kvferry.ErrUnsupported)
}

// TestNothingIsFetchedWhenTimeIsOver: it would be given up before it arrives, and
// its lane fenced although nothing in it hangs.
func TestNothingIsFetchedWhenTimeIsOver(t *testing.T) {
	t.Parallel()
	w, s, _ := arrived(t)
	s.fetching, s.work.until = false, time.Now()
	again, err := w.receiveCoded(s)
	require.False(t, again)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestCorruptOnTheWayIn: what the device could not decode fails the copy.
func TestCorruptOnTheWayIn(t *testing.T) {
	t.Parallel()
	w, s, _ := arrived(t)
	w.direction, s.lane.coding.hostBad, s.bytes = pager.In, make([]byte, 12), 77
	again, err := w.receiveCoded(s)
	require.NoError(t, err)
	require.False(t, again)
	require.EqualValues(t, 77, w.c.counts.codedBytes.Load())
	s.lane.coding.hostBad[4] = 1
	_, err = w.receiveCoded(s)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.ErrorContains(t, err, "page 1")
	require.EqualValues(t, 77, w.c.counts.codedBytes.Load())
}

// TestWhatTheDeviceTellsOfPayloadsIsChecked before anything is copied by it.
func TestWhatTheDeviceTellsOfPayloadsIsChecked(t *testing.T) {
	t.Parallel()
	w, s, _ := arrived(t)
	good := bytes.Clone(s.lane.coding.hostPlaces)
	total, err := payloadsOf(good, 3, w.c.coder.room)
	require.NoError(t, err)
	require.EqualValues(t, kernels.PlaceAt(good, 3).Offset, total)
	for name, spoil := range map[string]func(b []byte){
		"all zeros":           func(b []byte) { clear(b) },
		"first elsewhere":     func(b []byte) { b[0] = 16 },
		"beyond the next":     func(b []byte) { binary.LittleEndian.PutUint32(b[8:], 1<<30) },
		"next before":         func(b []byte) { binary.LittleEndian.PutUint64(b[2*kernels.PlaceBytes:], 8) },
		"next far beyond":     func(b []byte) { binary.LittleEndian.PutUint64(b[kernels.PlaceBytes:], 1<<63) },
		"end before":          func(b []byte) { binary.LittleEndian.PutUint64(b[3*kernels.PlaceBytes:], 32) },
		"beyond the room":     func(b []byte) { binary.LittleEndian.PutUint64(b[3*kernels.PlaceBytes:], uint64(w.c.coder.room)+16) },
		"far beyond it":       func(b []byte) { binary.LittleEndian.PutUint64(b[3*kernels.PlaceBytes:], math.MaxUint64) },
		"last longer than so": func(b []byte) { binary.LittleEndian.PutUint32(b[2*kernels.PlaceBytes+8:], math.MaxUint32) },
	} {
		copy(s.lane.coding.hostPlaces, good)
		spoil(s.lane.coding.hostPlaces)
		_, err := w.receiveCoded(s)
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
}
