package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// deliberate are the reads on which this project differs from the original, in
// strict and in lenient mode, with the reason.
func deliberate() map[string]struct {
	strict, lenient error
	why             string
} {
	type d = struct {
		strict, lenient error
		why             string
	}
	return map[string]d{
		"accepted: pages out of order": {
			kvferry.ErrCorrupt, nil, "its sequence names a page that was not captured; lenient readers keep the pages",
		},
		"accepted: one index twice, the later entry wins": {
			kvferry.ErrCorrupt, nil, "two contents for one page; lenient readers take the later one, as the original does",
		},
		"accepted: dtype as an object": {
			kvferry.ErrCorrupt, kvferry.ErrCorrupt, "an accident of the original's parser that no writer uses",
		},
		"accepted: page as an array": {
			kvferry.ErrCorrupt, kvferry.ErrCorrupt, "an accident of the original's parser that no writer uses",
		},
		"accepted: broken text in an unknown key of a page": {
			kvferry.ErrCorrupt, kvferry.ErrCorrupt, "text that is no UTF-8 is no JSON",
		},
		"missing logical_seqs": {
			kvferry.ErrCorrupt, nil, "the original refuses what its own Python adapters write; lenient readers take it",
		},
	}
}

// refusal is how a read is refused that the original refuses too.
func refusal(what string, lenient bool) error {
	switch what {
	case "other layout", "other layout and no pages":
		return kvferry.ErrUnsupported
	case "manifest missing":
		return kvferry.ErrNotFound
	case "page blob missing":
		if lenient { // a strict reader stops earlier, at its sequence
			return kvferry.ErrNotFound
		}
	}
	return kvferry.ErrCorrupt
}

// TestGoldenReads holds every read that the original was asked for, of damaged
// stores and of stores whose files other programs compressed, against this
// project's restore: what the original refuses is refused with the right
// error, what it accepts comes back the same or is in the list above.
func TestGoldenReads(t *testing.T) {
	t.Parallel()
	reads, refused, seen := 0, 0, map[string]bool{}
	for _, g := range goldens(t) {
		if len(g.Reads) == 0 {
			continue
		}
		s := openDir(t, g.unpack(t), dir.Options{ReadOnly: true})
		for _, r := range g.Reads {
			reads++
			strict, lenient := error(nil), error(nil)
			if !r.Original.OK {
				strict, lenient = refusal(r.What, false), refusal(r.What, true)
			}
			if d, ok := deliberate()[r.What]; ok {
				strict, lenient = d.strict, d.lenient
				seen[r.What] = true
			}
			goldenReadOne(t, s, r, false, strict)
			goldenReadOne(t, s, r, true, lenient)
			if strict != nil {
				refused++
			}
		}
	}
	require.Len(t, seen, len(deliberate()), "every difference occurs in the fixtures")
	require.GreaterOrEqual(t, reads, 50)
	require.GreaterOrEqual(t, refused, 41)
	t.Logf("%d reads, %d refused, %d of them the original accepts", reads, refused, len(seen)-1)
}

func goldenReadOne(t *testing.T, s cas.Store, r goldenRead, lenient bool, want error) {
	t.Helper()
	name := fmt.Sprintf("%s, lenient %v", r.What, lenient)
	root, err := digest.Parse(r.CID)
	require.NoError(t, err)
	o := capture.LoadOptions{Lenient: lenient}
	snap, _, err := capture.Load(t.Context(), s, root, o)
	m := plain(t, "4,1,1,1,fp8e4m3") // for what cannot be loaded, any engine
	if err == nil {
		m = snap.Groups[0].Meta
	}
	e := roomy(t, m)
	_, err = capture.Restore(t.Context(), s, root, e.With(synthetic.AllAbilities), capture.RestoreOptions{
		KeepIndices: true, Lenient: lenient, Transfer: capture.Transfer{StagingBytes: 1 << 12},
	})
	if want != nil {
		require.ErrorIs(t, err, want, name)
		require.False(t, e.Paused(), name)
		pages, seqs := content(t, e)
		require.Empty(t, pages, name)
		require.Empty(t, seqs, name)
		v, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{LoadOptions: o})
		if err == nil {
			err = problems(v.Problems)
		}
		require.ErrorIs(t, err, want, name)
		return
	}
	require.NoError(t, err, name)
	if !r.Original.OK {
		return // taken by lenient readers alone
	}
	seqs := r.Original.LogicalSeqs
	if strings.HasPrefix(r.What, "accepted: pages out") || strings.HasPrefix(r.What, "accepted: one index") {
		seqs = nil // its sequence stands on a page that was not captured
	}
	holds(t, e, r.Original.Pages, seqs)
}

