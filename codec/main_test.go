package codec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/codec"
)

// noise returns n bytes that do not compress and depend on n alone.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, r.Uint64())
	}
	return p[:n]
}

// kv returns n bytes that look like keys and values in bf16: normally
// distributed, with fractions of 7 noisy bits.
func kv(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 8))
	p := make([]byte, n+1)
	for i := 0; i < n; i += 2 {
		b := math.Float32bits(float32(r.NormFloat64()))
		p[i], p[i+1] = byte(b>>16), byte(b>>24)
	}
	return p[:n]
}

// repeat returns n bytes of repetitions of pattern.
func repeat(pattern string, n int) []byte {
	return []byte(strings.Repeat(pattern, n/len(pattern)+1)[:n])
}

// kinds are contents for which encoders choose differently.
var kinds = []struct {
	name string
	make func(n int) []byte
}{
	{"zero", func(n int) []byte { return make([]byte, n) }},
	{"byte", func(n int) []byte { return repeat("\x3f", n) }},
	{"bf16", func(n int) []byte { return repeat("\x80\x3f", n) }},
	{"pattern of 3", func(n int) []byte { return repeat("abc", n) }},
	{"pattern of 8", func(n int) []byte { return repeat("abcdefgh", n) }},
	{"pattern of 9", func(n int) []byte { return repeat("abcdefghi", n) }},
	{"almost constant", func(n int) []byte {
		p := make([]byte, n)
		if n > 0 {
			p[n-1] = 1
		}
		return p
	}},
	{"text", func(n int) []byte { return repeat("a page of text, and ", n) }},
	{"half zero", func(n int) []byte { return append(make([]byte, n/2), noise(n-n/2)...) }},
	{"kv", kv},
	{"noise", noise},
}

// sizes lie around the boundaries of frames, blocks and fields of both formats; a
// third of them has to do under the race detector, which looks for no wrong bytes.
var sizes = everyThird([]int{
	0, 1, 2, 3, 7, 8, 9, 10, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4096,
	65535, 65536, 65537, 65536 + 255, 65536 + 256, 65536 + 257,
	128<<10 - 1, 128 << 10, 128<<10 + 1, 256<<10 + 1,
})

func everyThird(sizes []int) (out []int) {
	for i, n := range sizes {
		if !raceEnabled || i%3 == 0 {
			out = append(out, n)
		}
	}
	return out
}

var modes = codec.Modes()

const canary = 0xa5

// guarded returns a buffer of n bytes with canaries behind it, within its
// capacity, and a check that they are untouched.
func guarded(t *testing.T, n int) ([]byte, func()) {
	buf := bytes.Repeat([]byte{canary}, n+64)
	return buf[:n], func() {
		t.Helper()
		require.Equal(t, bytes.Repeat([]byte{canary}, 64), buf[n:], "bytes behind the buffer")
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}
