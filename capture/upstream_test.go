package capture_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// The tests of this file are those that the original has for its capture,
// under the original's names.

// fresh returns an empty engine of e's geometry.
func fresh(t testing.TB, e *synthetic.Engine) *synthetic.Engine {
	t.Helper()
	f, err := synthetic.New(synthetic.Options{Meta: e.Meta(), Capacity: 4096})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// roundTrip captures, restores into a fresh engine and compares everything.
func roundTrip(t testing.TB, e *synthetic.Engine, s cas.Store, f cas.Format) {
	t.Helper()
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: f, Transfer: capture.Transfer{StagingBytes: 1 << 20}})
	require.NoError(t, err)
	dst := fresh(t, e)
	_, err = capture.Restore(t.Context(), s, rep.Root, dst, capture.RestoreOptions{})
	require.NoError(t, err)
	wantPages, wantSeqs := content(t, e)
	gotPages, gotSeqs := content(t, dst)
	require.Equal(t, wantPages, gotPages)
	require.ElementsMatch(t, wantSeqs, gotSeqs)
}

func bothFormats() []cas.Format { return []cas.Format{cas.FormatNative, cas.FormatProcessFork} }

// capture.rs
func TestCaptureThenRestoreIntoFreshPager(t *testing.T) {
	t.Parallel()
	for _, f := range bothFormats() {
		roundTrip(t, populated(t, 4, 2, 2, 4, pager.BF16, 8, 99), newMem(t), f)
	}
}

// capture.rs
func TestRestoreIntoMismatchedMetaErrors(t *testing.T) {
	t.Parallel()
	for _, f := range bothFormats() {
		s := newMem(t)
		rep, err := capture.Capture(t.Context(), populated(t, 4, 2, 2, 4, pager.BF16, 8, 99), s, capture.Options{Format: f})
		require.NoError(t, err)
		for _, m := range []struct {
			p, l, h, d uint32
			dt         pager.Dtype
		}{
			{4, 2, 2, 8, pager.BF16}, {4, 2, 4, 4, pager.BF16}, {4, 4, 2, 4, pager.BF16}, {8, 2, 2, 4, pager.BF16},
			{4, 2, 2, 4, pager.F16}, {4, 2, 2, 2, pager.F32}, {2, 4, 2, 4, pager.BF16},
		} {
			dst := fresh(t, populated(t, m.p, m.l, m.h, m.d, m.dt, 0, 0))
			_, err = capture.Restore(t.Context(), s, rep.Root, dst, capture.RestoreOptions{})
			require.ErrorIs(t, err, kvferry.ErrLayoutMismatch)
			require.Zero(t, dst.Pauses())
		}
	}
}

// serialize.rs
func TestRoundTripByteIdentical(t *testing.T) {
	t.Parallel()
	roundTrip(t, populated(t, 4, 2, 2, 4, pager.BF16, 8, 42), newMem(t), cas.FormatProcessFork)
}

// serialize.rs
func TestCowDedupesIdenticalPagesAcrossTwoPagers(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	takePF(t, populated(t, 4, 2, 2, 4, pager.BF16, 8, 42), s)
	before := physical(t, s)
	rep := takePF(t, populated(t, 4, 2, 2, 4, pager.BF16, 8, 42), s)
	require.Equal(t, before, physical(t, s), "the original grows by nothing")
	require.Zero(t, rep.NewBlobs)
}

// serialize.rs
func TestCowPartialDivergenceOnlyStoresDiff(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	e := populated(t, 4, 2, 2, 4, pager.BF16, 8, 42)
	takePF(t, e, s)
	before := physical(t, s)
	page := append(bytes.Repeat([]byte{0xAA}, 128), bytes.Repeat([]byte{0xBB}, 128)...)
	require.NoError(t, e.WritePage(t.Context(), 3, page))
	takePF(t, e, s)
	require.EqualValues(t, 1799, physical(t, s)-before, "as the original grows")
}

// serialize.rs
func TestDeserializeRejectsWrongLayout(t *testing.T) {
	t.Parallel()
	s := newMem(t)
	rep := takePF(t, populated(t, 4, 2, 2, 4, pager.BF16, 2, 42), s)
	text := bytes.Replace(readBlob(t, s, rep.Root), []byte("batchinvariant-v1"), []byte("batchinvariant-v2"), 1)
	_, _, err := capture.Load(t.Context(), s, putBlob(t, s, digest.SHA256, text), capture.LoadOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
}

// serialize.rs: whatever order the engine gives its sequences and pages in,
// the snapshot is the same.
func TestPageCanonicalizedOrderInManifest(t *testing.T) {
	t.Parallel()
	for _, f := range bothFormats() {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 8, 42)
		seqs := []pager.LogicalSeq{
			{ID: "c", Pages: []pager.PageID{7, 6, 5}, FillInLastPage: 1}, {ID: "a", Pages: []pager.PageID{1, 0, 1}},
			{ID: "b"}, {ID: "B", Pages: []pager.PageID{2}, FillInLastPage: 3},
		}
		s := newMem(t)
		var root digest.Digest
		for range 24 {
			rand.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
			require.NoError(t, e.InstallLogicalSeqs(t.Context(), seqs))
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: f, Transfer: capture.Transfer{StagingBytes: 1 << 12}})
			require.NoError(t, err)
			require.True(t, !root.Valid() || root == rep.Root)
			root = rep.Root
		}
	}
}

