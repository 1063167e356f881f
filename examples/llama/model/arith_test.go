package model

import (
	"fmt"
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBF16(t *testing.T) {
	t.Parallel()
	for in, want := range map[uint32]uint16{
		0x3f800000: 0x3f80, 0xbf800000: 0xbf80, 0: 0, 1 << 31: 0x8000,
		0x3f808000: 0x3f80, // tie, down to even
		0x3f818000: 0x3f82, // tie, up to even
		0x3f808001: 0x3f81,
		0x7f7fffff: 0x7f80, // beyond the largest
		0x7f800000: 0x7f80,
		0x7f800001: 0x7fc0, // NaN with low bits alone
		0xffc00000: 0xffc0,
	} {
		require.Equal(t, want, bf16(math.Float32frombits(in)), "%#x", in)
	}
	for u := range 1 << 16 {
		f := unbf16(byte(u), byte(u>>8))
		if f == f {
			require.Equal(t, uint16(u), bf16(f))
		}
	}
}

// TestMatmulIsOneSum compares the kernels with the definition at every
// remainder, bit for bit, and spread over goroutines.
func TestMatmulIsOneSum(t *testing.T) {
	t.Parallel()
	r := Random(3)
	for rows := range 5 {
		for outs := range 11 {
			for _, in := range []int{1, 2, 7, 16} {
				x, w := make([]float32, rows*in), make([]float32, outs*in)
				for _, v := range [][]float32{x, w} {
					for i := range v {
						v[i] = r.normal()
					}
				}
				want := make([]float32, rows*outs)
				for i := range want {
					for k := range in {
						want[i] += float32(x[i/outs*in+k] * w[i%outs*in+k])
					}
				}
				for workers := range 4 {
					got := make([]float32, rows*outs)
					team{workers: workers + 1, grain: 1}.matmul(got, x, w, rows, in, outs)
					require.Equal(t, want, got, "%d x %d x %d", rows, in, outs)
				}
			}
		}
	}
}

func TestSplitCoversAll(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		for workers := 1; workers < 7; workers++ {
			hit := make([]int, n)
			team{workers: workers, grain: 3}.split(n, 2, func(w, lo, hi int) {
				if w >= workers {
					panic("too many workers")
				}
				for i := lo; i < hi; i++ {
					hit[i]++
				}
			})
			for i := range hit {
				require.Equal(t, 1, hit[i])
			}
		}
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	logits := []float32{1, 3, 3, -2, 2}
	r := Random(9)
	require.EqualValues(t, 1, Sampling{}.Sample(logits, &r))
	require.Equal(t, Random(9), r, "a greedy choice draws nothing")
	for range 50 {
		require.EqualValues(t, 1, Sampling{Temperature: 1, TopP: 0.01}.Sample(logits, &r), "the first of equals")
		require.Contains(t, []int32{1, 2}, Sampling{Temperature: 1, TopP: 0.6}.Sample(logits, &r))
	}
	// Frequencies follow the distribution.
	var seen [5]int
	const n = 20000
	for range n {
		seen[Sampling{Temperature: 0.7, TopP: 1}.Sample(logits, &r)]++
	}
	sum, p := 0.0, make([]float64, 5)
	for i, v := range logits {
		p[i] = math.Exp(float64(v) / 0.7)
		sum += p[i]
	}
	for i := range p {
		require.InDelta(t, p[i]/sum, float64(seen[i])/n, 0.015)
	}
}

func TestRandomIsSplitmix(t *testing.T) {
	t.Parallel()
	r := Random(1234567) // the published sequence of the generator
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		require.Equal(t, want, r.Uint64())
	}
}

// TestSeededBabble holds the seeded model to its purpose: the same weights
// every time, text of many letters, and every token dependent on what was
// attended to.
func TestSeededBabble(t *testing.T) {
	t.Parallel()
	m, err := Seeded(DefaultConfig(), 1)
	require.NoError(t, err)
	again, err := Seeded(DefaultConfig(), 1)
	require.NoError(t, err)
	require.Equal(t, m, again)
	_, err = Seeded(tiny, 1)
	require.Error(t, err)

	tok := ByteTokenizer()
	ids := tok.Encode("the ferry")
	greedy, _ := generate(t, m, ids, 150, Sampling{}, 0)
	require.Greater(t, distinct(greedy), 12, "%s", greedy)
	warm, intact := generate(t, m, ids, 150, Sampling{Temperature: 0.8, TopP: 0.95}, 0)
	require.Greater(t, distinct(warm), 15, "%s", warm)
	for _, b := range []byte(warm) {
		require.True(t, b >= ' ' && b < 0x7f, "%q is printable", warm)
	}
	require.NotEqual(t, greedy, warm)
	// One flipped bit in the second page shows in the text.
	_, damaged := generate(t, m, ids, 150, Sampling{Temperature: 0.8, TopP: 0.95}, 17)
	require.NotEqual(t, intact, damaged)
}

// generate returns text, and the logits of the last step. If flip is not 0, the
// highest exponent bits of a value of the token at that position are flipped
// once it was written.
func generate(t *testing.T, m *Model, ids []int32, n int, s Sampling, flip int) (string, []float32) {
	t.Helper()
	c, err := NewCache(m.Config(), (n+15)/16, 16)
	require.NoError(t, err)
	pages := make([]uint32, c.Pages)
	for i := range pages {
		pages[i] = uint32(c.Pages - 1 - i)
	}
	r, p := Random(5), NewPass(m, 1, 0)
	logits := make([]float32, m.Config().Vocab)
	for pos := range n {
		p.Run(c, []Row{{Token: ids[pos], Pos: pos, Pages: pages, Logits: logits}})
		if flip != 0 && pos == flip {
			c.page(c.Values[0], pages[pos/16])[pos%16*c.rowBytes+1] ^= 0x01
		}
		if pos == len(ids)-1 {
			ids = append(ids[:pos+1:pos+1], s.Sample(logits, &r))
		}
	}
	text, err := ByteTokenizer().DecodeAll(ids)
	require.NoError(t, err)
	return text, logits
}

func distinct(s string) int {
	var set [4]uint64
	for _, b := range []byte(s) {
		set[b/64] |= 1 << (b % 64)
	}
	n := 0
	for _, v := range set {
		n += bits.OnesCount64(v)
	}
	return n
}

func BenchmarkForward(b *testing.B) {
	m, err := Seeded(DefaultConfig(), 1)
	require.NoError(b, err)
	for _, rows := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			c, err := NewCache(m.Config(), 16, 16)
			require.NoError(b, err)
			p := NewPass(m, 1, 0)
			batch := make([]Row, rows)
			for i := range batch {
				batch[i] = Row{Token: Begin, Pages: []uint32{uint32(i)}, Logits: make([]float32, m.Config().Vocab)}
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Run(c, batch)
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
