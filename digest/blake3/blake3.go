// Package blake3 is BLAKE3 of inputs that lie in memory as a whole: hash and
// keyed hash with 32 bytes of output, as https://github.com/BLAKE3-team/BLAKE3
// defines them.
//
// On processors with AVX-512 it has kernels of its own. Elsewhere, or when told
// so by Hasher.Use, it is github.com/zeebo/blake3. Both make the same sums.
//
// # Kernels
//
// An input is cut into chunks of 1024 bytes. Up to 16 of them are hashed side by
// side, each in a lane of registers that hold one word of all of them; so are up
// to 16 parents of each level of the tree. Up to 8 lanes take registers of half
// the width. One or two chunks or parents have a row of their state in each of
// four registers:
//
//	chunks16  parents16   wide_amd64.s     9 to 16 lanes
//	chunks8   parents8    narrow_amd64.s   3 to 8 lanes
//	chunks2   parents2    pair_amd64.s     2 lanes
//	chunk1                single_amd64.s   one chunk, one parent
//
// A lane that ends before the others goes on with what is of no use. The level
// above n chaining values has (n+1)/2: neighbours have a parent, and a last one
// without a neighbour moves up as it is, which makes BLAKE3's tree.
package blake3

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/kvferry/kvferry"
)

// kernel is an implementation.
type kernel uint8

const (
	library kernel = iota // github.com/zeebo/blake3
	avx512
)

// String returns the name that Use knows.
func (k kernel) String() string {
	if k == avx512 {
		return "avx512"
	}
	return "zeebo"
}

// Active names the kernels that a Hasher uses unless it is told otherwise:
// "avx512", or "zeebo" for the library, which uses AVX2 or SSE4.1 where there
// are such.
func Active() string { return available()[0].String() }

// Kernels names what this processor can run, the fastest first.
func Kernels() []string {
	var names []string
	for _, k := range available() {
		names = append(names, k.String())
	}
	return names
}

// Use makes h use the kernels of a name from now on; the sums stay the same. A
// name that there is not is ErrInvalid, one that this processor cannot run
// ErrUnsupported; then nothing changes.
func (h *Hasher) Use(name string) error {
	for _, k := range available() {
		if k.String() == name {
			h.kernel = k
			return nil
		}
	}
	if name == avx512.String() {
		return fmt.Errorf("blake3: this processor does not run kernels %q, but %q: %w", name, Kernels(), kvferry.ErrUnsupported)
	}
	return fmt.Errorf("blake3: kernels %q are none of %q: %w", name, []kernel{avx512, library}, kvferry.ErrInvalid)
}

// Flags of a compression.
const (
	chunkStart uint32 = 1 << iota
	chunkEnd
	parent
	root
	keyedHash
)

// iv is the key of the hash without one, and part of every state.
var iv = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// Hasher makes sums without allocating; only its first Sum may. It is not safe
// for concurrent use: each worker owns one.
type Hasher struct {
	kernel kernel
	key    [8]uint32
	flags  uint32 // of every compression
	tree   tree
	// other is the library's, made when it is first needed.
	other *blake3.Hasher
	sum   [32]byte
}

// New returns a hasher of BLAKE3's hash.
func New() *Hasher { return newHasher(iv, 0) }

// NewKeyed returns a hasher of BLAKE3's keyed hash. It keeps a copy of the key.
func NewKeyed(key *[32]byte) *Hasher {
	var words [8]uint32
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return newHasher(words, keyedHash)
}

func newHasher(key [8]uint32, flags uint32) *Hasher {
	h := &Hasher{kernel: available()[0], key: key, flags: flags}
	h.tree.init()
	return h
}

// Sum returns the 32 bytes of p's sum. It neither changes nor keeps p.
func (h *Hasher) Sum(p []byte) [32]byte {
	if h.kernel == avx512 {
		return h.sumAVX512(p)
	}
	if h.other == nil {
		h.other = h.newOther()
	}
	h.other.Reset()
	_, _ = h.other.Write(p) // a hash never fails to take bytes
	h.other.Sum(h.sum[:0])
	return h.sum
}

// SumMany puts the sum of each part into dst, which is as long as parts. Parts of
// up to 15 KiB that follow each other are hashed side by side, which is faster
// the smaller they are. It neither changes nor keeps parts.
func (h *Hasher) SumMany(dst [][32]byte, parts [][]byte) {
	if len(parts) == 0 {
		return
	}
	_ = dst[len(parts)-1] // panics if dst is shorter
	if h.kernel == avx512 {
		h.manyAVX512(dst, parts)
		return
	}
	for i, p := range parts {
		dst[i] = h.Sum(p)
	}
}

// newOther returns the library's hasher of the same key.
func (h *Hasher) newOther() *blake3.Hasher {
	if h.flags&keyedHash == 0 {
		return blake3.New()
	}
	var key [32]byte
	for i, w := range h.key {
		binary.LittleEndian.PutUint32(key[4*i:], w)
	}
	other, _ := blake3.NewKeyed(key[:]) // it minds the length alone
	return other
}
