// Package blockhash computes the hashes by which serving engines name the blocks
// of a prompt, so that a router that knows the token ids can ask an index which
// worker holds them.
//
// vLLM chains the full blocks of a prompt: a block's hash is that of the hash
// in front of it (or of a fixed seed), its token ids and its extra keys. Extra
// keys (LoRA, images, cache salts, prompt embeddings) have no fixed bytes in
// vLLM and are not here: blocks that have some have other hashes than these.
//
// SHA256, vLLM's default, hashes what Python's pickle, protocol 5, makes of it:
//
//	80 05 | 95 LEN(8, little-endian)                   frame of what follows
//	43 20 PARENT(32) 94                                bytes
//	28 TOKEN... 74 94                                  tuple of more than three; of n = 1, 2, 3: TOKEN... 84+n 94; of none: 29
//	4e 87 94 2e                                        None, tuple of three, end
//
//	TOKEN: 4b u8 | 4d u16 | 4a i32 | 8a 05 i40, little-endian, the first that it fits
//
// and SHA256CBOR the canonical CBOR of the same: 83 5820 PARENT, an array of
// numbers, f6. The seed is the hash of the text "vllm-none-hash" in the same way,
// unless the engine runs with PYTHONHASHSEED: then it is that of its value.
//
// SGLang hashes the parent's hash, nothing for the first, and the token ids as
// u32, little-endian.
package blockhash

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"github.com/kvferry/kvferry"
)

// Algorithm is a way to hash blocks.
type Algorithm uint8

// The algorithms.
const (
	SHA256     Algorithm = 0 // vLLM's default, sha256
	SHA256CBOR Algorithm = 1 // vLLM's sha256_cbor
	SGLang     Algorithm = 2
)

// DefaultSeed is what vLLM's chains begin with if PYTHONHASHSEED is not set.
const DefaultSeed = "vllm-none-hash"

// maxFrameBytes is where pickle would begin another frame.
const maxFrameBytes = 1 << 16

// Hasher hashes the blocks of prompts. It is not safe for concurrent use. After
// the first prompt of a length it allocates nothing.
type Hasher struct {
	algorithm   Algorithm
	blockTokens int
	root        [32]byte
	buf         []byte
	out         [][32]byte
}

// New returns a hasher for blocks of blockTokens tokens. The seed is
// PYTHONHASHSEED of vLLM's processes, or DefaultSeed if that is not set; SGLang
// has none.
func New(a Algorithm, blockTokens int, seed string) (*Hasher, error) {
	h := &Hasher{algorithm: a, blockTokens: blockTokens}
	switch {
	case a > SGLang:
		return nil, fmt.Errorf("blockhash: no algorithm has the number %d: %w", a, kvferry.ErrInvalid)
	case blockTokens <= 0:
		return nil, fmt.Errorf("blockhash: blocks of %d tokens: %w", blockTokens, kvferry.ErrInvalid)
	case a == SHA256 && 5*blockTokens+64 > maxFrameBytes:
		return nil, fmt.Errorf("blockhash: blocks of %d tokens do not fit in one frame of pickle: %w", blockTokens, kvferry.ErrUnsupported)
	case len(seed) > math.MaxUint8:
		return nil, fmt.Errorf("blockhash: seed of %d bytes: %w", len(seed), kvferry.ErrUnsupported)
	}
	switch a {
	case SHA256:
		h.begin()
		h.buf = append(append(h.buf, 0x8c, byte(len(seed))), seed...)
		h.root = h.end(0x94, '.')
	case SHA256CBOR:
		h.root = sha256.Sum256(append(appendHead(nil, 3, uint64(len(seed))), seed...))
	}
	return h, nil
}

// Root returns the hash in front of a prompt's first block: vLLM's NONE_HASH, and
// zeros for SGLang, which has none.
func (h *Hasher) Root() [32]byte { return h.root }

