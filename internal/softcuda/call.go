//go:build cuda

package softcuda

/*
#include <stdint.h>
#include <stdlib.h>

// Whole numbers and addresses are passed alike, so that one call serves all functions that take nothing else.
static int softcuda_call(void *f, uint64_t *a) {
	return ((int (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
	                 uint64_t))f)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
}

struct softcuda_handle {
	char bytes[64];
};
static int softcuda_open_handle(void *f, uint64_t out, uint64_t handle, unsigned flags) {
	return ((int (*)(uint64_t *, struct softcuda_handle, unsigned))f)((uint64_t *)out, *(struct softcuda_handle *)handle, flags);
}
*/
import "C"

import "unsafe"

// maxArguments is the most that Call passes.
const maxArguments = 12

// Call calls a function of the driver by its exported name, past package cuda,
// and returns its result: for tests that play the engine, or break a rule. Every
// argument is a whole number or an address that is not Go's, such as those of
// Scratch. Context and capture mode are the thread's, so a test that calls more
// than once locks its goroutine to it.
func Call(name string, arguments ...uint64) int {
	f := Find(name)
	if f == nil {
		return 500 // as a driver that is older than the function
	}
	if len(arguments) > maxArguments {
		panic("softcuda: too many arguments for " + name)
	}
	var all [maxArguments]C.uint64_t
	for i, a := range arguments {
		all[i] = C.uint64_t(a)
	}
	return int(C.softcuda_call(f, &all[0]))
}

// Scratch returns zeroed memory of C for results and structures of Call, with
// its address. It is freed at cleanup.
func Scratch(tb TB, bytes int) ([]byte, uint64) {
	p := C.calloc(1, C.size_t(bytes))
	tb.Cleanup(func() { C.free(p) })
	return unsafe.Slice((*byte)(p), bytes), uint64(uintptr(p))
}

// OpenHandle calls cuIpcOpenMemHandle, whose handle is passed by value: out and
// handle are addresses, as in Call.
func OpenHandle(out, handle uint64, flags uint32) int {
	return int(C.softcuda_open_handle(Find("cuIpcOpenMemHandle_v2"), C.uint64_t(out), C.uint64_t(handle), C.uint(flags)))
}
