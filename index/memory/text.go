package memory

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Strings lie in the slabs as words. Engines' block hashes are hex digits or
// decimal numbers, which need half the room and less.
const (
	rawText  = 0 // bytes, the last word filled up with zeros
	hexText  = 1 // 16 lower-case hex digits in a word
	decText  = 2 // a decimal number below 2^64 as strconv writes it
	longText = 3 // a number in the table of long strings

	textWords = 16 // of the longest string that lies in a slab
	maxRaw    = 8 * textWords
	maxHex    = 16 * textWords

	kindShift = 14
	lenMask   = 1<<9 - 1

	low8   = 0x0101010101010101
	nibs8  = 0x0f0f0f0f0f0f0f0f
	zeros8 = 0x30 * low8
	maxDec = 20 // digits of a number below 2^64
)

// text is a string as words. Equal strings have equal texts.
type text struct {
	meta uint64 // kind<<14 | bytes of the string; 16 bits
	n    int
	hash uint64
	w    [textWords]uint64
}

func metaWords(meta uint64) int {
	n := int(meta & lenMask)
	switch meta >> kindShift {
	case rawText:
		return min((n+7)/8, textWords)
	case hexText:
		return min((n+15)/16, textWords)
	}
	return 1
}

// set makes t the text of s, without its hash. It reports false for a string
// that is too long to lie in a slab.
func (t *text) set(s string) bool {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	if len(b) == 64 && t.setHex64((*[64]byte)(b)) {
		return true
	}
	if len(b)%8 == 0 && len(b) >= 16 && len(b) <= maxHex && t.setHex(b) {
		return true
	}
	if len(b) > maxRaw {
		return false
	}
	if len(b) > 0 && len(b) <= maxDec && t.setDec(b) {
		return true
	}
	t.meta, t.n = rawText<<kindShift|uint64(len(b)), (len(b)+7)/8
	i := 0
	for ; len(b) >= 8; b = b[8:] {
		t.w[i] = binary.LittleEndian.Uint64(b)
		i++
	}
	if len(b) > 0 {
		w := uint64(0)
		for k, c := range b {
			w |= uint64(c) << (8 * k)
		}
		t.w[i] = w
	}
	return true
}

func (t *text) setLong(id uint64) {
	t.meta, t.n, t.w[0] = longText<<kindShift, 1, id
}

// setHex takes eight digits at a time, and two times eight to the word.
func (t *text) setHex(b []byte) bool {
	t.meta, t.n = hexText<<kindShift|uint64(len(b)), (len(b)+15)/16
	bad := uint64(0)
	i := 0
	for ; len(b) >= 16; b = b[16:] {
		p, u := nibbles(binary.LittleEndian.Uint64(b))
		q, v := nibbles(binary.LittleEndian.Uint64(b[8:]))
		t.w[i&(textWords-1)] = p | q<<4
		bad |= u | v
		i++
	}
	if len(b) > 0 {
		p, u := nibbles(binary.LittleEndian.Uint64(b))
		t.w[i&(textWords-1)] = p
		bad |= u
	}
	return bad == 0
}

// setHex64 is setHex of the usual length.
func (t *text) setHex64(b *[64]byte) bool {
	p0, u0 := nibbles(binary.LittleEndian.Uint64(b[0:]))
	q0, v0 := nibbles(binary.LittleEndian.Uint64(b[8:]))
	p1, u1 := nibbles(binary.LittleEndian.Uint64(b[16:]))
	q1, v1 := nibbles(binary.LittleEndian.Uint64(b[24:]))
	p2, u2 := nibbles(binary.LittleEndian.Uint64(b[32:]))
	q2, v2 := nibbles(binary.LittleEndian.Uint64(b[40:]))
	p3, u3 := nibbles(binary.LittleEndian.Uint64(b[48:]))
	q3, v3 := nibbles(binary.LittleEndian.Uint64(b[56:]))
	t.meta, t.n = hexText<<kindShift|64, 4
	t.w[0], t.w[1], t.w[2], t.w[3] = p0|q0<<4, p1|q1<<4, p2|q2<<4, p3|q3<<4
	return u0|v0|u1|v1|u2|v2|u3|v3 == 0
}

// nibbles returns the values of eight hex digits, each in a byte; bad is not 0 if
// they are no lower-case hex digits: then they are not what the values are
// written as.
func nibbles(x uint64) (v, bad uint64) {
	v = x&nibs8 + 9*(x>>6&low8)
	return v, digits(v) ^ x
}

