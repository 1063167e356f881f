package pagertest

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

type testCase struct {
	name string
	run  func(*testing.T, *suite)
}

func cases() []testCase {
	return []testCase{
		{"meta", testMeta},
		{"empty", testEmpty},
		{"round-trip", testRoundTrip},
		{"buffer-lengths", testBufferLengths},
		{"absent-pages", testAbsent},
		{"allocate", testAllocate},
		{"allocate-all-or-none", testAllOrNone},
		{"occupied", testOccupied},
		{"concurrent-pages", testConcurrent},
		{"pause", testPause},
		{"install", testInstall},
		{"install-refused", testInstallRefused},
		{"slices-belong-to-caller", testSlices},
		{"cancelled", testCancelled},
		{"releaser", testReleaser},
		{"reserver", testReserver},
		{"generations", testGenerations},
		{"digester", testDigester},
		{"comparer", testComparer},
		{"mover", testMover},
		{"mover-refuses", testMoverRefuses},
		{"mover-deadline", testMoverDeadline},
	}
}

func testMeta(t *testing.T, s *suite) {
	p := s.open(t)
	require.True(t, p.Meta().Equal(s.g.Meta), "%v, want %v", p.Meta(), s.g.Meta)
	require.NoError(t, p.Meta().Validate())
	filled(t, p, s.g.Pages, 1)
	require.True(t, p.Meta().Equal(s.g.Meta), "the geometry never changes")
}

func testEmpty(t *testing.T, s *suite) {
	p := s.open(t)
	ids, err := p.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
	seqs, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Empty(t, seqs)
}

func testRoundTrip(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 10)
	holds(t, p, ids, 10)
	src := make([]byte, s.g.Meta.PageBytes())
	for i, id := range slices.Backward(ids) {
		content(src, 1000+uint64(i))
		require.NoError(t, p.WritePage(t.Context(), id, src))
		clear(src) // the pager has its own copy
	}
	holds(t, p, ids, 1000)
}

func testBufferLengths(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, min(s.g.Pages, 2), 3)
	n := s.g.Meta.PageBytes()
	for _, id := range ids {
		for _, wrong := range []int{0, n - 1, n + 1, 2 * n} {
			if wrong < 0 || wrong == n {
				continue
			}
			require.ErrorIs(t, p.ReadPage(t.Context(), id, make([]byte, wrong)), kvferry.ErrInvalid, "read %d of %d bytes", wrong, n)
			require.ErrorIs(t, p.WritePage(t.Context(), id, make([]byte, wrong)), kvferry.ErrInvalid, "write %d of %d bytes", wrong, n)
		}
	}
	holds(t, p, ids, 3)
}

func testAbsent(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 4)
	buf := make([]byte, s.g.Meta.PageBytes())
	for _, id := range []pager.PageID{pager.PageID(s.g.Pages), math.MaxUint32} {
		require.ErrorIs(t, p.ReadPage(t.Context(), id, buf), kvferry.ErrNotFound)
		require.ErrorIs(t, p.WritePage(t.Context(), id, buf), kvferry.ErrNotFound)
	}
	holds(t, p, ids, 4)
}

func testAllocate(t *testing.T, s *suite) {
	p := s.open(t)
	seen := make(map[pager.PageID]bool)
	for left, n := s.g.Pages, 0; left > 0; left -= n {
		n = min(left, n+1)
		ids, err := p.AllocatePages(t.Context(), n)
		require.NoError(t, err)
		require.Len(t, ids, n)
		for _, id := range ids {
			require.Less(t, int(id), s.g.Pages)
			require.False(t, seen[id], "page %d was given twice", id)
			seen[id] = true
		}
	}
	ids, err := p.AllocatePages(t.Context(), 0)
	require.NoError(t, err, "no pages can always be had")
	require.Empty(t, ids)
	_, err = p.AllocatePages(t.Context(), -1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func testAllOrNone(t *testing.T, s *suite) {
	p := s.open(t)
	for _, n := range []int{s.g.Pages + 1, math.MaxInt32} {
		ids, err := p.AllocatePages(t.Context(), n)
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
		require.Empty(t, ids)
	}
	filled(t, p, s.g.Pages, 5) // nothing was taken
	_, err := p.AllocatePages(t.Context(), 1)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
}

func testOccupied(t *testing.T, s *suite) {
	p := s.open(t)
	var want []pager.PageID
	var seqs []pager.LogicalSeq
	for _, n := range []int{s.g.Pages / 2, s.g.Pages - s.g.Pages/2} {
		ids, err := p.AllocatePages(t.Context(), n)
		require.NoError(t, err)
		for i, id := range slices.Backward(ids) {
			require.NoError(t, p.WritePage(t.Context(), id, bytesOf(s.g.Meta, uint64(i))))
		}
		want = append(want, ids...)
		seqs = append(seqs, pager.LogicalSeq{ID: string(rune('a' + len(seqs))), Pages: ids})
		require.NoError(t, p.InstallLogicalSeqs(t.Context(), seqs))
		got, err := p.OccupiedPages(t.Context())
		require.NoError(t, err)
		slices.Sort(want)
		require.Equal(t, append([]pager.PageID{}, want...), append([]pager.PageID{}, got...), "ascending, without repeats")
	}
}

func testConcurrent(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 6)
	const workers = 4
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() { errs[w] = churn(t.Context(), p, ids, w, workers) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	holds(t, p, ids, 7777)
}

// churn rewrites every workers-th page from w on several times.
func churn(ctx context.Context, p pager.Pager, ids []pager.PageID, w, workers int) error {
	buf, want := make([]byte, p.Meta().PageBytes()), make([]byte, p.Meta().PageBytes())
	for round := range 3 {
		for i := w; i < len(ids); i += workers {
			tag := uint64(i) + 7777
			if round < 2 {
				tag = uint64(round*len(ids) + i)
			}
			content(want, tag)
			if err := p.WritePage(ctx, ids[i], want); err != nil {
				return err
			}
			if err := p.ReadPage(ctx, ids[i], buf); err != nil {
				return err
			}
			if string(buf) != string(want) {
				return kvferry.ErrCorrupt
			}
		}
	}
	return nil
}

func testPause(t *testing.T, s *suite) {
	p := s.open(t)
	ids := filled(t, p, s.g.Pages, 8)
	for range 3 {
		require.NoError(t, p.Pause(t.Context()))
		holds(t, p, ids, 8)
		got, err := p.OccupiedPages(t.Context())
		require.NoError(t, err)
		require.Len(t, got, s.g.Pages)
		require.NoError(t, p.Resume(t.Context()))
	}
}
