//go:build cuda

package gpu

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/pagertest"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// coded lets pages cross the link as planes, from the first on if they can be
// coded at all.
func coded(c *Config) {
	c.Link = LinkPlanes
	if s, ok := shapeOf(c.Layout.Meta); ok {
		c.Windows = make([]planes.Params, s.Segments)
		for i := range c.Windows {
			c.Windows[i] = planes.Params{First: 125, Down: 2, Low: 122, Top: 127, Second: -5, Third: -12}
		}
	}
}

// TestConformanceCoded takes every geometry with KVFERRY_SOAK, else the smaller
// ones: on the software driver each value that is coded costs a microsecond.
func TestConformanceCoded(t *testing.T) {
	geometries := some("one-token", "odd-size", "latent", "zero-dims", "no-pages")
	if os.Getenv("KVFERRY_SOAK") != "" {
		geometries = pagertest.Geometries()
	}
	pagertest.Run(t, factory(dense, coded), geometries...)
	twoPages := func(c *Config) { // as little staging as can be
		coded(c)
		c.StagingBytes = 2 * int64(c.Layout.Meta.PageBytes())
	}
	pagertest.Run(t, factory(pager.KVPacked, twoPages), some("two-byte-runs")...)
	pagertest.Run(t, factory(pager.TokenPools, func(c *Config) { c.Link = LinkPlanes }), some("latent")...)
}

// TestEngineLayoutsCoded moves noise, which is stored as it is.
func TestEngineLayoutsCoded(t *testing.T) {
	for _, c := range engineLayouts(t) {
		t.Run("layout="+c.name, func(t *testing.T) {
			for _, frames := range []string{"together", "heap", "mixed"} {
				t.Run("frames="+frames, func(t *testing.T) { roundTrip(t, c.layout, coded, frames) })
			}
		})
	}
}

func TestFaultsOfCodedCopies(t *testing.T) {
	for _, d := range []pager.Direction{pager.Out, pager.In} {
		t.Run(fmt.Sprintf("direction=%d", d), func(t *testing.T) {
			sweep(t, coded, func(c *patient) error { return c.job(d) })
		})
	}
}

// valued is a world with pages of values in it, which are also on the host.
func valued(t *testing.T, change func(*Config)) (w *world, p *Pager, ids []pager.PageID, pages [][]byte) {
	m, err := pager.Plain(16, 2, 2, 32, pager.BF16)
	require.NoError(t, err)
	l, err := pager.KVPerPage(m, 24, false)
	require.NoError(t, err)
	w = newWorld(t, l)
	s, ok := shapeOf(m)
	require.True(t, ok)
	ids = w.all()
	pages = valuePages(w.rng, s, len(ids))
	p = w.open(func(c *Config) {
		if change(c); c.Windows != nil {
			c.Windows, err = planes.Tune(s, pages...)
			require.NoError(t, err)
		}
	})
	memory := w.memory()
	expect(t, w.layout, memory, ids, pages)
	w.queueUpload(memory)
	w.settle()
	return w, p, ids, pages
}

// TestCodedBytesCrossTheLink counts what does, by the driver's own count.
func TestCodedBytesCrossTheLink(t *testing.T) {
	w, p, ids, pages := valued(t, inBatches(5, coded))
	softcuda.Only(t)
	frames := w.frames(len(ids), 0)
	toHost, toDevice := softcuda.BytesOverLink()
	w.move(p, pager.Out, ids, frames)
	for i := range pages {
		require.True(t, bytes.Equal(pages[i], frames[i]), "page %d", ids[i])
	}
	s := p.Stats()
	plain := uint64(len(ids) * len(pages[0]))
	require.EqualValues(t, len(ids), s.CodedPages)
	require.Equal(t, plain, s.PlainBytes)
	require.Less(t, s.CodedBytes, plain*4/5)
	h, d := softcuda.BytesOverLink()
	require.EqualValues(t, s.Bytes, h-toHost+d-toDevice)
	require.Less(t, h-toHost, int64(plain*4/5)+int64(len(ids)+5)*16)

	again := valuePages(w.rng, p.cache.coder.shape, len(ids))
	toDevice = d
	w.move(p, pager.In, ids, again)
	_, d = softcuda.BytesOverLink()
	require.Less(t, d-toDevice, int64(plain*4/5))
	w.move(p, pager.Out, ids, frames)
	for i := range again {
		require.True(t, bytes.Equal(again[i], frames[i]), "page %d", ids[i])
	}
	require.EqualValues(t, 3*len(ids), p.Stats().CodedPages)
}

