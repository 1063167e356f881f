package model

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelDir returns the folder with the real weights, or skips the test; with
// KVFERRY_REQUIRE_MODELS=1 their absence is a failure.
func modelDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("KVFERRY_MODELS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "models")
	}
	if _, err := os.Stat(filepath.Join(dir, "stories260K.bin")); err != nil {
		if os.Getenv("KVFERRY_REQUIRE_MODELS") == "1" {
			t.Fatalf("KVFERRY_REQUIRE_MODELS is set, and there are no weights: %v", err)
		}
		t.Skipf("no real weights (set KVFERRY_MODELS to a folder with stories260K.bin): %v", err)
	}
	return dir
}

// golden is what another implementation, of other arithmetic, made of the real
// weights.
type golden struct {
	PageTokens int `json:"page_size_tokens"`
	Sequences  []struct {
		Name   string
		Tokens []int32
		Pages  []int
		Argmax []int32
		Margin []float64
		Text   string
	}
}

func loadGolden(t testing.TB) (*Model, *Tokenizer, golden, []byte) {
	dir := modelDir(t)
	m, err := LoadFile(filepath.Join(dir, "stories260K.bin"))
	require.NoError(t, err)
	tok, err := LoadTokenizerFile(filepath.Join(dir, "stories260K_tok512.bin"), m.Config().Vocab)
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "s260k.json"))
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(b, &g))
	kv, err := os.ReadFile(filepath.Join(dir, "s260k.kv"))
	require.NoError(t, err)
	return m, tok, g, kv
}

// slack is how far a value may be from the reference's beside one step of bf16:
// where two sums round to different bf16 values in one layer, the layers above
// start from inputs that differ by a step.
const slack = 1.0 / 32

// TestRealModelAgreesWithReference runs four texts of the real model through
// this package and compares the best next token wherever it is clear, and all
// keys and values.
func TestRealModelAgreesWithReference(t *testing.T) {
	t.Parallel()
	m, _, g, kv := loadGolden(t)
	cfg := m.Config()
	var exact, total, near, sure, unsure int
	worst := 0.0
	for _, s := range g.Sequences {
		c, err := NewCache(cfg, len(s.Pages), g.PageTokens)
		require.NoError(t, err)
		best := replay(m, c, s.Tokens, 16)
		for i, want := range s.Argmax {
			if s.Margin[i] <= 0.01 {
				unsure++
				continue
			}
			sure++
			require.Equal(t, want, best[i], "%s: token %d, margin %v", s.Name, i, s.Margin[i])
		}
		for i, id := range s.Pages {
			n := c.PageStride() * cfg.Layers * 2
			want := kv[id*n : (id+1)*n]
			got := canonical(c, i)
			for e := 0; e < n; e += 2 {
				a, b := value(got[e:]), value(want[e:])
				total++
				d := math.Abs(a - b)
				switch {
				case a == b:
					exact++
				case d <= math.Max(math.Abs(a), math.Abs(b))/128+slack:
					near++
				}
				worst = max(worst, d)
			}
		}
	}
	t.Logf("argmax equal at %d clear positions (%d unclear); K and V: %d of %d values equal, %d near, largest difference %g",
		sure, unsure, exact, total, total-exact, worst)
	require.Equal(t, 1824, sure+unsure)
	require.Equal(t, 9, unsure)
	require.Equal(t, total, exact+near, "a value is further from the reference than rounding explains")
	require.Greater(t, float64(exact)/float64(total), 0.99)
}

// replay runs tokens through m in chunks and returns the best next token after
// each.
func replay(m *Model, c *Cache, tokens []int32, chunk int) []int32 {
	p := NewPass(m, 1, 0)
	pages := make([]uint32, c.Pages)
	for i := range pages {
		pages[i] = uint32(i)
	}
	var best []int32
	for at := 0; at < len(tokens); at += chunk {
		var rows []Row
		for i := at; i < min(at+chunk, len(tokens)); i++ {
			rows = append(rows, Row{Token: tokens[i], Pos: i, Pages: pages, Logits: make([]float32, m.Config().Vocab)})
		}
		p.Run(c, rows)
		for _, r := range rows {
			best = append(best, Greedy(r.Logits))
		}
	}
	return best
}

// canonical returns a page in kvferry's canonical order.
func canonical(c *Cache, page int) []byte {
	var b []byte
	for _, slabs := range [][][]byte{c.Keys, c.Values} {
		for _, s := range slabs {
			b = append(b, c.page(s, uint32(page))...)
		}
	}
	return b
}

func value(b []byte) float64 {
	return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
}

func TestRealTokenizer(t *testing.T) {
	t.Parallel()
	_, tok, g, _ := loadGolden(t)
	for _, s := range g.Sequences {
		text, err := tok.DecodeAll(s.Tokens)
		require.NoError(t, err)
		raw := ""
		for _, id := range s.Tokens {
			p, err := tok.Decode(Unknown, id)
			require.NoError(t, err)
			raw += p
		}
		require.Equal(t, s.Text, raw, "the reference drops no blank after Begin")
		require.Equal(t, 1, len(s.Text)-len(strings.TrimPrefix(raw, " ")))
		require.Equal(t, strings.TrimPrefix(raw, " ")[:60], text[:60])
		again, err := tok.DecodeAll(tok.Encode(text))
		require.NoError(t, err)
		require.Equal(t, text, again)
	}
	prompt := "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her friends."
	ids := tok.Encode(prompt)
	require.Equal(t, g.Sequences[0].Tokens[:len(ids)], ids)
	require.Len(t, ids, 36)
	for _, text := range []string{"", "x", "Größe 日本", "\x00\xff\xfe", "a\nb", " two blanks"} {
		back, err := tok.DecodeAll(tok.Encode(text))
		require.NoError(t, err)
		require.Equal(t, text, back)
	}
}
