package pagecache

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// key is as a digest is: comparable, and a hash already.
type key [32]byte

func keyOf(i uint64) (k key) {
	for j := range 4 {
		for b := range 8 {
			k[8*j+b] = byte((i + 1) * 0x9E3779B97F4A7C15 >> (8 * b))
		}
		i = (i + uint64(j)) * 0xD6E8FEB86659FD93
	}
	return k
}

func hashOf(k key) uint64 {
	return uint64(k[0]) | uint64(k[1])<<8 | uint64(k[2])<<16 | uint64(k[3])<<24 |
		uint64(k[4])<<32 | uint64(k[5])<<40 | uint64(k[6])<<48 | uint64(k[7])<<56
}

const benchPages = 4096

// filledPool returns a pool with as many small pages as fit.
func filledPool(b *testing.B, hash func(key) uint64) (*Pool[key], []key) {
	p := newPool(b, Options[key]{LimitBytes: benchPages * 512, Hash: hash})
	keys := make([]key, benchPages)
	for i := range keys {
		keys[i] = keyOf(uint64(i))
		f, err := p.Insert(b.Context(), keys[i], make([]byte, 512), Refuse)
		require.NoError(b, err)
		f.Release()
	}
	b.Cleanup(func() { require.NoError(b, p.Close()) })
	return p, keys
}

// BenchmarkHit gets a page that is there and releases it.
func BenchmarkHit(b *testing.B) {
	for _, c := range []struct {
		name string
		hash func(key) uint64
	}{{"own", hashOf}, {"maphash", nil}} {
		p, keys := filledPool(b, c.hash)
		b.Run("hash="+c.name+"/goroutines=1", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				f, ok := p.Get(keys[i%benchPages])
				if !ok {
					b.Fatal("miss")
				}
				f.Release()
				i += 7
			}
		})
		b.Run("hash="+c.name+"/goroutines=GOMAXPROCS", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i += 7 {
					if f, ok := p.Get(keys[i%benchPages]); ok {
						f.Release()
					} else {
						b.Error("miss")
					}
				}
			})
		})
		b.Run("hash="+c.name+"/goroutines=GOMAXPROCS/keys=1", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if f, ok := p.Get(keys[0]); ok {
						f.Release()
					}
				}
			})
		})
	}
}

// BenchmarkMiss looks for what is not there.
func BenchmarkMiss(b *testing.B) {
	p, _ := filledPool(b, hashOf)
	absent := make([]key, benchPages)
	for i := range absent {
		absent[i] = keyOf(uint64(i) + 1<<40)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if p.Contains(absent[i%benchPages]) {
			b.Fatal("hit")
		}
		i++
	}
}

// BenchmarkFill gets pages of a set larger than the pool; each page that comes
// evicts another.
func BenchmarkFill(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("size=%dKiB", size>>10), func(b *testing.B) {
			p := newPool(b, Options[key]{LimitBytes: int64(256 * size), Hash: hashOf})
			page := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				f, err := p.GetOrFill(b.Context(), keyOf(i), size, Refuse, func(_ context.Context, mem []byte) error {
					copy(mem, page)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				f.Release()
				i++
			}
			require.NoError(b, p.Close())
		})
	}
}