// TestWindowsOfTheFirstPages: without windows the first batch out crosses as it
// is, and those after it do not; a batch in is looked at before.
func TestWindowsOfTheFirstPages(t *testing.T) {
	for _, d := range []pager.Direction{pager.Out, pager.In} {
		w, p, ids, pages := valued(t, inBatches(8, func(c *Config) { c.Link = LinkPlanes }))
		require.Nil(t, p.Windows())
		frames := w.frames(len(ids), 0)
		if d == pager.In {
			for i := range frames {
				copy(frames[i], pages[i])
			}
		}
		w.move(p, d, ids[:8], frames[:8])
		windows := p.Windows()
		require.Len(t, windows, p.cache.coder.shape.Segments)
		coded := uint64(0)
		if d == pager.In {
			coded = 8
		}
		require.Equal(t, coded, p.Stats().CodedPages)
		w.move(p, pager.Out, ids, frames)
		for i := range pages {
			require.True(t, bytes.Equal(pages[i], frames[i]), "page %d", ids[i])
		}
		require.Equal(t, coded+uint64(len(ids)), p.Stats().CodedPages)
		require.Less(t, p.Stats().CodedBytes, p.Stats().PlainBytes*4/5)
		require.Equal(t, windows, p.Windows())
	}
}

// TestDigestsBesideCodedCopies: digests use the same lanes.
func TestDigestsBesideCodedCopies(t *testing.T) {
	w, p, ids, pages := valued(t, inBatches(4, coded))
	frames := w.frames(len(ids), 0)
	ticket := w.submitJob(p, pager.Out, ids, frames)
	sums := make([]digest.Digest, 2*len(ids))
	require.NoError(t, p.cache.DigestPages(t.Context(), digest.BLAKE3, nil, ids, sums))
	w.done(p, ticket)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	for i := range ids {
		for j := range 2 {
			require.Equal(t, h.Sum(pages[i][j*len(pages[i])/2:][:len(pages[i])/2]), sums[2*i+j])
		}
		require.True(t, bytes.Equal(pages[i], frames[i]))
	}
}

func TestCodedPagesCostNoAllocation(t *testing.T) {
	w, p, ids, pages := valued(t, inBatches(5, coded))
	frames := w.frames(len(ids), 0)
	for i := range frames {
		copy(frames[i], pages[i])
	}
	ctx := t.Context()
	cost := func(n int, d pager.Direction) float64 {
		return testing.AllocsPerRun(4, func() {
			ticket, err := p.cache.Submit(ctx, pager.Job{Direction: d, Pages: ids[:n], Frames: frames[:n]})
			if err != nil {
				panic(err)
			}
			if c, err := p.cache.Wait(ctx, ticket); err != nil || c.Outcome != pager.Done {
				panic(c)
			}
		})
	}
	for _, d := range []pager.Direction{pager.Out, pager.In} {
		one, all := cost(1, d), cost(11, d)
		require.InDelta(t, one, all, 0.9, "a job of 11 pages in 3 batches costs what one of a page does")
		require.LessOrEqual(t, all, 8.0)
	}
}

// TestSnapshotsOverACodedLink are those of the host.
func TestSnapshotsOverACodedLink(t *testing.T) {
	w := newWorld(t, ordinary(t))
	source, err := synthetic.New(synthetic.Options{Meta: w.layout.Meta, Capacity: w.layout.Pages})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	require.NoError(t, source.Populate(w.layout.Pages, 7))
	store, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	want, err := capture.Capture(t.Context(), source, store, capture.Options{})
	require.NoError(t, err)
	p := w.open(inBatches(3, func(c *Config) { c.Link = LinkPlanes }))
	_, err = capture.Restore(t.Context(), store, want.Root, p.View(), capture.RestoreOptions{KeepIndices: true})
	require.NoError(t, err)
	require.EqualValues(t, w.layout.Pages, p.Stats().CodedPages)
	other, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	got, err := capture.Capture(t.Context(), p.View(), other, capture.Options{})
	require.NoError(t, err)
	require.Equal(t, want.Root, got.Root)
	require.EqualValues(t, 2*w.layout.Pages, p.Stats().CodedPages)
}
