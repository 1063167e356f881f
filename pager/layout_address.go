package pager

import "unsafe"

// address returns where m begins; it is only compared, never followed.
func address(m []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m))) }
