// Package model is a small Llama: its checkpoints, its tokenizer and its
// arithmetic over a paged KV cache in bf16.
//
// The arithmetic is float32 and deterministic. Every sum runs from left to
// right in one fixed order, products are rounded before they are added (no
// fused multiply-add), and work is split over goroutines only between results
// that do not depend on each other. A token therefore gets the same bits
// whatever else is in its batch, however its prompt was cut into chunks and
// however many goroutines took part. Keys and values are rounded to bf16 when
// they are written, and attention reads them back from the cache, also within
// the chunk that wrote them: a run that goes on from restored pages sees the
// numbers of the run that it continues.
//
// # Checkpoint
//
// The legacy format of llama2.c, little-endian, without magic or checksum:
//
//	offset size
//	0      4    dim: width of the residual stream
//	4      4    hidden_dim: width of the feed-forward layer
//	8      4    n_layers
//	12     4    n_heads: query heads
//	16     4    n_kv_heads: key/value heads
//	20     4    vocab_size; negative: a classifier follows at the end
//	24     4    seq_len: longest sequence
//	28     ...  float32 tensors, row-major, all layers of one tensor together:
//	            embedding [vocab][dim], attention norm [layer][dim],
//	            wq [layer][dim][dim], wk and wv [layer][kv dim][dim],
//	            wo [layer][dim][dim], feed-forward norm [layer][dim],
//	            w1 [layer][hidden][dim], w2 [layer][dim][hidden],
//	            w3 [layer][hidden][dim], final norm [dim],
//	            2 x [seq_len][head dim / 2] unused,
//	            and, if vocab_size is negative, the classifier [vocab][dim]
//
// # Tokenizer
//
// The tokenizer.bin format of llama2.c, little-endian: a 4-byte bound on the
// length of a piece, then for each token a 4-byte float32 score, a 4-byte
// length and the bytes of its piece. The number of tokens is that of the
// checkpoint. Tokens 0, 1 and 2 are unknown, begin and end; where the
// vocabulary has them, tokens 3 to 258 are the 256 bytes, spelt "<0x00>" to
// "<0xFF>".
package model

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Bounds of a Config. A checkpoint that claims more is refused before any
// memory is taken for it.
const (
	MaxDim    = 1 << 15 // width of the residual stream and of a head
	MaxHidden = 1 << 17 // width of the feed-forward layer
	MaxLayers = 1 << 9
	MaxVocab  = 1 << 20
	MaxSeqLen = 1 << 18
)

// Config is the shape of a model.
type Config struct {
	Dim     int // width of the residual stream
	Hidden  int // width of the feed-forward layer
	Layers  int
	Heads   int // query heads
	KVHeads int // key/value heads; divides Heads
	Vocab   int // tokens
	SeqLen  int // longest sequence, in tokens
}

// HeadDim returns the width of one head.
func (c Config) HeadDim() int { return c.Dim / c.Heads }

// KVDim returns the width of the keys, or of the values, of one token in one
// layer.
func (c Config) KVDim() int { return c.KVHeads * c.HeadDim() }

// Validate returns ErrInvalid if c cannot be the shape of a model or exceeds
// the bounds of this package.
func (c Config) Validate() error {
	for _, f := range []struct {
		name   string
		value  int
		lo, hi int
	}{
		{"dim", c.Dim, 2, MaxDim}, {"hidden_dim", c.Hidden, 1, MaxHidden}, {"n_layers", c.Layers, 1, MaxLayers},
		{"n_heads", c.Heads, 1, MaxDim}, {"n_kv_heads", c.KVHeads, 1, MaxDim},
		{"vocab_size", c.Vocab, 3, MaxVocab}, {"seq_len", c.SeqLen, 1, MaxSeqLen},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("model: %s is %d, want %d to %d: %w", f.name, f.value, f.lo, f.hi, kvferry.ErrInvalid)
		}
	}
	switch {
	case c.Dim%c.Heads != 0 || c.HeadDim()%2 != 0:
		return fmt.Errorf("model: dim %d is not n_heads %d times an even number: %w", c.Dim, c.Heads, kvferry.ErrInvalid)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("model: n_heads %d is no multiple of n_kv_heads %d: %w", c.Heads, c.KVHeads, kvferry.ErrInvalid)
	}
	return nil
}
