package kernels

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

// bare is a Set whose launches nobody will run.
func bare() *Set {
	s := &Set{multiprocessors: 132}
	for _, k := range s.kernels() {
		*k.f = new(cuda.Function)
	}
	return s
}

func (s *Set) bareRuns(t *testing.T, pageBytes int64) *Runs {
	t.Helper()
	r, _, err := planRuns([]Run{{Address: somewhere, PageStride: (pageBytes + 15) &^ 15, Bytes: pageBytes, Count: 1}}, pageBytes)
	require.NoError(t, err)
	r.set, r.units, r.table = s, somewhere, somewhere
	return r
}

func TestOpenWithoutDevice(t *testing.T) {
	_, err := Open(t.Context(), nil, nil)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(ctx, new(cuda.Device), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPagesRefused(t *testing.T) {
	s := bare()
	r := s.bareRuns(t, 5000)
	good := Pages{Numbers: somewhere, Count: 3, Staging: somewhere, Stride: 5000}
	var q cuda.Submission
	for name, change := range map[string]func(*Pages){
		"negative count":        func(p *Pages) { p.Count = -1 },
		"count":                 func(p *Pages) { p.Count = math.MaxInt32 + 1 },
		"no numbers":            func(p *Pages) { p.Numbers = 0 },
		"numbers between words": func(p *Pages) { p.Numbers += 2 },
		"no staging":            func(p *Pages) { p.Staging = 0 },
		"short stride":          func(p *Pages) { p.Stride = 4999 },
		"negative stride":       func(p *Pages) { p.Stride = -5000 },
		"stride overflows":      func(p *Pages) { p.Stride = math.MaxInt64 },
		"staging overflows":     func(p *Pages) { p.Staging = math.MaxUint64 - 100 },
		"negative blocks":       func(p *Pages) { p.Blocks = -1 },
	} {
		p := good
		change(&p)
		require.ErrorIs(t, r.Gather(&q, p), kvferry.ErrInvalid, name)
		require.ErrorIs(t, r.Scatter(&q, p), kvferry.ErrInvalid, name)
	}
	require.NoError(t, r.Gather(&q, Pages{})) // no pages
	require.Zero(t, q.Len())
	require.NoError(t, r.Gather(&q, good))
	require.NoError(t, r.Scatter(&q, good))
	require.Equal(t, 2, q.Len())
}

func TestHashRefused(t *testing.T) {
	s := bare()
	r := s.bareRuns(t, 5000)
	parts := []Part{{0, 2512}, {2512, 2488}}
	good := Hash{Parts: parts, Count: 3, Digests: somewhere, Scratch: somewhere, ScratchBytes: ScratchBytes(parts, 3)}
	var q cuda.Submission
	for name, change := range map[string]func(*Hash){
		"negative count":    func(h *Hash) { h.Count = -1 },
		"count":             func(h *Hash) { h.Count = math.MaxInt32 + 1 },
		"too many chunks":   func(h *Hash) { h.Count = math.MaxInt32 / 5 },
		"negative offset":   func(h *Hash) { h.Parts = []Part{{-1, 5}} },
		"negative bytes":    func(h *Hash) { h.Parts = []Part{{5, -1}} },
		"beyond the page":   func(h *Hash) { h.Parts = []Part{{0, 2500}, {2501, 2500}} },
		"offset overflows":  func(h *Hash) { h.Parts = []Part{{math.MaxInt64, 2}} },
		"part too long":     func(h *Hash) { h.Parts = []Part{{0, math.MaxInt32 + 1}} },
		"no digests":        func(h *Hash) { h.Digests = 0 },
		"odd digests":       func(h *Hash) { h.Digests += 8 },
		"no scratch":        func(h *Hash) { h.Scratch = 0 },
		"odd scratch":       func(h *Hash) { h.Scratch += 4 },
		"too short scratch": func(h *Hash) { h.ScratchBytes-- },
		"negative blocks":   func(h *Hash) { h.Blocks = -1 },
		"two ways":          func(h *Hash) { h.Tile, h.Multiply = true, true },
	} {
		h := good
		change(&h)
		require.ErrorIs(t, s.HashPages(&q, somewhere, 5000, h), kvferry.ErrInvalid, name)
		require.ErrorIs(t, r.HashInPlace(&q, somewhere, h), kvferry.ErrInvalid, name)
	}
	require.ErrorIs(t, s.HashPages(&q, 0, 5000, good), kvferry.ErrInvalid)
	require.ErrorIs(t, s.HashPages(&q, somewhere, -1, good), kvferry.ErrInvalid)
	require.ErrorIs(t, s.HashPages(&q, somewhere, 4999, good), kvferry.ErrInvalid)
	require.ErrorIs(t, s.HashPages(&q, math.MaxUint64-5, 5000, good), kvferry.ErrInvalid)
	require.ErrorIs(t, s.HashPages(&q, somewhere, math.MaxInt64, good), kvferry.ErrInvalid)
	require.ErrorIs(t, r.HashInPlace(&q, 0, good), kvferry.ErrInvalid)
	require.ErrorIs(t, r.HashInPlace(&q, somewhere+1, good), kvferry.ErrInvalid)
	good.Parts = []Part{{8, 1000}}
	require.ErrorIs(t, r.HashInPlace(&q, somewhere, good), kvferry.ErrUnsupported)
	require.Zero(t, q.Len())
	require.NoError(t, s.HashPages(&q, 0, 0, Hash{})) // nothing to hash
	require.NoError(t, r.HashInPlace(&q, 0, Hash{Count: 3}))
	require.NoError(t, r.HashInPlace(&q, 0, Hash{Parts: parts}))
	require.Zero(t, q.Len())
	one := Hash{Parts: parts, Count: 1, Digests: somewhere, Scratch: somewhere, ScratchBytes: ScratchBytes(parts, 1)}
	require.NoError(t, s.HashPages(&q, somewhere, 0, one)) // one page needs no stride
	require.Equal(t, 2, q.Len())
}

func TestCompareRefused(t *testing.T) {
	s := bare()
	var q cuda.Submission
	for name, err := range map[string]error{
		"negative count":    s.Compare(&q, somewhere, somewhere, -1, 1, somewhere, somewhere),
		"no parts":          s.Compare(&q, somewhere, somewhere, 1, 0, somewhere, somewhere),
		"negative parts":    s.Compare(&q, somewhere, somewhere, 1, -1, somewhere, somewhere),
		"too many":          s.Compare(&q, somewhere, somewhere, math.MaxInt32, 2, somewhere, somewhere),
		"far too many":      s.Compare(&q, somewhere, somewhere, math.MaxInt, math.MaxInt, somewhere, somewhere),
		"no digests":        s.Compare(&q, 0, somewhere, 1, 1, somewhere, somewhere),
		"no digests wanted": s.Compare(&q, somewhere, 0, 1, 1, somewhere, somewhere),
		"odd digests":       s.Compare(&q, somewhere+8, somewhere, 1, 1, somewhere, somewhere),
		"odd wanted":        s.Compare(&q, somewhere, somewhere+4, 1, 1, somewhere, somewhere),
		"no indices":        s.Compare(&q, somewhere, somewhere, 1, 1, 0, somewhere),
		"odd indices":       s.Compare(&q, somewhere, somewhere, 1, 1, somewhere+2, somewhere),
		"no number":         s.Compare(&q, somewhere, somewhere, 1, 1, somewhere, 0),
		"odd number":        s.Compare(&q, somewhere, somewhere, 1, 1, somewhere, somewhere+1),
	} {
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
	require.Zero(t, q.Len())
}

func TestScratchBytes(t *testing.T) {
	const value = DigestBytes
	require.Zero(t, ScratchBytes(nil, 5))
	require.Zero(t, ScratchBytes([]Part{{0, 0}, {0, 1024}}, 5))
	require.EqualValues(t, 5*(2+1)*value, ScratchBytes([]Part{{0, 1025}}, 5))
	require.EqualValues(t, (1+5+2)*value, ScratchBytes([]Part{{0, 100}, {0, 5 * 1024}}, 1))
	many := make([]Part, 20) // the second group of eight is the longest
	many[9].Bytes = 4096
	require.EqualValues(t, (7+4+1)*value, ScratchBytes(many, 1))
	require.Zero(t, ScratchBytes([]Part{{0, 4096}}, 0))
	require.EqualValues(t, math.MaxInt64, ScratchBytes([]Part{{0, -1}}, 1))
	require.EqualValues(t, math.MaxInt64, ScratchBytes([]Part{{0, 4096}}, -1))
	require.EqualValues(t, math.MaxInt64, ScratchBytes([]Part{{0, 4096}}, math.MaxInt32))
}

// TestLaunches: how many there are depends on the longest tree and the number of
// parts, not on the pages.
func TestLaunches(t *testing.T) {
	s := bare()
	for _, c := range []struct {
		parts    []Part
		launches int
	}{
		{[]Part{{0, 1024}}, 1},
		{[]Part{{0, 4096}}, 2},
		{[]Part{{0, 4097}}, 3},
		{[]Part{{0, 16384}, {16384, 16384}}, 3},
		{[]Part{{0, 90112}, {90112, 90112}}, 1 + 4}, // TinyLlama
		{[]Part{{0, math.MaxInt32}}, 1 + 11},
		{make([]Part, 9), 2},
	} {
		for _, count := range []int{1, 700} {
			var q cuda.Submission
			h := Hash{Parts: c.parts, Count: count, Digests: somewhere, Scratch: somewhere, ScratchBytes: math.MaxInt64}
			require.NoError(t, s.HashPages(&q, somewhere, math.MaxInt32, h))
			require.Equal(t, c.launches, q.Len(), "%+v", c.parts)
		}
	}
}

func TestLaunchersAllocateNothing(t *testing.T) {
	s := bare()
	r := s.bareRuns(t, 180224)
	parts := []Part{{0, 90112}, {90112, 90112}}
	h := Hash{Parts: parts, Count: 100, Key: new([32]byte), Digests: somewhere, Scratch: somewhere, ScratchBytes: ScratchBytes(parts, 100)}
	var q cuda.Submission
	add := func() {
		q.Reset()
		require.NoError(t, r.Gather(&q, Pages{Numbers: somewhere, Count: 100, Staging: somewhere, Stride: 180224}))
		require.NoError(t, s.HashPages(&q, somewhere, 180224, h))
		require.NoError(t, r.HashInPlace(&q, somewhere, h))
		require.NoError(t, s.Compare(&q, somewhere, somewhere, 100, 2, somewhere, somewhere))
	}
	add()
	require.Zero(t, testing.AllocsPerRun(100, add))
}

func TestClosed(t *testing.T) {
	s := bare()
	r := s.bareRuns(t, 5000)
	s.closed = true
	require.NoError(t, s.Close())
	var q cuda.Submission
	parts := []Part{{0, 1}}
	h := Hash{Parts: parts, Count: 1, Digests: somewhere}
	require.ErrorIs(t, r.Gather(&q, Pages{Numbers: somewhere, Count: 1, Staging: somewhere, Stride: 5000}), kvferry.ErrClosed)
	require.ErrorIs(t, s.HashPages(&q, somewhere, 16, h), kvferry.ErrClosed)
	require.ErrorIs(t, r.HashInPlace(&q, somewhere, h), kvferry.ErrClosed)
	require.ErrorIs(t, s.Compare(&q, somewhere, somewhere, 1, 1, somewhere, somewhere), kvferry.ErrClosed)
	require.Zero(t, q.Len())
}
