package synthetic

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// exponents counts the exponents of bf16 data.
type exponents [256]int

func (h *exponents) add(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		h[binary.LittleEndian.Uint16(b)>>7&0xff]++
	}
}

// entropy returns bits per value.
func (h *exponents) entropy() float64 {
	n, e := 0, 0.0
	for _, c := range h {
		n += c
	}
	for _, c := range h {
		if c > 0 {
			p := float64(c) / float64(n)
			e -= p * math.Log2(p)
		}
	}
	return e
}

// entropies returns the exponent entropies of part number part: within layers,
// and within channels, each averaged.
func entropies(m pager.Meta, pages [][]byte, part int) (layer, channel float64) {
	width := int(m.KVHeads * m.HeadDim)
	byLayer := make([]exponents, m.Layers)
	byChannel := make([]exponents, int(m.Layers)*width)
	for _, p := range pages {
		rows := p[part*m.Parts[0].Bytes:][:m.Parts[part].Bytes]
		for l := range int(m.Layers) {
			for range int(m.PageTokens) {
				byLayer[l].add(rows[:2*width])
				for c := range width {
					byChannel[l*width+c].add(rows[2*c : 2*c+2])
				}
				rows = rows[2*width:]
			}
		}
	}
	for i := range byLayer {
		layer += byLayer[i].entropy() / float64(len(byLayer))
	}
	for i := range byChannel {
		channel += byChannel[i].entropy() / float64(len(byChannel))
	}
	return layer, channel
}

func TestKVIsLikeRealPages(t *testing.T) {
	t.Parallel()
	m := plain(t, 16, 6, 2, 128, pager.BF16)
	raw, err := os.ReadFile("testdata/kvlab.kv")
	require.NoError(t, err)
	var taken, made [][]byte
	for ; len(raw) > 0; raw = raw[m.PageBytes():] {
		taken = append(taken, raw[:m.PageBytes()])
	}
	require.Len(t, taken, 3)
	e, err := New(Options{Meta: m, Capacity: 8})
	require.NoError(t, err)
	require.NoError(t, e.PopulateKV(len(taken), 1))
	for i := range taken {
		made = append(made, read(t, e, pager.PageID(i)))
	}
	for part, name := range []string{"k", "v"} {
		rl, rc := entropies(m, taken, part)
		ml, mc := entropies(m, made, part)
		t.Logf("%s: exponent entropy within layers %.2f (real %.2f), within channels %.2f (real %.2f)", name, ml, rl, mc, rc)
		require.InDelta(t, rl, ml, 0.25, "%s within layers", name)
		require.InDelta(t, rc, mc, 0.25, "%s within channels", name)
		require.Greater(t, ml, mc, "%s: channels differ from each other", name)
	}
}

func TestKVDependsOnSeedAndPageAlone(t *testing.T) {
	t.Parallel()
	m := plain(t, 4, 2, 2, 8, pager.BF16)
	pages := func(n int, seed uint64) [][]byte {
		e, err := New(Options{Meta: m})
		require.NoError(t, err)
		defer func() { require.NoError(t, e.Close()) }()
		require.NoError(t, e.PopulateKV(n, seed))
		var out [][]byte
		for i := range n {
			out = append(out, read(t, e, pager.PageID(i)))
		}
		return out
	}
	long := pages(300, 5)
	require.Equal(t, long[:7], pages(7, 5))
	seen := make(map[[32]byte]bool)
	for _, set := range [][][]byte{long, pages(300, 6), pages(300, 1<<40)} {
		for _, p := range set {
			seen[sha256.Sum256(p)] = true
		}
	}
	require.Len(t, seen, 900, "all pages of all seeds are different")
}

// The bytes are pinned: benchmarks and stored caches of different
// versions are compared with each other.
func TestKVBytesAreFixed(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Meta: plain(t, 2, 1, 1, 8, pager.BF16)})
	require.NoError(t, err)
	require.NoError(t, e.PopulateKV(1, 0))
	b := read(t, e, 0)
	require.Equal(t, "13bfb03e50bf12c083be0e40ccbf4f3e813f4a3fa33d2ec0f63e553fadbf833fd5bd0e3d09bd9ebb203b853c983cc5bd08bab3bdee3c673de43ccdbc883dcfbd", hex.EncodeToString(b))
}

func TestKVWantsBF16(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Meta: plain(t, 2, 1, 1, 8, pager.F16)})
	require.NoError(t, err)
	require.ErrorIs(t, e.PopulateKV(1, 0), kvferry.ErrUnsupported)
}

func TestKVOfOddShapes(t *testing.T) {
	t.Parallel()
	m := plain(t, 1, 3, 1, 1, pager.BF16) // no pair to rotate
	m.Parts = append(m.Parts, pager.Part{Kind: pager.PartScale, Bytes: 5}, pager.Part{Kind: pager.PartK, Bytes: 6, Form: "own"})
	e, err := New(Options{Meta: m})
	require.NoError(t, err)
	require.NoError(t, e.PopulateKV(2, 0))
	require.NotEqual(t, read(t, e, 0), read(t, e, 1))
	e, err = New(Options{Meta: plain(t, 0, 3, 1, 4, pager.BF16)})
	require.NoError(t, err)
	require.NoError(t, e.PopulateKV(2, 0), "empty pages")
}

func BenchmarkPopulateKV(b *testing.B) {
	m, err := pager.Plain(16, 22, 4, 64, pager.BF16)
	require.NoError(b, err)
	e, err := New(Options{Meta: m, Capacity: 128})
	require.NoError(b, err)
	b.SetBytes(int64(128 * m.PageBytes()))
	for b.Loop() {
		require.NoError(b, e.PopulateKV(128, 1))
	}
}
