//go:build cuda

package gpu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
)

// BenchmarkJobs measures jobs of 64 TinyLlama pages into pinned frames. On the
// software driver it tells what the host does for a page, not what a link does.
func BenchmarkJobs(b *testing.B) {
	m, err := pager.Plain(16, 22, 4, 64, pager.BF16)
	require.NoError(b, err)
	l, err := pager.KVPerPage(m, 64, false)
	require.NoError(b, err)
	for _, path := range []Path{Direct, Staged, Plain} {
		for _, d := range []pager.Direction{pager.Out, pager.In} {
			b.Run(fmt.Sprintf("path=%v/dir=%d", path, d), func(b *testing.B) {
				w := newWorld(b, l)
				p := w.open(func(c *Config) { c.Paths = Forced(path) })
				w.queueUpload(w.memory())
				w.settle()
				frames, ids := w.frames(64, 0), w.all()
				w.move(p, pager.Out, ids, frames)
				b.SetBytes(int64(64 * m.PageBytes()))
				b.ReportAllocs()
				for b.Loop() {
					w.move(p, d, ids, frames)
				}
				require.Zero(b, p.Stats().Fenced)
			})
		}
	}
}
