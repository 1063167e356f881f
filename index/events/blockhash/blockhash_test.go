package blockhash_test

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/blockhash"
)

func hasher(t testing.TB, a blockhash.Algorithm, blockTokens int, seed string) *blockhash.Hasher {
	t.Helper()
	h, err := blockhash.New(a, blockTokens, seed)
	require.NoError(t, err)
	return h
}

// stored is what the engine published: token ids and the hashes of their blocks.
type stored struct {
	Type   string            `json:"type"`
	Hashes []json.RawMessage `json:"block_hashes"`
	Parent json.RawMessage   `json:"parent_block_hash"`
	Tokens []uint32          `json:"token_ids"`
	Size   int               `json:"block_size"`
}

func published(t *testing.T, name string) []stored {
	t.Helper()
	f, err := os.Open("../testdata/" + name)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var out []stored
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<22)
	for s.Scan() {
		var line struct {
			Decoded []json.RawMessage `json:"decoded"`
		}
		require.NoError(t, json.Unmarshal(s.Bytes(), &line))
		var es []stored
		require.NoError(t, json.Unmarshal(line.Decoded[1], &es))
		for _, e := range es {
			if e.Type == "BlockStored" && len(e.Tokens) > 0 {
				out = append(out, e)
			}
		}
	}
	require.NoError(t, s.Err())
	return out
}

// A real engine's hashes from its token ids, in both forms that it publishes.
func TestHashesOfEngine(t *testing.T) {
	t.Parallel()
	h := hasher(t, blockhash.SHA256, 32, blockhash.DefaultSeed)
	known := map[string][32]byte{"null": h.Root()}
	blocks := 0
	for _, e := range published(t, "kvevents-bytes.jsonl.gz") {
		require.Equal(t, 32, e.Size)
		parent, ok := known[string(e.Parent)]
		require.True(t, ok, "parent %s", e.Parent)
		for i, want := range e.Hashes {
			parent = h.Block(parent, false, e.Tokens[i*32:i*32+32])
			require.Equal(t, string(want), fmt.Sprintf(`"bin:%s"`, blockhash.AppendText(nil, &parent)))
			known[string(want)] = parent
			blocks++
		}
	}
	require.Equal(t, 18, blocks)
	known = map[string][32]byte{"null": h.Root()}
	for _, e := range published(t, "kvevents-int.jsonl.gz") {
		parent, ok := known[string(e.Parent)]
		require.True(t, ok)
		for i, want := range e.Hashes {
			parent = h.Block(parent, false, e.Tokens[i*32:i*32+32])
			require.Equal(t, string(want), string(h.AppendInt(nil, &parent)))
			known[string(want)] = parent
		}
	}
}

func TestHashesOfPrompt(t *testing.T) {
	t.Parallel()
	tokens := []uint32{1}
	for k := range uint32(240) {
		tokens = append(tokens, (k*7919+13)%500+5)
	}
	h := hasher(t, blockhash.SHA256, 32, blockhash.DefaultSeed)
	require.Equal(t, "066b1e8987e027138e98701c46128929378935f9b6cd1549105ae6b4f0d71198", text(h.Root()))
	hs := h.Hashes(tokens)
	require.Len(t, hs, 7)
	require.Equal(t, "d6959b288e835f8d1db5c81e81a3b9002836fda862d6586f426f68a5ca1cdbb9", text(hs[0]))
	require.Equal(t, "251230a38d3ee60d86e3ffb0203f6ae9f4862a9cde9938b64561e0c2f011ca3a", text(hs[6]))
	c := hasher(t, blockhash.SHA256CBOR, 32, blockhash.DefaultSeed)
	require.Equal(t, "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0", text(c.Root()))
	require.Equal(t, "bb070a844a0eff0d4c8b3e55ad19359d89ee7ce4372cfe5c0ef564db994fa7a5", text(c.Hashes(tokens)[0]))
}

// What Python 3.11's pickle gives for tuples of other lengths and larger numbers.
func TestPickleForms(t *testing.T) {
	t.Parallel()
	var parent [32]byte
	for i := range parent {
		parent[i] = byte(i)
	}
	h := hasher(t, blockhash.SHA256, 16, "0")
	require.Equal(t, "1973e23848344dc43a988a9b478663803cfffe1243480253f9a3cf004b14aa7c", text(h.Root()))
	for want, tokens := range map[string][]uint32{
		"db2b72dac49b7beb72f1060b490ac820cb519db9d0f32f91d2660bb197596b00": {},
		"4662fe7c6622ea745ddb09575d8754590bdc4cdd88dc5ef0715917d735860dcc": {1},
		"804ef490836b73251240e23930c7bbe1b285544320c77b8a9fea7fee51be47bf": {1, 300},
		"f42bcb7b39d506f1c72bd48597008d3d36778d07831565cfffcdd6ba34d6c52b": {1, 300, 70000},
		"887698f3de89c36ba963389214c75c11007925fbd9dfa749aee87b6924503fd8": {0, 255, 256, 65535, 65536, 1<<31 - 1, 1 << 31, 1<<32 - 1},
	} {
		require.Equal(t, want, text(h.Block(parent, false, tokens)), "%v", tokens)
	}
}

func TestSGLang(t *testing.T) {
	t.Parallel()
	h := hasher(t, blockhash.SGLang, 2, "")
	hs := h.Hashes([]uint32{1, 2, 70000, 4, 5})
	require.Len(t, hs, 2)
	first := sha256.Sum256([]byte{1, 0, 0, 0, 2, 0, 0, 0})
	require.Equal(t, first, hs[0])
	require.Equal(t, sha256.Sum256(append(first[:], 0x70, 0x11, 1, 0, 4, 0, 0, 0)), hs[1])
	negative := [32]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 1}
	require.Equal(t, "-2", string(h.AppendInt(nil, &negative)))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a    blockhash.Algorithm
		n    int
		seed string
		want error
	}{
		{3, 16, "", kvferry.ErrInvalid},
		{blockhash.SHA256, 0, "", kvferry.ErrInvalid},
		{blockhash.SHA256, 13100, "", kvferry.ErrUnsupported},
		{blockhash.SHA256, 16, string(make([]byte, 256)), kvferry.ErrUnsupported},
	} {
		_, err := blockhash.New(c.a, c.n, c.seed)
		require.ErrorIs(t, err, c.want)
	}
}

func text(h [32]byte) string { return hex.EncodeToString(h[:]) }

func BenchmarkHashes(b *testing.B) {
	tokens := make([]uint32, 16*2000)
	for i := range tokens {
		tokens[i] = uint32(i) * 7919 % 128000
	}
	for _, a := range []blockhash.Algorithm{blockhash.SHA256, blockhash.SHA256CBOR, blockhash.SGLang} {
		b.Run(fmt.Sprintf("algorithm=%d/blocks=2000", a), func(b *testing.B) {
			h := hasher(b, a, 16, blockhash.DefaultSeed)
			b.ReportAllocs()
			for b.Loop() {
				if len(h.Hashes(tokens)) != 2000 {
					b.Fatal("blocks are missing")
				}
			}
		})
	}
}
