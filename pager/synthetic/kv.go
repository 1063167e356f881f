package synthetic

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// PopulateKV is Populate with pages that look like the keys and values of a
// language model, so that what compresses those compresses these alike. The
// dtype has to be bf16, else it is ErrUnsupported.
//
// Every channel (a head's dimension in one layer) has a mean and a deviation
// of its own; a few channels of K lie far from zero, and V grows with depth.
// A channel's values follow each other from token to token as an
// autoregression, starting anew in each page, and K is rotated by its position
// (RoPE). Parts that are not k or v in plain form get uniform bytes. Page i
// depends on the seed and i alone, and pages are different as soon as their
// size makes that possible.
func (e *Engine) PopulateKV(n int, seed uint64) error {
	if e.meta.Dtype != pager.BF16 {
		return fmt.Errorf("synthetic: populate kv as %v: %w", e.meta.Dtype, kvferry.ErrUnsupported)
	}
	return e.populate(n, seed, newKV(e.meta, seed).page)
}

// The statistics of the pages. They are chosen so that the entropies of
// exponents, over all and within channels, are those of real models.
const (
	kvCorrelation = 0.7  // between the values of neighbouring tokens
	kvOutliers    = 0.04 // share of K channels far from zero
	ropeBase      = 500000
	quantiles     = 1 << 12 // 16 KiB as float32, stays in the nearest cache
	quantileBits  = 12
)

// kv makes pages. Noise is a hash of a counter, five Gaussian values from one
// 64-bit output, so that pages are independent of each other and gigabytes
// take seconds. Products are converted before they are added, which keeps
// machines with fused multiply-add from rounding otherwise.
type kv struct {
	meta    pager.Meta
	seed    uint64
	width   int // channels: heads x head dim
	k, v    []channel
	normal  [quantiles]float32
	freqs   []float64 // RoPE, one for each pair of dimensions
	turns   []turn    // by one token
	scratch sync.Pool
}

type channel struct{ mean, dev float32 }

// turn is a rotation.
type turn struct{ cos, sin float32 }

// kvScratch is what one page is made with.
type kvScratch struct {
	state []float32 // autoregression of each channel
	row   []float32 // one token
	turns []turn    // [token][pair]
}

func newKV(m pager.Meta, seed uint64) *kv {
	g := &kv{meta: m, seed: mix(seed + 1), width: int(m.KVHeads) * int(m.HeadDim)}
	for i := range g.normal {
		g.normal[i] = float32(math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/quantiles-1))
	}
	half := int(m.HeadDim) / 2
	for i := range half {
		f := math.Pow(ropeBase, -float64(i)/float64(half))
		g.freqs = append(g.freqs, f)
		g.turns = append(g.turns, turn{float32(math.Cos(f)), float32(math.Sin(f))})
	}
	g.channels()
	g.scratch.New = func() any {
		return &kvScratch{
			state: make([]float32, g.width), row: make([]float32, g.width),
			turns: make([]turn, int(m.PageTokens)*half),
		}
	}
	return g
}

// channels draws the mean and deviation of every channel.
func (g *kv) channels() {
	at := g.seed
	uniform := func() float64 {
		at += gamma
		return (float64(mix(at)>>11) + 0.5) / (1 << 53)
	}
	normal := func() float64 { return math.Sqrt2 * math.Erfinv(2*uniform()-1) }
	layers := int(g.meta.Layers)
	g.k, g.v = make([]channel, layers*g.width), make([]channel, layers*g.width)
	for i := range g.k {
		depth := float64(i/g.width) / float64(layers)
		dev, mean := 0.9*math.Exp(0.35*normal()), 0.5*normal()
		if uniform() < kvOutliers {
			mean = math.Copysign(5+8*uniform(), mean)
			dev *= 1.5
		}
		g.k[i] = channel{float32(mean), float32(dev)}
		scale := 0.08 * math.Exp(1.5*depth)
		g.v[i] = channel{float32(0.1 * scale * normal()), float32(scale * math.Exp(0.3*normal()))}
	}
}