// Hashes returns the hashes of the full blocks of a prompt. They are valid until
// the next call.
func (h *Hasher) Hashes(tokens []uint32) [][32]byte {
	h.out = h.out[:0]
	parent, first := h.root, true
	for ; len(tokens) >= h.blockTokens; tokens = tokens[h.blockTokens:] {
		parent = h.Block(parent, first, tokens[:h.blockTokens])
		first = false
		h.out = append(h.out, parent)
	}
	return h.out
}

// Block returns the hash of one block. first says that it begins the prompt,
// which only SGLang looks at; vLLM's parent is Root then.
func (h *Hasher) Block(parent [32]byte, first bool, tokens []uint32) [32]byte {
	switch h.algorithm {
	case SHA256:
		return h.pickle(&parent, tokens)
	case SHA256CBOR:
		h.buf = append(append(h.buf[:0], 0x83, 0x58, 32), parent[:]...)
		h.buf = appendHead(h.buf, 4, uint64(len(tokens)))
		for _, t := range tokens {
			h.buf = appendHead(h.buf, 0, uint64(t))
		}
		h.buf = append(h.buf, 0xf6)
	default:
		h.buf = h.buf[:0]
		if !first {
			h.buf = append(h.buf, parent[:]...)
		}
		for _, t := range tokens {
			h.buf = binary.LittleEndian.AppendUint32(h.buf, t)
		}
	}
	return sha256.Sum256(h.buf)
}

func (h *Hasher) begin() {
	h.buf = append(h.buf[:0], 0x80, 5, 0x95, 0, 0, 0, 0, 0, 0, 0, 0)
}

// end closes the frame behind the last bytes and hashes it.
func (h *Hasher) end(last ...byte) [32]byte {
	h.buf = append(h.buf, last...)
	binary.LittleEndian.PutUint64(h.buf[3:], uint64(len(h.buf)-11))
	return sha256.Sum256(h.buf)
}

func (h *Hasher) pickle(parent *[32]byte, tokens []uint32) [32]byte {
	h.begin()
	h.buf = append(append(h.buf, 'C', 32), parent[:]...)
	h.buf = append(h.buf, 0x94)
	if len(tokens) > 3 {
		h.buf = append(h.buf, '(')
	}
	for _, t := range tokens {
		switch {
		case t <= math.MaxUint8:
			h.buf = append(h.buf, 'K', byte(t))
		case t <= math.MaxUint16:
			h.buf = append(h.buf, 'M', byte(t), byte(t>>8))
		case t <= math.MaxInt32:
			h.buf = append(h.buf, 'J', byte(t), byte(t>>8), byte(t>>16), byte(t>>24))
		default:
			h.buf = append(h.buf, 0x8a, 5, byte(t), byte(t>>8), byte(t>>16), byte(t>>24), 0)
		}
	}
	switch n := len(tokens); {
	case n > 3:
		h.buf = append(h.buf, 't', 0x94)
	case n > 0:
		h.buf = append(h.buf, byte(0x84+n), 0x94)
	default:
		h.buf = append(h.buf, ')')
	}
	return h.end('N', 0x87, 0x94, '.')
}

// appendHead appends the head of a CBOR value in its shortest form.
func appendHead(dst []byte, major byte, n uint64) []byte {
	m := major << 5
	switch {
	case n < 24:
		return append(dst, m|byte(n))
	case n <= math.MaxUint8:
		return append(dst, m|24, byte(n))
	case n <= math.MaxUint16:
		return append(dst, m|25, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, m|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, m|27), n)
}

// AppendText appends a hash as it is in an index that is fed with events which
// have hashes as bytes: in hex.
func AppendText(dst []byte, h *[32]byte) []byte { return hex.AppendEncode(dst, h[:]) }

// AppendInt appends a hash as it is in an index that is fed with events which have
// hashes as numbers: vLLM's are the low 64 bits, SGLang's the high ones as an
// int64.
func (h *Hasher) AppendInt(dst []byte, hash *[32]byte) []byte {
	if h.algorithm == SGLang {
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(hash[:])), 10)
	}
	return strconv.AppendUint(dst, binary.BigEndian.Uint64(hash[24:]), 10)
}
