package pagertest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
)

// Bench measures reading and writing pages one by one: pages of a TinyLlama and
// pages of 64 bytes.
func Bench(b *testing.B, f Factory) {
	b.Helper()
	tiny, err := pager.Plain(16, 22, 4, 64, pager.BF16)
	require.NoError(b, err)
	for _, g := range []Geometry{{"tinyllama", tiny, 64}, {"tiny", Large().Meta, 4096}} {
		for _, dir := range []string{"out", "in"} {
			b.Run(fmt.Sprintf("geometry=%s/page=%dB/dir=%s", g.Name, g.Meta.PageBytes(), dir), func(b *testing.B) {
				benchPages(b, f(b, g.Meta, g.Pages), g, dir)
			})
		}
	}
}

func benchPages(b *testing.B, p pager.Pager, g Geometry, dir string) {
	b.Helper()
	ids, err := p.AllocatePages(b.Context(), g.Pages)
	require.NoError(b, err)
	buf := bytesOf(g.Meta, 1)
	for _, id := range ids {
		require.NoError(b, p.WritePage(b.Context(), id, buf))
	}
	move := p.WritePage
	if dir == "out" {
		move = p.ReadPage
	}
	b.SetBytes(int64(g.Meta.PageBytes()))
	b.ReportAllocs()
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		if err := move(ctx, ids[i%len(ids)], buf); err != nil {
			b.Fatal(err)
		}
	}
	require.Equal(b, bytesOf(g.Meta, 1), buf)
}
