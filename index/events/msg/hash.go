package msg

import (
	"encoding/hex"
	"strconv"
)

// HashKind is how a hash was written.
type HashKind uint8

// The kinds of hashes.
const (
	Int      HashKind = 1 // Int, not negative
	Negative HashKind = 2 // Int as an int64
	Bytes    HashKind = 3
	Text     HashKind = 4
)

// Hash is the hash of a block, as the engine wrote it.
type Hash struct {
	Kind  HashKind
	Int   uint64
	Bytes []byte // of Bytes and Text; a part of the payload
}

// AppendText appends the hash as it is in an index.
func (h *Hash) AppendText(dst []byte) []byte {
	switch h.Kind {
	case Int:
		return strconv.AppendUint(dst, h.Int, 10)
	case Negative:
		return strconv.AppendInt(dst, int64(h.Int), 10)
	case Bytes:
		return hex.AppendEncode(dst, h.Bytes)
	default:
		return append(dst, h.Bytes...)
	}
}

// String returns the hash as it is in an index.
func (h Hash) String() string { return string(h.AppendText(nil)) }

// hash reads a hash.
func (r *reader) hash() (Hash, bool) {
	// Nearly all that come here are a uint64 or 32 bytes.
	if rest := r.b[r.at:]; len(rest) >= 9 && rest[0] == 0xcf {
		r.at += 9
		return Hash{Kind: Int, Int: be64(rest[1:9])}, true
	} else if len(rest) >= 34 && rest[0] == 0xc4 && rest[1] == 32 {
		r.at += 34
		return Hash{Kind: Bytes, Bytes: rest[2:34:34]}, true
	}
	h, ok := r.scalar()
	return h, ok && len(h.Bytes) <= MaxHashBytes
}

// scalar reads an int, bin or str.
func (r *reader) scalar() (Hash, bool) {
	if r.at >= len(r.b) {
		return Hash{}, false
	}
	switch c := r.b[r.at]; {
	case isInt(c):
		v, negative, ok := r.integer()
		if negative {
			return Hash{Kind: Negative, Int: v}, ok
		}
		return Hash{Kind: Int, Int: v}, ok
	case c == 0xc4 || c == 0xc5 || c == 0xc6:
		b, ok := r.bytes()
		return Hash{Kind: Bytes, Bytes: b}, ok
	default:
		b, ok := r.text()
		return Hash{Kind: Text, Bytes: b}, ok
	}
}
