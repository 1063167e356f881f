package caches

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pages  = 8192
	length = 1 << 20 // of a trace; a power of two
)

// scramble makes keys of numbers, so that their order tells nothing.
func scramble(i uint64) uint64 {
	i = (i + 1) * 0x9E3779B97F4A7C15
	return (i ^ i>>29) * 0xBF58476D1CE4E5B9
}

// zipf returns a trace over n keys, the first of which are asked for most.
func zipf(seed, n uint64, s float64) []uint64 {
	z := rand.NewZipf(rand.New(rand.NewPCG(seed, 1)), s, 1, n-1)
	trace := make([]uint64, length)
	for i := range trace {
		trace[i] = scramble(z.Uint64())
	}
	return trace
}

// scanned returns the trace with a scan of keys that never come again in it:
// every fourth stretch of half the cache's length.
func scanned(trace []uint64) []uint64 {
	out := append([]uint64(nil), trace...)
	for i := range out {
		if i/(pages/2)%4 == 3 {
			out[i] = scramble(1<<40 + uint64(i))
		}
	}
	return out
}

// loop returns a trace that goes round over n keys.
func loop(n int) []uint64 {
	trace := make([]uint64, length)
	for i := range trace {
		trace[i] = scramble(uint64(i % n))
	}
	return trace
}

// recent returns a trace of conversations: a fifth of it is new keys, the rest
// keys that were new not long ago, as far back as half of the cache on average.
func recent(seed uint64) []uint64 {
	r := rand.New(rand.NewPCG(seed, 2))
	trace := make([]uint64, length)
	newest := uint64(pages)
	for i := range trace {
		back := uint64(0)
		if r.IntN(5) == 0 {
			newest++
		} else {
			back = min(newest, uint64(r.ExpFloat64()*pages/2))
		}
		trace[i] = scramble(newest - back)
	}
	return trace
}

func content() page {
	p := new([pageBytes]byte)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}

// BenchmarkHit asks for pages that are there, with a Zipf distribution.
func BenchmarkHit(b *testing.B) {
	trace := zipf(1, pages/2, 1.01)
	for _, c := range subjects {
		b.Run("cache="+c.name, func(b *testing.B) {
			cache := c.make(b, pages)
			fill(cache)
			b.Run("goroutines=1", func(b *testing.B) {
				b.ReportAllocs()
				i, missed := 0, 0
				for b.Loop() {
					if !cache.get(trace[i&(length-1)]) {
						missed++
					}
					i++
				}
				require.LessOrEqual(b, missed, i/100)
			})
			b.Run("goroutines=GOMAXPROCS", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(length); pb.Next(); i++ {
						cache.get(trace[i&(length-1)])
					}
				})
			})
		})
	}
}

// fill puts half as many pages as fit, until the cache has them: some of the
// peers take a page only if they have time.
func fill(cache subject) {
	one := content()
	for range 20 {
		for i := range uint64(pages / 2) {
			if k := scramble(i); !cache.get(k) {
				cache.put(k, one)
			}
		}
		cache.settle()
	}
}

// BenchmarkMiss asks for pages that are not there.
func BenchmarkMiss(b *testing.B) {
	for _, c := range subjects {
		b.Run("cache="+c.name+"/goroutines=1", func(b *testing.B) {
			cache := c.make(b, pages)
			fill(cache)
			b.ReportAllocs()
			i := uint64(1 << 50)
			for b.Loop() {
				if cache.get(scramble(i)) {
					b.Fatal("a page that never was")
				}
				i++
			}
		})
	}
}

// BenchmarkMixed asks for pages of a set 16 times as large as the cache and puts
// those that are not there.
func BenchmarkMixed(b *testing.B) {
	trace := zipf(2, 16*pages, 1.01)
	for _, c := range subjects {
		b.Run("cache="+c.name, func(b *testing.B) {
			cache, one := c.make(b, pages), content()
			use(cache, trace, one)
			b.Run("goroutines=1", func(b *testing.B) {
				b.ReportAllocs()
				i, hit := 0, 0
				for b.Loop() {
					if k := trace[i&(length-1)]; cache.get(k) {
						hit++
					} else {
						cache.put(k, one)
					}
					i++
				}
				b.ReportMetric(100*float64(hit)/float64(i), "hit%")
			})
			b.Run("goroutines=GOMAXPROCS", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(length); pb.Next(); i++ {
						if k := trace[i&(length-1)]; !cache.get(k) {
							cache.put(k, one)
						}
					}
				})
			})
		})
	}
}

// use plays a trace and returns how many pages were there.
func use(cache subject, trace []uint64, one page) (hit int) {
	for _, k := range trace {
		if cache.get(k) {
			hit++
		} else {
			cache.put(k, one)
		}
	}
	return hit
}

// BenchmarkRatio plays whole traces on empty caches and reports what was there.
func BenchmarkRatio(b *testing.B) {
	for _, t := range []struct {
		name  string
		trace []uint64
	}{
		{"zipf1.01", zipf(3, 16*pages, 1.01)},
		{"zipf1.2", zipf(3, 16*pages, 1.2)},
		{"zipf1.01+scan", scanned(zipf(3, 16*pages, 1.01))},
		{"loop", loop(pages * 5 / 4)},
		{"recent", recent(4)},
	} {
		for _, c := range subjects {
			b.Run("trace="+t.name+"/cache="+c.name, func(b *testing.B) {
				hit, n := 0, 0
				for b.Loop() {
					hit += use(c.make(b, pages), t.trace, content())
					n += length
				}
				b.ReportMetric(100*float64(hit)/float64(n), "hit%")
			})
		}
	}
}
