package pager

import "unsafe"

// address returns where m begins; it is only compared, never followed.
func address(m []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m))) }

// stridedOf copies count fragments of T's size. The bounds of the last fragment
// are checked once, and with them those of all: strides are not negative.
// Checking each fragment's costs two to three times the copy. Arrays of bytes
// need no alignment.
func stridedOf[T [2]byte | [4]byte | [8]byte | [16]byte | [32]byte | [64]byte](dst, src []byte, count, ds, ss int) {
	var t T
	_ = dst[(count-1)*ds+len(t)-1]
	_ = src[(count-1)*ss+len(t)-1]
	d, s := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	for i := range count {
		*(*T)(unsafe.Add(d, i*ds)) = *(*T)(unsafe.Add(s, i*ss))
	}
}
