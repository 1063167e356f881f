package planes

import (
	"encoding/binary"
	"fmt"

	"github.com/kvferry/kvferry"
)

// Elements say what the values of a page are. The numbers stand in payloads.
type Elements uint8

// The elements. Append codes BFloat16 alone.
const (
	BFloat16 Elements = bfloat16
	Float16  Elements = 2 // 1 sign, 5 exponent, 10 mantissa
	E4M3     Elements = 3 // float8: 1, 4, 3
	E5M2     Elements = 4 // float8: 1, 5, 2
)

// Validate reports elements that there are not, as ErrInvalid.
func (e Elements) Validate() error {
	if e < BFloat16 || e > E5M2 {
		return fmt.Errorf("planes: elements %d: %w", e, kvferry.ErrInvalid)
	}
	return nil
}

// Bytes is the length of an element.
func (e Elements) Bytes() int {
	if e == E4M3 || e == E5M2 {
		return 1
	}
	return 2
}

// mantissa is how many bits of the mantissa a word keeps, see widen.
func (e Elements) mantissa() int {
	switch e {
	case E4M3:
		return 3
	case E5M2, Float16: // whose low byte is kept apart
		return 2
	}
	return 7
}

// widen returns the words of the values of src: little-endian, sign in bit 15,
// exponent in bits 7 to 14, mantissa in the lowest bits. They are src itself or
// words. The low bytes of Float16 go to low.
func (e Elements) widen(words, low, src []byte) []byte {
	switch e {
	case Float16:
		for i := range len(words) / 2 {
			v := binary.LittleEndian.Uint16(src[2*i:])
			low[i] = byte(v)
			binary.LittleEndian.PutUint16(words[2*i:], v&0x8000|v>>10&0x1f<<7|v>>8&3)
		}
	case E5M2:
		for i := range len(words) / 2 {
			v := uint16(src[i])
			binary.LittleEndian.PutUint16(words[2*i:], v>>7<<15|v>>2&0x1f<<7|v&3)
		}
	case E4M3:
		for i := range len(words) / 2 {
			v := uint16(src[i])
			binary.LittleEndian.PutUint16(words[2*i:], v>>7<<15|v>>3&0xf<<7|v&7)
		}
	default:
		return src[:len(words)]
	}
	return words
}

// narrow is the reverse of widen, where that does not return src; of words that
// no value makes, which only damage leads to, it makes some value.
func (e Elements) narrow(dst, words, low []byte) {
	for i := range len(words) / 2 {
		w := binary.LittleEndian.Uint16(words[2*i:])
		switch e {
		case Float16:
			binary.LittleEndian.PutUint16(dst[2*i:], w&0x8000|w>>7&0x1f<<10|w&3<<8|uint16(low[i]))
		case E5M2:
			dst[i] = byte(w>>15<<7 | w>>7&0x1f<<2 | w&3)
		case E4M3:
			dst[i] = byte(w>>15<<7 | w>>7&0xf<<3 | w&7)
		}
	}
}
