package store

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"
)

const (
	gamma = 0x9e3779b97f4a7c15
	// channels is the width of a token: 8 heads of 128.
	channels = 1024
	// outliers is the share of channels whose mean lies far from zero, as some
	// channels of K do.
	outliers    = 0.04
	correlation = 0.7 // of neighbouring tokens
	quantiles   = 1 << 12
)

// mix spreads a counter over 64 bits.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// generator makes bytes that look like keys and values in bf16: each channel
// has a mean and a deviation of its own, and its values follow each other from
// token to token. They have about six bits of entropy a byte, so no store
// shrinks them quickly, and no two blobs share a part.
type generator struct {
	mean, dev [channels]float32
	normal    [quantiles]float32
}

func newGenerator() *generator {
	g := &generator{}
	for i := range g.normal {
		g.normal[i] = float32(quantile((float64(i) + 0.5) / quantiles))
	}
	at := uint64(1)
	uniform := func() float64 {
		at += gamma
		return (float64(mix(at)>>11) + 0.5) / (1 << 53)
	}
	for c := range g.mean {
		mean, dev := 0.5*quantile(uniform()), 0.9*math.Exp(0.35*quantile(uniform()))
		if uniform() < outliers {
			mean, dev = math.Copysign(5+8*uniform(), mean), 1.5*dev
		}
		if c%2 == 1 { // values are narrower than keys
			mean, dev = 0.05*mean, 0.2*dev
		}
		g.mean[c], g.dev[c] = float32(mean), float32(dev)
	}
	return g
}

// quantile is the standard normal one.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// fill makes the bytes of one seed.
func (g *generator) fill(dst []byte, seed uint64) {
	var state [channels]float32
	noise, bits := mix(seed+gamma), uint64(0)
	fresh := float32(math.Sqrt(1 - correlation*correlation))
	for i := 0; len(dst) >= 2; i++ {
		c := i % channels
		if i%5 == 0 { // five values of twelve bits from one output
			noise += gamma
			bits = mix(noise)
		}
		z := g.normal[bits%quantiles]
		bits >>= 12
		if i >= channels {
			z = correlation*state[c] + fresh*z
		}
		state[c] = z
		u := math.Float32bits(g.mean[c] + g.dev[c]*z)
		binary.LittleEndian.PutUint16(dst, uint16((u+0x7fff+u>>16&1)>>16))
		dst = dst[2:]
	}
	clear(dst)
}

// newPool makes memory full of such bytes.
func newPool(bytes int) []byte {
	const piece = miB
	pool := make([]byte, bytes)
	g := newGenerator()
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		wg.Go(func() {
			for at := w * piece; at < bytes; at += n * piece {
				g.fill(pool[at:min(at+piece, bytes)], uint64(at)*gamma)
			}
		})
	}
	wg.Wait()
	return pool
}

// pages is an engine's memory to the benchmarks: blobs of one size, different
// from each other and between sets of different seeds. Behind the end of the
// pool its bytes come again, told apart by the first eight. Only one capture
// may use a pool at a time.
type pages struct {
	size, count int
	seed        uint64
	pool        []byte
}

// pages makes a set of about total bytes.
func (b *bench) pages(size int, total int64, seed uint64) *pages {
	if b.pool == nil {
		b.pool = newPool(int(b.poolBytes))
	}
	return &pages{size: size, count: max(int(total/int64(size)), workers), seed: seed, pool: b.pool}
}

// blob returns blob i. Blobs that are a pool apart must not be used at once.
func (p *pages) blob(i int) []byte {
	at := i % (len(p.pool) / p.size) * p.size
	b := p.pool[at : at+p.size : at+p.size]
	binary.LittleEndian.PutUint64(b, mix(p.seed^uint64(i)*gamma))
	return b
}

// source hands the set out to capture.
func (p *pages) source() func(int, int) ([]byte, error) {
	return func(_, i int) ([]byte, error) { return p.blob(i), nil }
}
