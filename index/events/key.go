package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/kvferry/kvferry/index/events/msg"
)

// keyKind is how the bytes of a key become its text.
type keyKind uint8

const (
	keyInt   keyKind = 1 // 8 bytes
	keyMinus keyKind = 2 // 8 bytes of an int64
	keyBytes keyKind = 3 // in hex
	keyText  keyKind = 4
	keyLong  keyKind = 5 // the SHA-256 of the text
)

// key is a block's hash, of any form, in a fixed size. Hashes with one text have
// one key, but for numbers and bytes of them that read the same.
type key struct {
	b      [32]byte
	kind   keyKind
	length uint8
	scope  uint16 // the number that the worker gave it
	sum    uint32 // by the ledger that met it
	text   string // of keyLong
}

// setHash makes a key of a hash in a message.
func (k *key) setHash(h *msg.Hash) {
	switch {
	case h.Kind == msg.Int:
		k.setInt(keyInt, h.Int)
	case h.Kind == msg.Negative:
		k.setInt(keyMinus, h.Int)
	case h.Kind == msg.Bytes && len(h.Bytes) <= len(k.b):
		k.set(keyBytes, h.Bytes)
	case h.Kind == msg.Bytes:
		k.setLong(hex.EncodeToString(h.Bytes))
	default:
		k.setText(string(h.Bytes))
	}
}

// setText makes a key of a hash's text.
func (k *key) setText(s string) {
	if v, err := strconv.ParseUint(s, 10, 64); err == nil && strconv.FormatUint(v, 10) == s {
		k.setInt(keyInt, v)
		return
	}
	if v, err := strconv.ParseInt(s, 10, 64); err == nil && v < 0 && strconv.FormatInt(v, 10) == s {
		k.setInt(keyMinus, uint64(v))
		return
	}
	if len(s) <= 2*len(k.b) && len(s)%2 == 0 && s != "" {
		if b, err := hex.DecodeString(s); err == nil && hex.EncodeToString(b) == s {
			k.set(keyBytes, b)
			return
		}
	}
	if len(s) <= len(k.b) {
		k.set(keyText, []byte(s))
		return
	}
	k.setLong(s)
}

func (k *key) setInt(kind keyKind, v uint64) {
	*k = key{kind: kind, length: 8}
	binary.LittleEndian.PutUint64(k.b[:], v)
}

func (k *key) set(kind keyKind, b []byte) {
	*k = key{kind: kind, length: uint8(len(b))}
	copy(k.b[:], b)
}

func (k *key) setLong(s string) {
	*k = key{kind: keyLong, length: uint8(len(k.b)), b: sha256.Sum256([]byte(s)), text: s}
}

// appendText appends the hash as it is in an index.
func (k *key) appendText(dst []byte) []byte {
	switch k.kind {
	case keyInt:
		return strconv.AppendUint(dst, binary.LittleEndian.Uint64(k.b[:]), 10)
	case keyMinus:
		return strconv.AppendInt(dst, int64(binary.LittleEndian.Uint64(k.b[:])), 10)
	case keyBytes:
		return hex.AppendEncode(dst, k.b[:k.length])
	case keyLong:
		return append(dst, k.text...)
	default:
		return append(dst, k.b[:k.length]...)
	}
}
