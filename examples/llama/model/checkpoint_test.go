package model

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is a shape whose checkpoint is small enough for a corpus.
var tiny = Config{Dim: 4, Hidden: 3, Layers: 2, Heads: 2, KVHeads: 1, Vocab: 5, SeqLen: 6}

// checkpoint encodes a header and weights that count up.
func checkpoint(c Config, shared bool) []byte {
	var b []byte
	vocab := c.Vocab
	if !shared {
		vocab = -vocab
	}
	for _, v := range []int{c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, vocab, c.SeqLen} {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(v)))
	}
	n := c.Vocab*c.Dim + c.Layers*(2*c.Dim+2*c.Dim*c.Dim+2*c.KVDim()*c.Dim+3*c.Hidden*c.Dim) + c.Dim + c.SeqLen*c.HeadDim()
	if !shared {
		n += c.Vocab * c.Dim
	}
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)))
	}
	return b
}

func TestLoadCheckpoint(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		b := checkpoint(tiny, shared)
		m, err := Load(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		require.Equal(t, tiny, m.Config())
		// Tensors stand in file order: all layers of one, then the next.
		require.Equal(t, []float32{0, 1, 2, 3}, m.embed[:4])
		at := float32(5 * 4)
		require.Equal(t, at+4, m.layers[1].attNorm[0])
		at += 2 * 4
		require.Equal(t, at+16, m.layers[1].wq[0])
		at += 2 * 16
		require.Equal(t, at+8, m.layers[1].wk[0])
		at += 2 * 2 * 8 // two layers of wk and of wv
		require.Equal(t, at+16, m.layers[1].wo[0])
		at += 2 * 16
		require.Equal(t, at+4, m.layers[1].ffnNorm[0])
		at += 2 * 4
		require.Equal(t, at, m.layers[0].w1[0])
		require.Equal(t, at+24, m.layers[0].w2[0])
		require.Equal(t, at+48, m.layers[0].w3[0])
		at += 3 * 24
		require.Equal(t, at, m.norm[0])
		if at += 4 + 6*2; shared {
			require.Equal(t, &m.embed[0], &m.head[0])
		} else {
			require.Equal(t, at, m.head[0])
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	good := checkpoint(tiny, true)
	field := func(i int, v int32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[4*i:], uint32(v))
		return b
	}
	infinite := bytes.Clone(good)
	binary.LittleEndian.PutUint32(infinite[len(infinite)-4:], 0x7f800000)
	cases := map[string][]byte{
		"empty": nil, "half a header": good[:20], "header alone": good[:28], "one weight short": good[:len(good)-4],
		"one byte short": good[:len(good)-1], "one byte long": append(bytes.Clone(good), 0), "infinite weight": infinite,
		"negative dim": field(0, -4), "zero dim": field(0, 0), "dim 2^31-1": field(0, math.MaxInt32), "odd heads": field(3, 3),
		"no hidden": field(1, 0), "huge hidden": field(1, math.MaxInt32), "no layers": field(2, 0), "layers": field(2, 1<<30),
		"head dim odd": field(3, 4), "kv heads": field(4, 3), "no vocab": field(5, 0), "vocab -2^31": field(5, math.MinInt32),
		"no seq": field(6, 0), "seq": field(6, math.MaxInt32), "one layer more": field(2, 3), "classifier missing": field(5, -5),
	}
	for name, b := range cases {
		_, err := Load(bytes.NewReader(b), int64(len(b)))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
	// A caller that is wrong about the size does not make the loader wait or
	// take memory for what never comes.
	_, err := Load(bytes.NewReader(good[:40]), int64(len(good)))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)

	dir := t.TempDir()
	_, err = LoadFile(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	_, err = LoadTokenizerFile(filepath.Join(dir, "none"), 5)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	path := filepath.Join(dir, "short")
	require.NoError(t, os.WriteFile(path, good[:50], 0o600))
	_, err = LoadFile(path)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	_, err = LoadTokenizerFile(path, 5)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// FuzzLoad loads anything as a checkpoint. What loads must be usable.
func FuzzLoad(f *testing.F) {
	f.Add(checkpoint(tiny, true))
	f.Add(checkpoint(tiny, false)[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Load(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			return
		}
		c, err := NewCache(m.Config(), 1, 1)
		require.NoError(t, err)
		logits := make([]float32, m.Config().Vocab)
		NewPass(m, 1, 0).Run(c, []Row{{Token: Begin, Pages: []uint32{0}, Logits: logits}})
	})
}
