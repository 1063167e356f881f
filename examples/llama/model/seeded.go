package model

import (
	"math"

	"github.com/kvferry/kvferry"
)

// DefaultConfig returns the shape of the seeded model that the example runs
// without a checkpoint: about 1.2 million weights over ByteTokenizer.
func DefaultConfig() Config {
	return Config{Dim: 128, Hidden: 352, Layers: 6, Heads: 8, KVHeads: 4, Vocab: byteVocab, SeqLen: 1024}
}

// The first channels of a seeded model's residual stream carry what keeps its
// babble readable; no layer writes to them.
const (
	channelBias  = 0 // one for every token
	channelVowel = 1 // one for vowels, minus one for other letters
	channelBlank = 2 // one for blanks and punctuation
	channelsKept = 3
)

// Seeded returns a model whose weights follow from the seed alone. It was
// never trained: over ByteTokenizer it writes pronounceable nonsense, which
// depends on all that it attends to. A shape that cannot be is ErrInvalid.
func Seeded(c Config, seed uint64) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Dim <= channelsKept || c.Vocab < byteVocab {
		return nil, errSmall(c)
	}
	r := Random(seed)
	m := newModel(c, false, func(dims ...int) []float32 { return r.tensor(dims) })
	for i := range m.layers {
		l := &m.layers[i]
		clear(l.wo[:channelsKept*c.Dim])
		clear(l.w2[:channelsKept*c.Hidden])
		r.spread(l.wq, 2) // sharper attention than chance would give
	}
	for t := range c.Vocab {
		e, h := m.embed[t*c.Dim:(t+1)*c.Dim], m.head[t*c.Dim:(t+1)*c.Dim]
		for i := range e {
			e[i], h[i] = r.normal(), r.normal()*headSpread/float32(math.Sqrt(float64(c.Dim)))
		}
		copy(e, feature(t))
		copy(h, preference(t))
	}
	return m.finish(), nil
}

// headSpread is the weight of what attention found against the letters'
// frequencies: at 1 the logits have a spread of about one.
const headSpread = 1.5

func errSmall(c Config) error {
	return errorf("a seeded model of dim %d and %d tokens is too small, want %d and %d: %w",
		c.Dim, c.Vocab, channelsKept+1, byteVocab, kvferry.ErrInvalid)
}

// tensor returns random weights that keep a vector's length; a vector of
// weights, which only norms have, is all ones.
func (r *Random) tensor(dims []int) []float32 {
	n := dims[0]
	if len(dims) == 2 {
		n *= dims[1]
	}
	w := make([]float32, n)
	for i := range w {
		w[i] = 1
		if len(dims) == 2 {
			w[i] = r.normal() / float32(math.Sqrt(float64(dims[1])))
		}
	}
	return w
}

// spread multiplies weights.
func (r *Random) spread(w []float32, by float32) {
	for i := range w {
		w[i] *= by
	}
}

// letters orders the letters and the blank by how often English uses them.
const letters = " etaoinshrdlucmwfygpbvkjxqz"

// class tells vowels (1), other letters (-1), and blanks and punctuation (2)
// from the rest (0).
func class(token int) int {
	b := token - firstByte
	switch {
	case b == 'a' || b == 'e' || b == 'i' || b == 'o' || b == 'u':
		return 1
	case b >= 'a' && b <= 'z':
		return -1
	case b == ' ' || b == '.' || b == ',':
		return 2
	}
	return 0
}

// feature is what a token's embedding says in the kept channels.
func feature(token int) []float32 {
	f := []float32{channelBias: 3, channelVowel: 0, channelBlank: 0}
	switch k := class(token); k {
	case 1, -1:
		f[channelVowel] = float32(2 * k)
	case 2:
		f[channelBlank] = 2
	}
	return f
}

// preference is how a token's logit answers to the kept channels.
func preference(token int) []float32 {
	f := []float32{channelBias: -8, channelVowel: 0, channelBlank: 0}
	switch k := class(token); k {
	case 1, -1:
		f[channelVowel] = -1.5 * float32(k)
	case 2:
		f[channelBlank] = -4
	default:
		return f
	}
	f[channelBias] = -1
	for i := range letters {
		if int(letters[i])+firstByte == token {
			f[channelBias] = 1.4 - float32(i)*0.09
		}
	}
	return f
}
