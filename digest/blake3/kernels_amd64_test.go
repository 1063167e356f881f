package blake3

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// compress is one compression as BLAKE3's paper has it.
func compress(cv, block []uint32, number uint64, length, flags uint32) [8]uint32 {
	v := slices.Concat(cv, iv[:4], []uint32{uint32(number), uint32(number >> 32), length, flags})
	g := func(a, b, c, d int, x, y uint32) {
		for _, half := range []struct {
			m    uint32
			r, s int
		}{{x, 16, 12}, {y, 8, 7}} {
			v[a] += v[b] + half.m
			v[d] = bits.RotateLeft32(v[d]^v[a], -half.r)
			v[c] += v[d]
			v[b] = bits.RotateLeft32(v[b]^v[c], -half.s)
		}
	}
	m := slices.Clone(block)
	for range 7 {
		for i := range 4 {
			g(i, 4+i, 8+i, 12+i, m[2*i], m[2*i+1])
		}
		for i := range 4 {
			g(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4, m[8+2*i], m[9+2*i])
		}
		old := slices.Clone(m)
		for i, from := range []int{2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8} {
			m[i] = old[from]
		}
	}
	var out [8]uint32
	for i := range out {
		out[i] = v[i] ^ v[i+8]
	}
	return out
}

// chunkOf is the chaining value of a chunk, or of a parent.
func chunkOf(p []byte, key [8]uint32, number uint64, flags, start, end uint32) [8]uint32 {
	for first := true; first || len(p) > 0; first = false {
		var block [blockLen]byte
		n := copy(block[:], p)
		p = p[n:]
		f := flags
		if first {
			f |= start
		}
		if len(p) == 0 {
			f |= end
		}
		var words [16]uint32
		for i := range words {
			words[i] = binary.LittleEndian.Uint32(block[4*i:])
		}
		key = compress(key[:], words[:], number, uint32(n), f)
	}
	return key
}

func needAVX512(t *testing.T) {
	if available()[0] != avx512 {
		t.Skip("this processor has no AVX-512")
	}
}

func somePage(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

// canary fills what a kernel must not write.
var canary = [8]uint32{1, 2, 3, 4, 5, 6, 7, 8}

// TestChunks holds every number of lanes against the paper, with a last chunk
// of every kind and with numbers that do not fit 32 bits.
func TestChunks(t *testing.T) {
	needAVX512(t)
	p := somePage(width * chunkLen)
	for _, h := range []*Hasher{New(), NewKeyed(&[32]byte{1, 2, 3})} {
		for n := 2; n <= width; n++ {
			for _, rest := range []int{1, 64, 65, 500, 960, 961, 1024} {
				for _, number := range []uint64{0, 1<<32 - 5} {
					in := p[:(n-1)*chunkLen+rest]
					for i := range h.tree.cvs {
						h.tree.cvs[i] = canary
					}
					require.Equal(t, n, h.chunks(in, number, &h.tree.cvs[1]))
					for i := range n {
						want := chunkOf(in[i*chunkLen:min(len(in), (i+1)*chunkLen)], h.key, number+uint64(i), h.flags, chunkStart, chunkEnd)
						require.Equal(t, want, h.tree.cvs[1+i], "chunk %d of %d", i, n)
					}
					require.Equal(t, canary, h.tree.cvs[1+written(n)])
					require.Equal(t, canary, h.tree.cvs[0])
				}
			}
		}
	}
}

// written is how many chaining values the kernel for n chunks writes.
func written(n int) int {
	switch {
	case n == 2:
		return 2
	case n <= width/2:
		return width / 2
	}
	return width
}

// TestChunk does the same for the kernel of one chunk.
func TestChunk(t *testing.T) {
	needAVX512(t)
	p := somePage(chunkLen)
	h := NewKeyed(&[32]byte{9})
	for n := range chunkLen + 1 {
		for _, end := range []uint32{0, root} {
			out := [3][8]uint32{canary, canary, canary}
			h.chunk(p[:n], 1<<33+7, end, &out[1])
			require.Equal(t, [3][8]uint32{canary, chunkOf(p[:n], h.key, 1<<33+7, keyedHash, chunkStart, chunkEnd|end), canary}, out)
		}
	}
}

// TestParents holds every number of parents against the paper.
func TestParents(t *testing.T) {
	needAVX512(t)
	h := NewKeyed(&[32]byte{7})
	bytes := somePage(leaves * 32)
	cvs := *(*[leaves][8]uint32)(unsafe.Pointer(&bytes[0]))
	for n := 1; n <= leaves; n += 1 + n/32 {
		h.tree.cvs = cvs
		level := slices.Clone(cvs[:n])
		for len(level) > 1 {
			var above [][8]uint32
			for len(level) > 1 {
				pair := unsafe.Slice((*byte)(unsafe.Pointer(&level[0])), blockLen)
				above = append(above, chunkOf(pair, h.key, 0, keyedHash|parent, 0, 0))
				level = level[2:]
			}
			level = append(above, level...)
		}
		h.reduce(n, 1)
		require.Equal(t, level[0], h.tree.cvs[0], "%d", n)
	}
}
