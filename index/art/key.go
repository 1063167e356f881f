package art

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	"github.com/kvferry/kvferry/index"
)

const (
	scopeBytes = 4
	tailBytes  = 12 // index, group, tokens
)

// appendField appends a string so that keys are ordered as the strings are and
// none is the beginning of another: a NUL becomes 00 FF, the end is 00 00.
func appendField(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			dst = append(dst, s...)
			return append(dst, 0, 0)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, 0, 0xff)
		s = s[i+1:]
	}
}

// fieldString returns the string of a field, whose end is cut off.
func fieldString(field []byte) string {
	if bytes.IndexByte(field, 0) < 0 {
		return string(field)
	}
	out := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		out = append(out, field[i])
		if field[i] == 0 {
			i++ // FF
		}
	}
	return string(out)
}

func appendScope(dst []byte, id uint32) []byte { return binary.BigEndian.AppendUint32(dst, id) }

// appendKey appends the key of a block, and tells where its hash begins.
func appendKey(dst []byte, scope uint32, k *index.Key, tokens uint32) (key []byte, hashAt int) {
	at := len(dst)
	dst = appendField(appendScope(dst, scope), k.Prefix)
	hashAt = len(dst) - at
	dst = appendField(dst, k.Hash)
	dst = binary.BigEndian.AppendUint32(dst, k.Index)
	dst = binary.BigEndian.AppendUint32(dst, k.Group)
	return binary.BigEndian.AppendUint32(dst, tokens), hashAt
}

// turned appends the key that a block has in the tree of hashes: the hash, the
// scope, the prefix and the tail.
func turned(dst, key []byte, hashAt int) []byte {
	tail := len(key) - tailBytes
	dst = append(dst, key[hashAt:tail]...)
	dst = append(dst, key[:hashAt]...)
	return append(dst, key[tail:]...)
}

// tail is the end of a key.
type tail struct{ index, group, tokens uint32 }

func tailOf(key []byte) tail {
	t := key[len(key)-tailBytes:]
	return tail{binary.BigEndian.Uint32(t), binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:])}
}

// tokensIn returns what of a record's tokens is a part of its key.
func tokensIn(rules index.Rules, tokens uint32) uint32 {
	if rules == index.AsMemory {
		return tokens
	}
	return 0
}

// longestField is a field's room with every byte escaped; keys of two of them
// have a length that fits 32 bits.
const longestField = 2*index.MaxFieldBytes + 2

var _ [math.MaxInt32 - 3*longestField]struct{}
