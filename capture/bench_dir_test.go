//go:build unix

package capture_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// BenchmarkDir measures durable captures of 256 MiB of TinyLlama's pages into
// a store on disk: the first one, one of which 95 % of the pages are stored
// already, and a verified restore from the page cache of the system.
func BenchmarkDir(b *testing.B) {
	ctx := context.Background()
	m, err := pager.Plain(16, 22, 4, 64, pager.BF16)
	require.NoError(b, err)
	n := 256 << 20 / m.PageBytes()
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: n})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	require.NoError(b, e.PopulateKV(n, 1))
	total := int64(n) * int64(m.PageBytes())

	first := func(b *testing.B) *dir.Store {
		s, err := dir.Open(b.TempDir(), dir.Options{})
		require.NoError(b, err)
		_, err = capture.Capture(ctx, e, s, capture.Options{})
		require.NoError(b, err)
		return s
	}
	b.Run("op=capture/stored=0%", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			s := first(b)
			b.StopTimer()
			require.NoError(b, s.Close())
			b.StartTimer()
		}
	})
	seed := uint64(2)
	page := make([]byte, m.PageBytes())
	b.Run("op=capture/stored=95%", func(b *testing.B) {
		s := first(b)
		other, err := synthetic.New(synthetic.Options{Meta: m, Capacity: n / 20})
		require.NoError(b, err)
		b.SetBytes(total)
		for b.Loop() {
			b.StopTimer()
			seed++
			require.NoError(b, other.PopulateKV(n/20, seed))
			for i := range n / 20 {
				require.NoError(b, other.ReadPage(ctx, pager.PageID(i), page))
				require.NoError(b, e.WritePage(ctx, pager.PageID(i*20), page))
			}
			b.StartTimer()
			rep, err := capture.Capture(ctx, e, s, capture.Options{})
			require.NoError(b, err)
			require.Equal(b, int64(n/20)*int64(m.PageBytes()), rep.NewBytes)
		}
		require.NoError(b, other.Close())
		require.NoError(b, s.Close())
	})
	b.Run("op=restore", func(b *testing.B) {
		s, err := dir.Open(b.TempDir(), dir.Options{})
		require.NoError(b, err)
		rep, err := capture.Capture(ctx, e, s, capture.Options{})
		require.NoError(b, err)
		b.SetBytes(total)
		for b.Loop() {
			b.StopTimer()
			dst, err := synthetic.New(synthetic.Options{Meta: m, Capacity: n})
			require.NoError(b, err)
			b.StartTimer()
			_, err = capture.Restore(ctx, s, rep.Root, dst, capture.RestoreOptions{})
			require.NoError(b, err)
			b.StopTimer()
			require.NoError(b, dst.Close())
			b.StartTimer()
		}
		require.NoError(b, s.Close())
	})
}
