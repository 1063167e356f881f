package planes

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSmallSoak holds all kernels of the level small to the portable ones over
// many values of all kinds; see soakValues.
func TestSmallSoak(t *testing.T) {
	s := soaker{PCG: rand.NewPCG(9, 9), real: readPages(t)}
	plain := Encoder{k: &portable}
	encoders, decoders := make([]Encoder, len(implementations)), make([]Decoder, len(implementations))
	for i, k := range implementations {
		encoders[i].k, decoders[i].k = k, k
	}
	var want, got, back []byte
	for values := 0; values < soakValues(t); {
		sh, el := s.next(), elements[s.below(len(elements))]
		if el.Bytes() == 1 {
			s.page = s.page[:len(s.page)/2]
		}
		values += sh.Segments * sh.Rows * sh.Cols
		var err error
		want, err = plain.AppendSmall(want[:0], s.page, sh, el)
		require.NoError(t, err)
		back = append(back[:0], make([]byte, len(s.page))...)
		for i, k := range implementations {
			got, err = encoders[i].AppendSmall(got[:0], s.page, sh, el)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got), "%s: %v of %d behind %d values", k.name, sh, el, values)
			clear(back)
			require.NoError(t, decoders[i].Decode(back, got))
			require.True(t, bytes.Equal(s.page, back), "%s: %v of %d behind %d values", k.name, sh, el, values)
		}
	}
}
