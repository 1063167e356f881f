//go:build cuda

package driver

/*
#include "abi.h"

// Addresses come as numbers, so that Go need not hold what is no pointer of its own.
static int host_register(uintptr_t p, size_t bytes, unsigned flags) { return cuMemHostRegister_v2((void *)p, bytes, flags); }
static int host_unregister(uintptr_t p) { return cuMemHostUnregister((void *)p); }
static int host_device_address(kv_ptr *device, uintptr_t p) { return cuMemHostGetDevicePointer_v2(device, (void *)p, 0); }
static int pointer_number(uint32_t *value, int attribute, kv_ptr p) { return cuPointerGetAttribute(value, attribute, p); }
static int pointer_address(kv_ptr *value, int attribute, kv_ptr p) { return cuPointerGetAttribute(value, attribute, p); }
static int ipc_open(kv_ptr *p, const char *bytes)
{
	kv_ipc_handle h;
	__builtin_memcpy(&h, bytes, sizeof h);
	return cuIpcOpenMemHandle_v2(p, h, 1); // 1: peer access as needed, the only flag there is
}
static int ipc_get(char *bytes, kv_ptr p)
{
	kv_ipc_handle h;
	int code = cuIpcGetMemHandle(&h, p);
	if (!code)
		__builtin_memcpy(bytes, &h, sizeof h);
	return code;
}
*/
import "C"

import "unsafe"

// Flags of HostRegister.
const (
	RegisterPortable = 1
	RegisterMapped   = 2
)

// HostRegister pins memory.
func HostRegister(p uintptr, bytes int64, flags uint) int {
	return int(C.host_register(C.uintptr_t(p), C.size_t(bytes), C.uint(flags)))
}

// HostUnregister ends what HostRegister began.
func HostUnregister(p uintptr) int { return int(C.host_unregister(C.uintptr_t(p))) }

// HostDeviceAddress returns the address by which kernels find pinned memory.
func HostDeviceAddress(p uintptr) (device uint64, code int) {
	var d C.kv_ptr
	code = int(C.host_device_address(&d, C.uintptr_t(p)))
	return uint64(d), code
}

// AddressRange returns the allocation that a device address belongs to.
func AddressRange(p uint64) (base uint64, bytes int64, code int) {
	var b C.kv_ptr
	var n C.size_t
	code = int(C.cuMemGetAddressRange_v2(&b, &n, C.kv_ptr(p)))
	return uint64(b), int64(n), code
}

// The attributes of an address that PointerNumber asks for.
const (
	PointerMemoryType = 2 // 1 is host, 2 device
	PointerIsManaged  = 8
	PointerDevice     = 9
)

const pointerRangeStart = 11

// PointerNumber returns an attribute of an address that is a number of 4 bytes
// or less.
func PointerNumber(attribute int, p uint64) (value uint32, code int) {
	var v C.uint32_t
	code = int(C.pointer_number(&v, C.int(attribute), C.kv_ptr(p)))
	return uint32(v), code
}

// RangeStart returns the first address of the range that was reserved for the
// memory at an address, which several mappings may share.
func RangeStart(p uint64) (start uint64, code int) {
	var v C.kv_ptr
	code = int(C.pointer_address(&v, pointerRangeStart, C.kv_ptr(p)))
	return uint64(v), code
}

// IPCHandle writes the handle of an allocation that begins at base.
func IPCHandle(handle *[64]byte, base uint64) int {
	return int(C.ipc_get((*C.char)(unsafe.Pointer(handle)), C.kv_ptr(base)))
}

// IPCOpen maps the allocation that a handle names.
func IPCOpen(handle *[64]byte) (base uint64, code int) {
	var p C.kv_ptr
	code = int(C.ipc_open(&p, (*C.char)(unsafe.Pointer(handle))))
	return uint64(p), code
}

// IPCClose ends what IPCOpen began.
func IPCClose(base uint64) int { return int(C.cuIpcCloseMemHandle(C.kv_ptr(base))) }
