package vfs

import (
	"encoding/binary"
	"runtime/debug"
	"sync/atomic"
	"unsafe"
)

// Unreadable is what Word.Load returns if the word cannot be read, as after
// the file was cut off before it. It differs from every length and count that a
// store keeps there, so that "has it changed?" is yes, and reading the file
// then tells the error.
const Unreadable = ^uint64(0)

// Word is a word of a file, kept current whoever writes it: in this process or
// another. It is safe for concurrent use.
type Word struct {
	at   atomic.Pointer[uint64] // as it is in the file; nil: not mapped
	read func() (uint64, bool)  // nil, or reads it from the file
}

// Load returns the word: a load from memory, without allocating, or a read of
// the file where files cannot be mapped. A word that cannot be read any more is
// Unreadable.
func (w *Word) Load() uint64 {
	if at := w.at.Load(); at != nil {
		if v, ok := loadMapped(at); ok {
			return v
		}
	}
	if w.read != nil {
		if v, ok := w.read(); ok {
			return v
		}
	}
	return Unreadable
}

// loadMapped loads from a mapping of a file. Of a page that lies past the end
// of a file which somebody cut off, or that the disk cannot read, the kernel
// makes a fault, which would end the process were it not made a panic.
func loadMapped(at *uint64) (v uint64, ok bool) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if !ok {
			_ = recover() // the fault
		}
	}()
	return little(atomic.LoadUint64(at)), true
}

// little returns the word whose little-endian bytes lie in memory as v does.
func little(v uint64) uint64 {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], v)
	return binary.LittleEndian.Uint64(b[:])
}

// wordAt is the word in mapped memory, which is aligned to 8 bytes.
func wordAt(mem []byte) *uint64 { return (*uint64)(unsafe.Pointer(&mem[0])) }
