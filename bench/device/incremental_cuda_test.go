//go:build cuda

package main

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// lazy is a mover that moves a part of each job, and says that it moved all.
type lazy struct {
	pager.Mover
	moved func(pages int) int
}

func (l lazy) Submit(ctx context.Context, j pager.Job) (pager.Ticket, error) {
	n := l.moved(len(j.Pages))
	j.Pages, j.Frames = j.Pages[:n], j.Frames[:n]
	return l.Mover.Submit(ctx, j)
}

// swapped is a mover that brings pages in the order of other ones.
type swapped struct{ pager.Mover }

func (s swapped) Submit(ctx context.Context, j pager.Job) (pager.Ticket, error) {
	n := len(j.Pages)
	other := append(append([]pager.PageID(nil), j.Pages[n-1:]...), j.Pages[:n-1]...)
	j.Pages = other
	return s.Mover.Submit(ctx, j)
}

// known makes a small cache whose digests are known.
func known(t *testing.T) *incremental {
	t.Helper()
	softcuda.Device(t)
	dir := t.TempDir()
	b := newBench(t.Context(), options{out: dir, work: dir, small: true, budget: total()}, os.Stderr)
	t.Cleanup(func() { require.NoError(t, b.close()) })
	require.NoError(t, b.kernels())
	meta, err := tinyLlama()
	require.NoError(t, err)
	w, frames, host, err := b.cache(meta, b.scale.capturePages)
	require.NoError(t, err)
	s, err := b.stream()
	require.NoError(t, err)
	i := &incremental{bench: b, world: w, frames: frames, limit: contiguous(s, address(host), w.memory.Ptr(), int64(len(host)))}
	require.NoError(t, i.base())
	return i
}

// fetched is what fetch says of a share of the pages.
func (i *incremental) fetched(t *testing.T, percent int) *row {
	t.Helper()
	require.NoError(t, i.fetch(percent, ""))
	rows, err := i.bench.journal.rows()
	require.NoError(t, err)
	return rows[len(rows)-1]
}

// TestFetchLooks: frames that a copy did not fill, or not with their pages, are
// seen, and a share of no page claims nothing.
func TestFetchLooks(t *testing.T) {
	i := known(t)
	mover := i.world.mover
	require.Equal(t, checkOK, i.fetched(t, 50).Check)
	require.Empty(t, i.fetched(t, 0).Check)
	i.world.mover = lazy{mover, func(int) int { return 1 }}
	require.Equal(t, checkOK, i.fetched(t, 5).Check, "one page is all there is")
	require.Contains(t, i.fetched(t, 50).Check, "bytes are not what they have to be")
	i.world.mover = lazy{mover, func(n int) int { return n - 1 }}
	require.Contains(t, i.fetched(t, 100).Check, "bytes are not what they have to be")
	i.world.mover = swapped{mover}
	require.Contains(t, i.fetched(t, 100).Check, "bytes are not what they have to be")
	i.world.mover = mover
	require.Equal(t, checkOK, i.fetched(t, 100).Check)
}

// TestSameLooks: a snapshot of the cache as it was is not taken for one of the
// cache as it is.
func TestSameLooks(t *testing.T) {
	i := known(t)
	store, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	first, err := i.take(store, digest.Digest{})
	require.NoError(t, err)
	require.NoError(t, i.same(store, first.Root))
	require.NoError(t, i.change(i.changed(5)))
	require.ErrorIs(t, i.same(store, first.Root), errWrong)
	second, err := i.take(store, first.Root)
	require.NoError(t, err)
	require.NoError(t, i.same(store, second.Root))
}
