package disk_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// BenchmarkGet reads an artifact that is in the page cache: by the store, and as
// a plain read and one BLAKE3 of the same file, which is the least that a hit
// can cost.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20, 16 << 20} {
		root := b.TempDir()
		s := open(b, root, disk.Options{})
		artifact := noise(1, size)
		put(b, s, key(1), artifact)
		var got []byte
		b.Run(fmt.Sprintf("size=%dKiB/by=store", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if got, err = s.Get(b.Context(), key(1)); err != nil {
					b.Fatal(err)
				}
			}
			require.True(b, bytes.Equal(artifact, got))
		})
		b.Run(fmt.Sprintf("size=%dKiB/by=read+hash", size>>10), func(b *testing.B) {
			h, err := digest.NewHasher(digest.BLAKE3, nil)
			require.NoError(b, err)
			path := file(root, key(1))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var sum digest.Digest
			for b.Loop() {
				file, err := os.ReadFile(path)
				if err != nil {
					b.Fatal(err)
				}
				sum = h.Sum(file[:len(file)-digest.Size])
			}
			require.True(b, sum.Valid())
		})
	}
}

// BenchmarkPut replaces an artifact, with and without a budget to keep.
func BenchmarkPut(b *testing.B) {
	for _, budget := range []int64{0, 64 << 20} {
		b.Run(fmt.Sprintf("size=64KiB/budget=%dMiB", budget>>20), func(b *testing.B) {
			s := open(b, b.TempDir(), disk.Options{BudgetBytes: budget})
			artifact := noise(1, 64<<10)
			b.SetBytes(int64(len(artifact)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := s.Put(b.Context(), key(i%100), artifact); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