// cache_round_trip.rs
func TestRoundTripViaFsBlobStoreByteIdentical(t *testing.T) {
	t.Parallel()
	for _, f := range bothFormats() {
		s, _ := newDir(t)
		roundTrip(t, populated(t, 8, 4, 4, 8, pager.BF16, 64, 12345), s, f)
	}
}

// cache_round_trip.rs, and the same with pages that do differ.
func TestCowStorageEfficiencyAcross12Forks(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	for _, s := range []cas.Store{newMem(t), d} {
		var one int64
		for i := range uint64(12) {
			takePF(t, populated(t, 8, 4, 4, 8, pager.BF16, 32, i>>5), s)
			if i == 0 {
				one = physical(t, s)
			}
		}
		require.LessOrEqual(t, 2*physical(t, s), 3*one)
	}
	// Each fork changes one page of its own.
	for _, f := range bothFormats() {
		s := newMem(t)
		e := populated(t, 8, 4, 4, 8, pager.BF16, 32, 0)
		var one int64
		for i := range 12 {
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: f, Names: []string{fmt.Sprint("fork-", i)}})
			require.NoError(t, err)
			if i == 0 {
				one = physical(t, s)
			} else {
				require.EqualValues(t, 1, rep.NewBlobs)
			}
			require.NoError(t, e.WritePage(t.Context(), pager.PageID(i), bytes.Repeat([]byte{byte(i + 1)}, 4096)))
		}
		budget := 3 * one
		if f == cas.FormatProcessFork { // its manifests repeat every digest
			budget += 2 * 11 * 5595
		}
		require.LessOrEqual(t, 2*physical(t, s), budget)
	}
}

// cache_round_trip.rs
func TestLogicalSeqsSurviveRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range bothFormats() {
		e := populated(t, 8, 4, 4, 8, pager.BF16, 4, 1)
		require.NoError(t, e.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{
			{ID: "z", Pages: []pager.PageID{3, 2, 1, 0}, FillInLastPage: 5}, {ID: "a", Pages: []pager.PageID{0, 1}},
		}))
		s := newMem(t)
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{Format: f})
		require.NoError(t, err)
		dst := fresh(t, e)
		// Native snapshots number pages by first use, so indices are kept by reserving them.
		_, err = capture.Restore(t.Context(), s, rep.Root, dst.With(synthetic.AllAbilities), capture.RestoreOptions{KeepIndices: true})
		require.NoError(t, err)
		_, seqs := content(t, dst)
		require.Equal(t, []pager.LogicalSeq{
			{ID: "a", Pages: []pager.PageID{0, 1}}, {ID: "z", Pages: []pager.PageID{3, 2, 1, 0}, FillInLastPage: 5},
		}, seqs)
	}
}

// cache_round_trip.rs: a property over 100 random page sets.
func TestRandomPageSetsRoundTrip(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newMem(t)
	for i := range 100 {
		e := populated(t, 8, 4, 4, 8, pager.BF16, rng.IntN(32), rng.Uint64())
		roundTrip(t, e, s, bothFormats()[i%2])
	}
}

// snapshot_synthetic_4layer.rs: two snapshots of one state, at different
// times, are two images that share everything else.
func TestCasDedupesIdenticalSnapshots(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	for _, s := range []cas.Store{newMem(t), d} {
		e := populated(t, 8, 4, 4, 8, pager.BF16, 32, 0)
		var images [2]digest.Digest
		var grown int64
		for i := range images {
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{
				Format: cas.FormatProcessFork, Image: &capture.Image{AgentKind: "test", AgentVersion: "0", AgentFingerprint: "f"},
				Now: time.Unix(int64(1_780_000_000+i), 0),
			})
			require.NoError(t, err)
			images[i] = rep.ImageRoot
			grown = physical(t, s) - grown
		}
		require.NotEqual(t, images[0], images[1])
		require.Less(t, grown, int64(4096))
	}
}

// readBlob returns the checked content of a blob.
func readBlob(t testing.TB, s cas.Store, d digest.Digest) []byte {
	t.Helper()
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	data, err := r.ReadAll(t.Context(), d, 1<<28)
	require.NoError(t, err)
	return data
}

// putBlob stores a blob, whatever it is, and commits it as a snapshot's root
// along with others.
func putBlob(t testing.TB, s cas.Store, a digest.Algorithm, plain []byte, others ...[]byte) digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(a, nil)
	require.NoError(t, err)
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	for _, b := range append(others, plain) {
		_, err = x.Put(t.Context(), h.Sum(b), b)
		require.NoError(t, err)
	}
	d := h.Sum(plain)
	f := cas.FormatNative
	if a == digest.SHA256 {
		f = cas.FormatProcessFork
	}
	require.NoError(t, x.Commit(t.Context(), cas.Entry{Root: d, Format: f, Created: time.Unix(1, 0).UTC()}))
	return d
}
