package manifest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// million is the size that the package's speed is stated for.
const million = 1_000_000

func BenchmarkNumber(b *testing.B) {
	for _, stride := range []int{1, 1000} {
		b.Run(fmt.Sprintf("pages=%d/stride=%d", million, stride), func(b *testing.B) {
			occupied := make([]pager.PageID, million)
			for i := range occupied {
				occupied[i] = pager.PageID(i * stride)
			}
			seqs := make([]pager.LogicalSeq, 100)
			for i := range seqs {
				seqs[i].ID = fmt.Sprintf("request-%06d", i)
				for j := i; j < million; j += 100 {
					seqs[i].Pages = append(seqs[i].Pages, occupied[j])
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := manifest.Number(occupied, seqs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	b.Run(fmt.Sprintf("pages=%d/parts=2", million), func(b *testing.B) {
		s := snapshotOf(million, 100)
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		require.NoError(b, err)
		put := func(p []byte) (digest.Digest, error) { return h.Sum(p), nil }
		b.SetBytes(million * 2 * digest.Size)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := manifest.Encode(s, put); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	b.Run(fmt.Sprintf("pages=%d/parts=2", million), func(b *testing.B) {
		blobs := newBlobs(b)
		root, _, err := manifest.Encode(snapshotOf(million, 100), blobs.put)
		require.NoError(b, err)
		b.SetBytes(million * 2 * digest.Size)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := manifest.Decode(root, blobs.get); err != nil {
				b.Fatal(err)
			}
		}
	})
}
