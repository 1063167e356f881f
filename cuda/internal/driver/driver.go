//go:build cuda

package driver

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -fvisibility=hidden
#cgo LDFLAGS: -L${SRCDIR} -ldl
#include <stdlib.h>
#include "shim.h"
#include "context.h"
*/
import "C"

import "unsafe"

// CUresults that this package answers itself, or tells apart.
const (
	Success         = C.KV_SUCCESS
	InvalidValue    = C.KV_INVALID_VALUE
	NoDevice        = C.KV_NO_DEVICE
	NotFound        = C.KV_NOT_FOUND
	OutOfMemory     = C.KV_OUT_OF_MEMORY
	OperatingSystem = C.KV_OPERATING_SYSTEM
	AlreadyPinned   = C.KV_ALREADY_REGISTERED
	NotSupported    = C.KV_NOT_SUPPORTED
)

// Library returns the file that holds the driver, or "" and why it could not be
// opened where it was looked for.
func Library() (path, reasons string) {
	return C.GoString(C.kv_library()), C.GoString(C.kv_reasons())
}

// Start starts the driver unless it runs, and returns what its cuInit answered.
// Until then the driver is loaded, and nothing else.
func Start() int { return int(C.kv_start()) }

// Has tells whether the driver exports a function of that exact name.
func Has(name string) bool {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	return C.kv_has(n) != 0
}

// Version returns the newest CUDA version that the driver serves.
func Version() (version, code int) {
	var v C.int
	code = int(C.cuDriverGetVersion(&v))
	return int(v), code
}

// Count returns the number of devices.
func Count() (n, code int) {
	var v C.int
	code = int(C.cuDeviceGetCount(&v))
	return int(v), code
}

// Result is how a call of several driver functions ended. C writes it.
type Result struct {
	op   int32
	code int32
	// Done is the number of steps that were queued, at least in part.
	Done int64
}

// Code returns the CUresult of the function that failed, or 0.
func (r *Result) Code() int { return int(r.code) }

// Op returns the name of the function that failed.
func (r *Result) Op() string { return ops[r.op] }

// ops names the functions of context.h.
var ops = [...]string{
	C.KV_OP_NONE:          "kvferry step",
	C.KV_OP_PUSH:          "cuCtxPushCurrent",
	C.KV_OP_CAPTURE_MODE:  "cuThreadExchangeStreamCaptureMode",
	C.KV_OP_POP:           "cuCtxPopCurrent",
	C.KV_OP_WAIT:          "cuStreamWaitEvent",
	C.KV_OP_RECORD:        "cuEventRecord",
	C.KV_OP_COPY:          "cuMemcpyAsync",
	C.KV_OP_BATCH:         "cuMemcpyBatchAsync",
	C.KV_OP_FILL:          "cuMemsetD8Async",
	C.KV_OP_LAUNCH:        "cuLaunchKernel",
	C.KV_OP_QUERY:         "cuEventQuery",
	C.KV_OP_CAPTURING:     "cuStreamIsCapturing",
	C.KV_OP_LINK_CREATE:   "cuLinkCreate",
	C.KV_OP_LINK_ADD:      "cuLinkAddData",
	C.KV_OP_LINK_COMPLETE: "cuLinkComplete",
	C.KV_OP_LINK_DESTROY:  "cuLinkDestroy",
}

func (r *Result) c() *C.kv_result { return (*C.kv_result)(unsafe.Pointer(r)) }

// Enter makes a context current on the calling thread, to which the goroutine
// has to be locked until Leave, and relaxes its capture mode. The caller hands
// mode to Leave, unless r says that something failed.
func Enter(context uintptr, r *Result) (mode int) {
	var m C.int
	C.kv_enter(C.kv_handle(context), &m, r.c())
	return int(m)
}

// Leave puts back what Enter changed. If that fails, and nothing did before, r
// says so.
func Leave(mode int, r *Result) { C.kv_leave(C.int(mode), r.c()) }

// StreamContext returns the context of a stream.
func StreamContext(stream uintptr) (context uintptr, code int) {
	var c C.kv_handle
	code = int(C.cuStreamGetCtx(C.kv_handle(stream), &c))
	return uintptr(c), code
}

// UUID returns the UUID of a GPU; for an instance of one, that of the whole.
func UUID(device int) (uuid [16]byte, code int) {
	code = int(C.cuDeviceGetUuid((*C.char)(unsafe.Pointer(&uuid)), C.int(device)))
	return uuid, code
}

// InstanceUUID returns the UUID of a GPU, or of an instance of one. Drivers before
// CUDA 11.4 lack it.
func InstanceUUID(device int) (uuid [16]byte, code int) {
	code = int(C.cuDeviceGetUuid_v2((*C.char)(unsafe.Pointer(&uuid)), C.int(device)))
	return uuid, code
}
