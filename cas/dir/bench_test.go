package dir_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// BenchmarkCapture stores and commits blobs of which a share is there already.
func BenchmarkCapture(b *testing.B) {
	for _, size := range []int{4 << 10, 88 << 10} {
		for _, stored := range []int{0, 95, 100} {
			b.Run(fmt.Sprintf("blob=%dKiB/stored=%d%%", size>>10, stored), func(b *testing.B) {
				const blobs = 1000
				root, err := os.MkdirTemp(".", "bench-") //nolint:usetesting // on a disk, where b.TempDir may not be
				require.NoError(b, err)
				b.Cleanup(func() { require.NoError(b, os.RemoveAll(root)) })
				s := open(b, root, dir.Options{})
				h, err := digest.NewHasher(digest.BLAKE3, nil)
				require.NoError(b, err)
				p := noise(1, size)
				round := uint64(0)
				one := func() {
					sess, err := s.Begin(b.Context(), cas.SessionOptions{Hint: codec.Hint{Mode: codec.OnlyRaw}})
					require.NoError(b, err)
					round++
					var d digest.Digest
					for i := range uint64(blobs) {
						binary.LittleEndian.PutUint64(p, i)
						binary.LittleEndian.PutUint64(p[8:], 0)
						if i%100 >= uint64(stored) {
							binary.LittleEndian.PutUint64(p[8:], round)
						}
						d = h.Sum(p)
						if _, err := sess.Put(b.Context(), d, p); err != nil {
							b.Fatal(err)
						}
					}
					require.NoError(b, sess.Commit(b.Context(), entryOf(d)))
				}
				if stored > 0 {
					one()
				}
				b.SetBytes(blobs * int64(size))
				b.ReportAllocs()
				for b.Loop() {
					one()
				}
			})
		}
	}
}

// BenchmarkGet reads blobs that are in the page cache.
func BenchmarkGet(b *testing.B) {
	for a := digest.BLAKE3; a.Valid(); a++ {
		b.Run("alg="+a.String()+"/blob=88KiB", func(b *testing.B) {
			s := open(b, b.TempDir(), dir.Options{})
			p := noise(1, 88<<10)
			sess := begin(b, s)
			d := put(b, sess, a, p)
			require.NoError(b, sess.Flush(b.Context()))
			buf := make([]byte, len(p))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(b.Context(), d, buf); err != nil {
					b.Fatal(err)
				}
			}
			require.Equal(b, p, buf)
		})
	}
}
