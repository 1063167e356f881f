package processfork_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

func million(b *testing.B) *manifest.Group {
	b.Helper()
	const n = 1_000_000
	g := &manifest.Group{
		Meta: meta(b, 1, 1, 1, 16, pager.BF16), Table: manifest.NewTable(digest.SHA256, n, 2),
		Indices: make([]pager.PageID, n), Sequences: make([]manifest.Sequence, 100),
	}
	for i := range n {
		sum := [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 0xa5, 31: byte(i)}
		g.Table.Set(i, 0, digest.New(digest.SHA256, sum))
		sum[4] = 1
		g.Table.Set(i, 1, digest.New(digest.SHA256, sum))
		g.Indices[i] = pager.PageID(i)
	}
	for i := range g.Sequences {
		g.Sequences[i].ID = fmt.Sprintf("request-%06d", i)
		for p := range n / 100 {
			g.Sequences[i].Pages = append(g.Sequences[i].Pages, uint32(i*n/100+p))
		}
	}
	return g
}

func BenchmarkEncodeManifest(b *testing.B) {
	b.Run("pages=1000000", func(b *testing.B) {
		g := million(b)
		text, err := processfork.EncodeManifest(g)
		require.NoError(b, err)
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := processfork.EncodeManifest(g); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeManifest(b *testing.B) {
	b.Run("pages=1000000", func(b *testing.B) {
		g := million(b)
		text, err := processfork.EncodeManifest(g)
		require.NoError(b, err)
		var back *manifest.Group
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if back, _, err = processfork.DecodeManifest(text, processfork.Options{}); err != nil {
				b.Fatal(err)
			}
		}
		require.Equal(b, g.Table.Digest(999_999, 1), back.Table.Digest(999_999, 1))
	})
}