// TestGoldenDamageIsSetAside: reading a damaged page in a store that can be
// written takes the file away, so that the next capture stores it anew.
func TestGoldenDamageIsSetAside(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		if g.name() != "pf-damaged" {
			continue
		}
		s := openDir(t, g.unpack(t), dir.Options{})
		damaged := int64(0)
		for _, want := range []error{kvferry.ErrCorrupt, kvferry.ErrNotFound} { // the second time it is gone
			for _, r := range g.Reads {
				if !strings.HasPrefix(r.What, "page file: ") {
					continue
				}
				root, err := digest.Parse(r.CID)
				require.NoError(t, err)
				v, err := capture.Verify(t.Context(), s, root, capture.VerifyOptions{})
				require.NoError(t, err)
				require.NotEmpty(t, v.Problems[0].Pages)
				if r.What == "page file: one byte longer" {
					// Only its length was looked at, and that may be the manifest's fault.
					require.ErrorIs(t, problems(v.Problems), kvferry.ErrCorrupt)
					continue
				}
				require.ErrorIs(t, problems(v.Problems), want, r.What)
				damaged++
			}
		}
		st, err := s.(cas.Stater).Stats(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 12, damaged)
		require.Equal(t, damaged/2, st.Quarantined)
	}
}

// TestGoldenImages: a snapshot that an image of the original points at is kept
// by a collection, and what no image points at too, unless the caller says
// otherwise.
func TestGoldenImages(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		if g.name() != "pf-images" {
			continue
		}
		path := g.unpack(t)
		s := openDir(t, path, dir.Options{})
		blobs := len(blobsOf(t, s))
		rep, err := s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s, nil)})
		require.NoError(t, err)
		require.Zero(t, rep.Deleted)
		require.Len(t, blobsOf(t, s), blobs)
		require.NotEmpty(t, g.Images)
	}
}

// TestGoldenForksShareBlobs: of a fork only what differs is new, also by way
// of the native format and of another engine's indices.
func TestGoldenForksShareBlobs(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		if g.name() != "pf-forks" {
			continue
		}
		s := openDir(t, g.unpack(t), dir.Options{ReadOnly: true})
		for _, f := range bothFormats() {
			m := newMem(t)
			for i, want := range []int64{24, 1, 3, 2} {
				root, err := digest.Parse(g.Captures[i].CID)
				require.NoError(t, err)
				rep, err := capture.Convert(t.Context(), s, root, m, capture.ConvertOptions{Format: f})
				require.NoError(t, err)
				require.Equal(t, want, rep.NewBlobs, "fork %d", i)
			}
		}
		m := newMem(t)
		for i, want := range []int64{24, 1, 3, 2} {
			root, err := digest.Parse(g.Captures[i].CID)
			require.NoError(t, err)
			e := roomy(t, plain(t, g.Captures[i].Args.Meta))
			_, err = e.AllocatePages(t.Context(), i*3) // other indices for each
			require.NoError(t, err)
			_, err = capture.Restore(t.Context(), s, root, e, capture.RestoreOptions{})
			require.NoError(t, err)
			_, seqs := content(t, e)
			require.Equal(t, pager.PageID(i*3), seqs[0].Pages[0])
			rep, err := capture.Capture(t.Context(), e, m, capture.Options{})
			require.NoError(t, err)
			require.Equal(t, want, rep.NewBlobs, "fork %d", i)
		}
	}
}
