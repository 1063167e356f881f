package synthetic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// The first tests are those of ProcessFork's pager.rs under their own names.

func seedMeta(t *testing.T) pager.Meta { return plain(t, 4, 2, 2, 4, pager.BF16) }

func TestPopulateThenReadRoundTripsBytes(t *testing.T) {
	t.Parallel()
	e := populated(t, seedMeta(t), 8, 42)
	ids, err := e.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{0, 1, 2, 3, 4, 5, 6, 7}, ids)
	for _, id := range ids {
		b := read(t, e, id)
		require.Len(t, b, 256)
		want := make([]byte, 128)
		fill(want, 42^uint64(id)^saltK)
		require.Equal(t, want, b[:128])
		fill(want, 42^uint64(id)^saltV)
		require.Equal(t, want, b[128:])
	}
}

func TestSameSeedProducesByteIdenticalPages(t *testing.T) {
	t.Parallel()
	a, b := populated(t, seedMeta(t), 4, 7), populated(t, seedMeta(t), 4, 7)
	for id := range pager.PageID(4) {
		require.Equal(t, read(t, a, id), read(t, b, id))
	}
}

func TestDifferentSeedDiverges(t *testing.T) {
	t.Parallel()
	a, b := populated(t, seedMeta(t), 4, 7), populated(t, seedMeta(t), 4, 9)
	require.NotEqual(t, read(t, a, 0), read(t, b, 0))
}

func TestWritePageValidatesLength(t *testing.T) {
	t.Parallel()
	e := populated(t, seedMeta(t), 1, 0)
	before := read(t, e, 0)
	for _, n := range []int{0, 128, 255, 257} {
		require.ErrorIs(t, e.WritePage(t.Context(), 0, make([]byte, n)), kvferry.ErrInvalid)
	}
	require.Equal(t, before, read(t, e, 0))
}

func TestAllocatePagesReturnsMonotonicIndices(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Meta: seedMeta(t)})
	require.NoError(t, err)
	ids, err := e.AllocatePages(t.Context(), 3)
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{0, 1, 2}, ids)
	ids, err = e.AllocatePages(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{3, 4}, ids)
}

// Seeds and page indices are XOR-ed: seeds that differ below the page count
// give the same pages in another order.
func TestTrapOfXoredSeeds(t *testing.T) {
	t.Parallel()
	set := func(n int, seed uint64) map[[32]byte]bool {
		e := populated(t, seedMeta(t), n, seed)
		m := make(map[[32]byte]bool)
		for id := range pager.PageID(n) {
			m[sha256.Sum256(read(t, e, id))] = true
		}
		return m
	}
	first := set(32, 0)
	require.Len(t, first, 32)
	for seed := range uint64(32) {
		require.Equal(t, first, set(32, seed), "seed %d", seed)
	}
	require.Equal(t, set(16, 7), set(16, 9))
	for d := range set(32, 1<<32) {
		require.False(t, first[d], "high bits make real differences")
	}
}

func TestVectorH(t *testing.T) {
	t.Parallel()
	e := populated(t, plain(t, 1, 1, 1, 1, pager.F32), 1, math.MaxUint64)
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Equal(t, "seq-seed-ffffffffffffffff", seqs[0].ID)
	require.Zero(t, seqs[0].FillInLastPage, "half of one token")
	require.Len(t, read(t, e, 0), 8)
}

func TestVectorDHasAFillWithoutPages(t *testing.T) {
	t.Parallel()
	e := populated(t, seedMeta(t), 0, 0)
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Equal(t, []pager.LogicalSeq{{ID: "seq-seed-0000000000000000", Pages: []pager.PageID{}, FillInLastPage: 2}}, seqs)
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), seqs), "what it lists it takes back")
}

// In the original a second populate with fewer pages moves the next allocation
// into pages that are in use.
func TestPopulateTwice(t *testing.T) {
	t.Parallel()
	e := populated(t, seedMeta(t), 8, 1<<32)
	kept := read(t, e, 5)
	require.NoError(t, e.Populate(3, 2<<32))
	require.NoError(t, e.Populate(3, 2<<32), "the same once more")
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Len(t, seqs, 2, "one for each seed")
	require.NoError(t, pager.CheckSeqs(seqs, 4, func(id pager.PageID) bool { return id < 8 }))
	require.Equal(t, kept, read(t, e, 5))
	require.Equal(t, read(t, populated(t, seedMeta(t), 3, 2<<32), 2), read(t, e, 2))
	ids, err := e.AllocatePages(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{8, 9}, ids)
}

