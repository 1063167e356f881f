package journal

import "encoding/binary"

// CRC is the checksum of headers.
func CRC(b []byte) uint32 { return crc(0, b) }

// Seal returns the bytes of a word that says v.
func Seal(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, seal(v)) }

// Unseal returns what a word says.
func Unseal(b []byte) uint64 {
	v, _ := unseal(binary.LittleEndian.Uint64(b))
	return v
}
