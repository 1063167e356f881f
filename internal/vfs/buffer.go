package vfs

import (
	"fmt"
	"unsafe"

	"github.com/kvferry/kvferry/internal/anon"
)

// Buffer returns zeroed memory of n bytes outside the Go heap, aligned for
// direct files. FreeBuffer gives it back. It panics if n is negative or the
// system has no memory, as make does.
func Buffer(n int) []byte {
	mem, err := anon.Map(n)
	if err != nil {
		panic(fmt.Sprintf("vfs: buffer of %d bytes: %v", n, err))
	}
	if aligned(mem) {
		return mem
	}
	// Only where anon has no mmap: then the buffer is the Go heap's.
	mem = make([]byte, n+BlockBytes)
	skip := BlockBytes - int(uintptr(unsafe.Pointer(&mem[0]))%BlockBytes)
	return mem[skip : skip+n : skip+n]
}

// FreeBuffer gives back what Buffer returned, whole.
func FreeBuffer(b []byte) {
	if err := anon.Unmap(b); err != nil {
		panic(fmt.Sprintf("vfs: %v", err)) // not a buffer, or given back before
	}
}

// aligned tells whether the address of p fits direct files.
func aligned(p []byte) bool {
	return len(p) == 0 || uintptr(unsafe.Pointer(&p[0]))%BlockBytes == 0
}

// fits tells whether p may be moved to or from off of a direct file.
func fits(p []byte, off int64) bool {
	return off%BlockBytes == 0 && len(p)%BlockBytes == 0 && aligned(p)
}