func TestPopulateOverAllocatedPages(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Meta: seedMeta(t), Capacity: 6})
	require.NoError(t, err)
	_, err = e.AllocatePages(t.Context(), 2)
	require.NoError(t, err)
	require.ErrorIs(t, e.ReadPage(t.Context(), 0, make([]byte, 256)), kvferry.ErrNotFound, "not written yet")
	require.NoError(t, e.Populate(4, 0))
	require.Equal(t, 2, e.FreePages())
	ids, err := e.AllocatePages(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{4, 5}, ids)
	require.ErrorIs(t, e.Populate(7, 0), kvferry.ErrOutOfMemory)
	require.ErrorIs(t, e.Populate(-1, 0), kvferry.ErrInvalid)
}

func TestWriteToAFreePage(t *testing.T) {
	t.Parallel()
	e := populated(t, seedMeta(t), 2, 0)
	require.ErrorIs(t, e.WritePage(t.Context(), 2, make([]byte, 256)), kvferry.ErrNotFound)
}

func TestPausesArePaired(t *testing.T) {
	t.Parallel()
	e := populated(t, seedMeta(t), 2, 0)
	require.ErrorIs(t, e.Resume(t.Context()), kvferry.ErrInvalid)
	for i := range 3 {
		require.NoError(t, e.Pause(t.Context()))
		require.True(t, e.Paused())
		require.ErrorIs(t, e.Pause(t.Context()), kvferry.ErrInvalid)
		require.ErrorIs(t, e.Populate(1, 0), kvferry.ErrInvalid, "pages are promised to be stable")
		require.NoError(t, e.Resume(t.Context()))
		require.False(t, e.Paused())
		require.Equal(t, i+1, e.Pauses(), "a pause that failed does not count")
	}
	require.ErrorIs(t, e.Resume(t.Context()), kvferry.ErrInvalid)
}

func TestEverythingIsClosed(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Meta: seedMeta(t)})
	require.NoError(t, err)
	require.NoError(t, e.Populate(2, 0))
	p := e.With(AllAbilities)
	a := pager.AbilitiesOf(p)
	require.NoError(t, e.Close())
	ctx, buf := t.Context(), make([]byte, 256)
	_, occupied := p.OccupiedPages(ctx)
	_, seqs := p.LogicalSeqs(ctx)
	_, allocated := p.AllocatePages(ctx, 1)
	_, submitted := a.Mover.Submit(ctx, pager.Job{Direction: pager.Out})
	for i, err := range []error{
		e.Close(), p.Pause(ctx), p.Resume(ctx), occupied, seqs, allocated, submitted,
		p.ReadPage(ctx, 0, buf), p.WritePage(ctx, 0, buf), p.InstallLogicalSeqs(ctx, nil), e.Populate(1, 0),
		a.Releaser.ReleasePages(ctx, nil), a.Reserver.ReservePages(ctx, nil),
		a.Generations.Generations(ctx, nil, nil), a.Digester.DigestPages(ctx, 1, nil, nil, nil),
	} {
		require.ErrorIs(t, err, kvferry.ErrClosed, "operation %d", i)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Capacity: -1}, {Capacity: pager.MaxPages + 1}, {Meta: pager.Meta{Dtype: pager.BF16}}} {
		_, err := New(o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

func TestPartsOfOtherKinds(t *testing.T) {
	t.Parallel()
	m := seedMeta(t)
	m.Parts = append(m.Parts, pager.Part{Kind: pager.PartScale, Bytes: 9}, pager.Part{Kind: pager.PartLatent, Bytes: 9})
	b := read(t, populated(t, m, 1, 99), 0)
	plainPage := read(t, populated(t, seedMeta(t), 1, 99), 0)
	require.Equal(t, plainPage, b[:256], "k and v are as in a plain cache")
	require.NotEqual(t, b[256:265], b[265:])
	require.False(t, bytes.Contains(b[256:], make([]byte, 4)), "%s", hex.EncodeToString(b[256:]))
}

func TestReleasedPagesComeAgainLast(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Meta: seedMeta(t), Capacity: 6})
	require.NoError(t, err)
	require.NoError(t, e.Populate(4, 0))
	r := pager.AbilitiesOf(e.With(Releaser)).Releaser
	require.NoError(t, r.ReleasePages(t.Context(), []pager.PageID{2, 1}))
	require.ErrorIs(t, r.ReleasePages(t.Context(), []pager.PageID{0, 0}), kvferry.ErrInvalid)
	ids, err := e.AllocatePages(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, []pager.PageID{4, 5, 1, 2}, ids)
}
