package capture_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// idle is a Comparer that costs nothing: it says that nothing changed. As a
// Digester it has the digests ready.
type idle struct {
	pager.Digester
	sums []digest.Digest
}

func (i idle) DigestPages(_ context.Context, _ digest.Algorithm, _ *digest.Key, ids []pager.PageID, dst []digest.Digest) error {
	parts := len(dst) / len(ids)
	for k, id := range ids {
		copy(dst[k*parts:(k+1)*parts], i.sums[int(id)*parts:])
	}
	return nil
}

func (idle) ComparePages(_ context.Context, _ digest.Algorithm, _ *digest.Key, _ []pager.PageID, _ []digest.Digest, changed []int, sums []digest.Digest) ([]int, []digest.Digest, error) {
	return changed, sums, nil
}

// BenchmarkPauseOfNothing is the pause of a capture of 10^6 pages of which none
// changed and whose digests cost nothing: what the host itself adds, with a base
// (how=since) and by looking for all digests in the store (how=known).
func BenchmarkPauseOfNothing(b *testing.B) {
	e := million(b)
	s, err := mem.Open(mem.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	first, err := capture.Capture(b.Context(), e, s, capture.Options{})
	require.NoError(b, err)
	ids, err := e.OccupiedPages(b.Context())
	require.NoError(b, err)
	digests := pager.AbilitiesOf(e.With(synthetic.Digester)).Digester
	sums := make([]digest.Digest, 2*len(ids))
	require.NoError(b, digests.DigestPages(b.Context(), digest.BLAKE3, nil, ids, sums))
	for how, since := range map[string]digest.Digest{"since": first.Root, "known": {}} {
		view := pager.Compose(e, pager.Abilities{Digester: idle{digests, sums}})
		b.Run("how="+how, func(b *testing.B) {
			b.ReportAllocs()
			pause := 0.0
			for b.Loop() {
				rep, err := capture.Capture(b.Context(), view, s, capture.Options{Since: since})
				require.NoError(b, err)
				require.Equal(b, first.Root, rep.Root)
				require.Zero(b, rep.CopiedPages)
				pause += rep.Pause.Total.Seconds() * 1e3
			}
			b.ReportMetric(pause/float64(b.N), "pause-ms")
		})
	}
}
