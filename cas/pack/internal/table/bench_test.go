package table

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/anon"
)

// big is a table of so many numbered blobs.
func big(b *testing.B, blobs int) *Table {
	tab, err := New() // closed by nobody: benchmarks share it
	require.NoError(b, err)
	for i := range uint64(blobs) {
		_, _, err := tab.Put(numbered(i), MakePlace(uint32(i%1000), int64(i%1024)*64, 64))
		require.NoError(b, err)
	}
	b.ReportMetric(float64(tab.MemoryBytes())/float64(blobs), "table-B/blob")
	return tab
}

// sizes of tables that are measured.
var sizes = []int{1_000_000, 10_000_000}

func BenchmarkGet(b *testing.B) {
	for _, blobs := range sizes {
		var tab *Table // made when the first of its benchmarks runs
		for _, hit := range []bool{true, false} {
			b.Run(fmt.Sprintf("blobs=%d/hit=%t", blobs, hit), func(b *testing.B) {
				if tab == nil {
					tab = big(b, blobs)
				}
				from := uint64(0)
				if !hit {
					from = 1 << 40
				}
				r := rand.New(rand.NewPCG(1, 2))
				found := 0
				b.ReportAllocs()
				for b.Loop() {
					// No list of digests: it would take the caches that a store has.
					if _, ok := tab.Get(numbered(from + r.Uint64N(uint64(blobs)))); ok {
						found++
					}
				}
				require.Equal(b, hit, found > 0)
			})
		}
	}
}

// BenchmarkPut puts new blobs into a table that grows as it does.
func BenchmarkPut(b *testing.B) {
	for _, blobs := range sizes {
		b.Run(fmt.Sprintf("blobs=%d", blobs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tab, err := New()
				require.NoError(b, err)
				for i := range uint64(blobs) {
					_, _, _ = tab.Put(numbered(i), MakePlace(1, 64, 64))
				}
				require.EqualValues(b, blobs, tab.Len())
				b.ReportMetric(float64(tab.MemoryBytes())/float64(blobs), "table-B/blob")
				tab.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(blobs), "ns/blob")
		})
	}
}

func BenchmarkSave(b *testing.B) {
	for _, blobs := range sizes {
		b.Run(fmt.Sprintf("blobs=%d", blobs), func(b *testing.B) {
			tab := big(b, blobs)
			b.SetBytes(int64(bodyBytes(uint64(blobs))))
			b.ReportAllocs()
			for b.Loop() {
				_, err := tab.Save(io.Discard, same)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, blobs := range sizes {
		var saved bytes.Buffer
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("blobs=%d/threads=%d", blobs, threads), func(b *testing.B) {
				if saved.Len() == 0 {
					tab := big(b, blobs)
					saved.Grow(blobs*41 + 1<<20)
					_, err := tab.Save(&saved, same)
					require.NoError(b, err)
					tab.Close()
				}
				slots := make([]uint32, 1000)
				b.SetBytes(int64(saved.Len()))
				b.ReportAllocs()
				for b.Loop() {
					tab, lost, err := Load(bytes.NewReader(saved.Bytes()), 0, int64(saved.Len()), slots, threads)
					require.NoError(b, err)
					require.Zero(b, lost)
					require.EqualValues(b, blobs, tab.Len())
					b.ReportMetric(float64(tab.MemoryBytes())/float64(blobs), "table-B/blob")
					tab.Close()
				}
			})
		}
	}
}

// BenchmarkRandomRead reads memory as long as the table of so many blobs, each
// place depending on what the read before found: what one access costs that no
// cache holds.
func BenchmarkRandomRead(b *testing.B) {
	for _, blobs := range sizes {
		b.Run(fmt.Sprintf("blobs=%d", blobs), func(b *testing.B) {
			mem, err := anon.Map(blobs * 45)
			require.NoError(b, err)
			anon.Touch(mem)
			x := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				x = x*spread + 1 + uint64(mem[(x>>20)%uint64(len(mem))])
			}
			require.NotZero(b, x)
			require.NoError(b, anon.Unmap(mem))
		})
	}
}