// page fills one page.
func (g *kv) page(dst []byte, id pager.PageID) {
	s, ok := g.scratch.Get().(*kvScratch)
	if !ok {
		panic("synthetic: a pool of scratches holds something else")
	}
	defer g.scratch.Put(s)
	at := mix(g.seed ^ mix(uint64(id)+gamma))
	g.rotations(s, uint64(id)*uint64(g.meta.PageTokens))
	for i, p := range g.meta.Parts {
		noise := mix(at + uint64(i))
		switch {
		case p.Form == pager.FormPlain && p.Kind == pager.PartK:
			g.part(dst[:p.Bytes], g.k, noise, s, true)
		case p.Form == pager.FormPlain && p.Kind == pager.PartV:
			g.part(dst[:p.Bytes], g.v, noise, s, false)
		default:
			fill(dst[:p.Bytes], noise)
		}
		dst = dst[p.Bytes:]
	}
}

// rotations computes the RoPE turns of the page's tokens: the first from its
// position, the others by one more step each.
func (g *kv) rotations(s *kvScratch, first uint64) {
	half := len(g.freqs)
	for i := range s.turns {
		if i < half {
			sin, cos := math.Sincos(float64(first) * g.freqs[i])
			s.turns[i] = turn{float32(cos), float32(sin)}
			continue
		}
		a, b := s.turns[i-half], g.turns[i%half]
		s.turns[i] = turn{float32(a.cos*b.cos) - float32(a.sin*b.sin), float32(a.sin*b.cos) + float32(a.cos*b.sin)}
	}
}

// part fills a plain part, [layer][token][channel].
func (g *kv) part(dst []byte, channels []channel, noise uint64, s *kvScratch, rope bool) {
	half := len(g.freqs)
	for l := range int(g.meta.Layers) {
		rho := float32(0) // the first token draws from the channel itself
		for t := range int(g.meta.PageTokens) {
			if 2*g.width > len(dst) {
				return // a part of another size than the dimensions say
			}
			noise = g.token(s, channels[l*g.width:(l+1)*g.width], noise, rho)
			if rope {
				rotate(s.row, s.turns[t*half:(t+1)*half], int(g.meta.HeadDim))
			}
			for c, x := range s.row {
				binary.LittleEndian.PutUint16(dst[2*c:], bf16(x))
			}
			dst = dst[2*g.width:]
			rho = kvCorrelation
		}
	}
}

// token draws one token's values into s.row and returns the advanced counter.
func (g *kv) token(s *kvScratch, channels []channel, noise uint64, rho float32) uint64 {
	fresh := float32(math.Sqrt(float64(1 - rho*rho)))
	state, row := s.state[:len(channels)], s.row[:len(channels)]
	var bits uint64
	left := 0
	for c, p := range channels {
		if left == 0 {
			noise += gamma
			bits, left = mix(noise), 64/quantileBits
		}
		z := float32(rho*state[c]) + float32(fresh*g.normal[bits%quantiles])
		bits >>= quantileBits
		left--
		state[c] = z
		row[c] = p.mean + float32(p.dev*z)
	}
	return noise
}

// rotate turns each pair (i, i+dim/2) of every head.
func rotate(row []float32, turns []turn, dim int) {
	half := len(turns)
	if half == 0 {
		return
	}
	for ; len(row) >= dim; row = row[dim:] {
		lo, hi := row[:half], row[half:2*half]
		for i, r := range turns {
			a, b := lo[i], hi[i]
			lo[i], hi[i] = float32(a*r.cos)-float32(b*r.sin), float32(a*r.sin)+float32(b*r.cos)
		}
	}
}

// bf16 rounds to the nearest, ties to even; x is finite.
func bf16(x float32) uint16 {
	u := math.Float32bits(x)
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