// digits is the inverse of nibbles.
func digits(v uint64) uint64 {
	v &= nibs8
	letter := (v + 6*low8) >> 4 & low8
	return v + 0x30*low8 + 0x27*letter
}

// setDec takes eight digits at a time, from the last.
func (t *text) setDec(b []byte) bool {
	if b[0] == '0' && len(b) > 1 {
		return false
	}
	t.meta, t.n = decText<<kindShift|uint64(len(b)), 1
	if len(b) < 8 {
		v := uint64(0)
		for _, c := range b {
			if c < '0' || c > '9' {
				return false
			}
			v = v*10 + uint64(c-'0')
		}
		t.w[0] = v
		return true
	}
	v, bad := uint64(0), uint64(0)
	if head := uint(len(b)) % 8 * 8; head > 0 {
		v, bad = eight(binary.LittleEndian.Uint64(b)<<(64-head) | zeros8>>head)
	}
	if len(b) >= 16 {
		w, u := eight(binary.LittleEndian.Uint64(b[len(b)-16:]))
		v, bad = v*1e8+w, bad|u
	}
	w, u := eight(binary.LittleEndian.Uint64(b[len(b)-8:]))
	hi, lo := bits.Mul64(v, 1e8)
	sum, carry := bits.Add64(lo, w, 0)
	t.w[0] = sum
	return bad|u|hi|carry == 0
}

// eight returns the number that eight decimal digits mean; bad is not 0 if they
// are none.
func eight(x uint64) (v, bad uint64) {
	bad = ((x + 0x46*low8) | (x - zeros8)) & (0x80 * low8)
	v = x - zeros8
	v = v*10 + v>>8
	return (v&0xff000000ff*(100+1000000<<32) + v>>16&0xff000000ff*(1+10000<<32)) >> 32, bad
}

// digits8 is the inverse of eight.
func digits8(v uint64) uint64 {
	v = v/10000 | v%10000<<32
	q := v * 10486 >> 20 & (0x7f | 0x7f<<32)
	v = q | (v-100*q)<<16
	q = v * 103 >> 10 & 0x000f000f000f000f
	return (q | (v-10*q)<<8) + zeros8
}

// seeds make hashes differ from index to index, so that nobody can choose
// strings that meet.
type seeds [3]uint64

// fold mixes two words into one.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// setHash sets the hash of the words.
func (t *text) setHash(s *seeds) {
	h := s[2] ^ t.meta
	if t.n == 4 {
		h = fold(t.w[0]^s[0], t.w[1]^h)
		h = fold(t.w[2]^s[0], t.w[3]^h)
		t.hash = fold(h^s[0], s[1])
		return
	}
	w := t.w[:t.n]
	for ; len(w) >= 2; w = w[2:] {
		h = fold(w[0]^s[0], w[1]^h)
	}
	if len(w) == 1 {
		h = fold(w[0]^s[1], h)
	}
	t.hash = fold(h^s[0], s[1])
}

// with mixes more of a key into a hash.
func (s *seeds) with(h, a, b uint64) uint64 {
	return fold(h^s[2], fold(a^s[0], b^s[1])^s[1])
}

// appendWords appends the string that words mean; not for long ones. Whatever
// the words are, it does not fail: readers decode before they know whether the
// words hang together.
func appendWords(dst []byte, meta uint64, c cell, at uint32) []byte {
	n, words := int(meta&lenMask), metaWords(meta)
	if meta>>kindShift == decText {
		return appendDec(dst, c.get(at), min(n, maxDec))
	}
	from := len(dst)
	for i := range words {
		w := c.get(at + uint32(i))
		if meta>>kindShift == hexText {
			dst = binary.LittleEndian.AppendUint64(dst, digits(w))
			w = digits(w >> 4)
		}
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst[:min(len(dst), from+n)]
}

// appendDec appends the last n digits of a number.
func appendDec(dst []byte, v uint64, n int) []byte {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[0:], digits8(v/1e16))
	binary.LittleEndian.PutUint64(b[8:], digits8(v/1e8%1e8))
	binary.LittleEndian.PutUint64(b[16:], digits8(v%1e8))
	return append(dst, b[max(0, len(b)-n):]...)
}
