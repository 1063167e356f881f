package table

import "math/bits"

const (
	// MaxSlots is the number of packs that places can tell apart.
	MaxSlots = 1 << slotBits
	// MaxOffset is where records cannot begin any more: 256 MiB.
	MaxOffset = unitBytes << offsetBits
	// MaxSize is the size of the longest record.
	MaxSize = maxMantissa << maxExponent * unitBytes
)

const (
	unitBytes    = 64
	slotBits     = 22
	offsetBits   = 22
	mantissaBits = 12
	exponentBits = 4
	sizeBits     = mantissaBits + exponentBits
	maxMantissa  = 1<<mantissaBits - 1
	maxExponent  = 1<<exponentBits - 1

	slotShift      = 42
	offsetShift    = 20
	sizeShift      = 4
	algorithmShift = 2
	algorithmMask  = 3 << algorithmShift
	flagMask       = Place(Marked | Condemned)
)

// Place says where the record of a blob lies, and what is noted about the
// blob. The zero Place is nowhere.
//
//	bits 42-63  slot: the number of the pack in this process
//	bits 20-41  offset in the pack, in units of 64 bytes
//	bits 16-19  exponent of the size
//	bits  4-15  mantissa of the size, in units of 64 bytes << exponent
//	bits  2-3   algorithm of the digest, inside the table; 0 outside
//	bits  0-1   flags
//
// Of the ways to write a size only the one with the least exponent is used, so
// that equal places are equal values.
type Place uint64

// Flag is a note about a blob. A new place has none.
type Flag uint8

// The flags.
const (
	Marked    Flag = 1 << iota // a collection found it in use
	Condemned                  // a collection is about to remove it
)

// MakePlace returns the place of a record of size bytes at off in the pack of
// the given slot, or 0 if there can be no such record: a slot or an offset
// beyond the limits, an offset between units, or a size that RoundSize would
// change or that is 0.
func MakePlace(slot uint32, off, size int64) Place {
	if slot >= MaxSlots || off < 0 || off >= MaxOffset || off%unitBytes != 0 || size <= 0 || RoundSize(size) != size {
		return 0
	}
	units := uint64(size / unitBytes)
	exponent := exponentOf(units)
	return Place(slot)<<slotShift | Place(off/unitBytes)<<offsetShift |
		Place(exponent<<mantissaBits|units>>exponent)<<sizeShift
}

// Slot returns the local number of the pack.
func (p Place) Slot() uint32 { return uint32(p >> slotShift) }

// Offset returns where in the pack the record begins, in bytes.
func (p Place) Offset() int64 { return int64(p>>offsetShift&(1<<offsetBits-1)) * unitBytes }

// Size returns the length of the record in bytes.
func (p Place) Size() int64 {
	code := p >> sizeShift & (1<<sizeBits - 1)
	return int64(code&maxMantissa) << (code >> mantissaBits) * unitBytes
}

// Has tells whether all of the given flags are set.
func (p Place) Has(f Flag) bool { return p&Place(f) == Place(f) }

// Is tells whether p and q are the same place, whatever their flags.
func (p Place) Is(q Place) bool { return (p^q)&^flagMask == 0 }

// possible tells whether MakePlace could have made p, flags aside.
func (p Place) possible() bool {
	code := p >> sizeShift & (1<<sizeBits - 1)
	mantissa, exponent := code&maxMantissa, code>>mantissaBits
	return mantissa > 0 && (exponent == 0 || mantissa > maxMantissa/2)
}

// RoundSize returns the size of the smallest possible record of at least n
// bytes, or 0 if n is negative or above MaxSize. Sizes are units of 64 bytes;
// from 256 KiB on they are rounded to 12 bits, which adds at most 1/2048.
func RoundSize(n int64) int64 {
	if n < 0 || n > MaxSize {
		return 0
	}
	units := uint64(n+unitBytes-1) / unitBytes
	grain := uint64(1)<<exponentOf(units) - 1
	return int64((units+grain)&^grain) * unitBytes
}

// exponentOf is how many bits must go so that 12 remain.
func exponentOf(units uint64) uint64 { return uint64(max(0, bits.Len64(units)-mantissaBits)) }
