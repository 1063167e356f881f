//go:build cuda

package capture_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// TestSinceOnADevice: a capture since another one of pages in device memory has
// the root of a full capture in host memory, and only what changed crosses the
// link; beside it the digests to compare with, and those that differ.
func TestSinceOnADevice(t *testing.T) {
	const pages = 60
	m, err := pager.Plain(16, 4, 2, 16, pager.BF16)
	require.NoError(t, err)
	key := digest.DeriveKey([]byte("tenant"))
	for name, o := range map[string]capture.Options{"native": {}, "keyed": {Key: &key}} {
		for _, percent := range []int{0, 5, 100} {
			t.Run(fmt.Sprintf("%s/changed=%d", name, percent), func(t *testing.T) {
				d := softcuda.Device(t)
				e := newOnDevice(t, d, m, pages+4)
				require.NoError(t, e.fill(t.Context(), pages))
				s := newMem(t)
				o := o
				o.Transfer = capture.Transfer{Workers: 2, StagingBytes: 1 << 20}
				first, err := capture.Capture(t.Context(), e.view, s, o)
				require.NoError(t, err)
				changed := pages * percent / 100
				for i := range changed {
					id := pager.PageID((i*7 + 3) % pages)
					require.NoError(t, e.write(t.Context(), id, noisy(m, 1000+uint64(i))))
				}
				full := o
				want, err := capture.Capture(t.Context(), e.Engine, newMem(t), full)
				require.NoError(t, err)

				o.Since = first.Root
				out, in := link()
				rep, err := capture.Capture(t.Context(), e.view, s, o)
				require.NoError(t, err)
				require.Equal(t, want.Root, rep.Root)
				require.Equal(t, []capture.GroupReport{{
					Pages: pages, Unchanged: pages - changed, CopiedPages: changed, CopiedBytes: int64(changed * m.PageBytes()), Digests: capture.Compared,
				}}, rep.Groups)
				outAfter, inAfter := link()
				if softcuda.Loaded() {
					// A page number and a digest for each part that changed, and a few
					// counts; to the device, page numbers and the digests of the base.
					const perPage, counts = 2*digest.Size + 16, 1024
					toHost := outAfter - out - rep.CopiedBytes
					require.GreaterOrEqual(t, toHost, int64(0))
					require.LessOrEqual(t, toHost, int64(changed*perPage+pages*4+counts), "bytes beside the pages")
					require.LessOrEqual(t, inAfter-in, int64(pages*perPage*2+counts), "nothing but digests goes there")
				}
				v, err := capture.Verify(t.Context(), s, rep.Root, capture.VerifyOptions{LoadOptions: capture.LoadOptions{Key: o.Key}})
				require.NoError(t, err)
				require.Empty(t, v.Problems)
			})
		}
	}
}

// link returns the bytes that crossed the link so far, where that is counted.
func link() (toHost, toDevice int64) {
	if !softcuda.Loaded() {
		return 0, 0
	}
	return softcuda.BytesOverLink()
}

// TestSinceOnADeviceWithoutSHA256: no kernel computes ProcessFork's digests, so
// its snapshots are captured in full, and the report says so.
func TestSinceOnADeviceWithoutSHA256(t *testing.T) {
	m, err := pager.Plain(4, 2, 2, 4, pager.BF16)
	require.NoError(t, err)
	e := newOnDevice(t, softcuda.Device(t), m, 12)
	require.NoError(t, e.fill(t.Context(), 8))
	s := newMem(t)
	first, err := capture.Capture(t.Context(), e.view, s, capture.Options{Format: cas.FormatProcessFork})
	require.NoError(t, err)
	require.NoError(t, e.write(t.Context(), 2, noisy(m, 99)))
	rep, err := capture.Capture(t.Context(), e.view, s, capture.Options{Format: cas.FormatProcessFork, Since: first.Root})
	require.NoError(t, err)
	want, err := capture.Capture(t.Context(), e.Engine, newMem(t), capture.Options{Format: cas.FormatProcessFork})
	require.NoError(t, err)
	require.Equal(t, want.Root, rep.Root)
	require.Equal(t, capture.AtHost, rep.Groups[0].Digests)
	require.Equal(t, [3]int{8, 7, 8}, [3]int{rep.Pages, rep.Unchanged, rep.CopiedPages})
}

// TestSinceOfMovedPages: pages that were released and given to others, and the
// same bytes on other pages, are told apart on the device.
func TestSinceOfMovedPages(t *testing.T) {
	m, err := pager.Plain(4, 2, 2, 4, pager.BF16)
	require.NoError(t, err)
	e := newOnDevice(t, softcuda.Device(t), m, 12)
	require.NoError(t, e.fill(t.Context(), 8))
	s := newMem(t)
	first, err := capture.Capture(t.Context(), e.view, s, capture.Options{})
	require.NoError(t, err)
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	gone := seqs[0].Pages[6]
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), seqs[1:]))
	require.NoError(t, e.ReleasePages(t.Context(), []pager.PageID{gone}))
	ids, err := e.AllocatePages(t.Context(), 4)
	require.NoError(t, err)
	for i, id := range ids { // the first has bytes that the store knows
		require.NoError(t, e.write(t.Context(), id, noisy(m, uint64(1+500*i))))
	}
	rep, err := capture.Capture(t.Context(), e.view, s, capture.Options{Since: first.Root})
	require.NoError(t, err)
	want, err := capture.Capture(t.Context(), e.Engine, newMem(t), capture.Options{})
	require.NoError(t, err)
	require.Equal(t, want.Root, rep.Root)
	require.Equal(t, [3]int{11, 7, 3}, [3]int{rep.Pages, rep.Unchanged, rep.CopiedPages})
}
