package planes

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSmallChunksStayInTheirRoom decodes chunks into as many symbols as they do
// not have, with streams that are damaged: the library writes behind what it is
// to fill, but not further than there is room.
func TestSmallChunksStayInTheirRoom(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	var e smallEncoder
	var d smallDecoder
	for i := range 2500 {
		symbols := make([]byte, 8+r.IntN(4000))
		for j := range symbols {
			symbols[j] = byte(r.ExpFloat64() * float64(1+i%9))
		}
		head, body, err := number(e.chunk(nil, symbols))
		require.NoError(t, err)
		kind, n := head&3, len(symbols)
		if kind == chunkRaw || kind == chunkSame {
			continue
		}
		if i%2 == 0 {
			n = 1 + r.IntN(n+9)
		}
		body = bytes.Clone(body)
		if r.IntN(2) == 0 {
			body[r.IntN(len(body))] ^= 1 << r.IntN(8)
		}
		dst, check := guarded(n + overrun)
		err = d.chunk(dst[:n], body, kind)
		check(t)
		if err == nil && n == len(symbols) && bytes.Equal(dst[:n], symbols) {
			require.Equal(t, bytes.Repeat([]byte{canary}, overrun), dst[n:], "written behind sound streams")
		}
	}
	require.Panics(t, func() { _ = d.chunk(make([]byte, 9)[:4:5], make([]byte, 9), chunkFour) }, "no room")
}
