package disk_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// BenchmarkGet reads an artifact that is in the page cache, and in turn reads and
// hashes the same file plainly, the least that a hit can cost. It reports the
// medians of both, and how they compare: 100 means that a hit costs the same, less
// that it costs more. The time of an operation is that of both.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("size=%dKiB", size>>10), func(b *testing.B) {
			root := b.TempDir()
			s := open(b, root, disk.Options{})
			artifact := noise(1, size)
			put(b, s, key(1), artifact)
			h, err := digest.NewHasher(digest.BLAKE3, nil)
			require.NoError(b, err)
			var got []byte
			var sum digest.Digest
			var took [2][]time.Duration
			ways := [2]func() error{
				func() (err error) {
					got, err = s.Get(b.Context(), key(1))
					return err
				},
				func() error {
					file, err := os.ReadFile(file(root, key(1)))
					if err == nil {
						sum = h.Sum(file[:len(file)-digest.Size])
					}
					return err
				},
			}
			b.SetBytes(2 * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				first := rand.IntN(2) // a fixed order falls in step with the garbage collector
				for k := range ways {
					way := (first + k) % 2
					from := time.Now()
					if err := ways[way](); err != nil {
						b.Fatal(err)
					}
					took[way] = append(took[way], time.Since(from))
				}
			}
			require.True(b, bytes.Equal(artifact, got))
			require.True(b, sum.Valid())
			hit, plain := median(took[0]), median(took[1])
			b.ReportMetric(float64(hit.Nanoseconds()), "ns/hit")
			b.ReportMetric(float64(plain.Nanoseconds()), "ns/read+hash")
			b.ReportMetric(100*plain.Seconds()/hit.Seconds(), "%of-read+hash")
		})
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
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
