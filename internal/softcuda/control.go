//go:build cuda

package softcuda

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

static void *softcuda_find(const char *name) {
	void *lib = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_NOW);
	return lib ? dlsym(lib, name) : NULL;
}
static long long softcuda_control(void *f, const char *command) { return ((long long (*)(const char *))f)(command); }
static char *softcuda_read(void *f, const char *what) { return ((char *(*)(const char *))f)(what); }
*/
import "C"

import (
	"fmt"
	"sync"
	"unsafe"
)

// TB is what is needed of a *testing.T or *testing.B.
type TB interface {
	// Helper marks the caller as one whose lines say nothing.
	Helper()
	// Name is the test's.
	Name() string
	// Cleanup runs f after the test, the last one first.
	Cleanup(f func())
	// Skip ends the test as skipped.
	Skip(args ...any)
	// Fatalf ends the test as failed.
	Fatalf(format string, args ...any)
	// Errorf marks the test as failed.
	Errorf(format string, args ...any)
}

// Find returns a symbol of the driver in this process by its exact name, or nil.
func Find(name string) unsafe.Pointer {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.softcuda_find(c)
}

var (
	controller = sync.OnceValue(func() unsafe.Pointer { return Find("softcuda_ctl") })
	reader     = sync.OnceValue(func() unsafe.Pointer { return Find("softcuda_text") })
)

// Loaded reports whether the process's driver is the software one.
func Loaded() bool { return controller() != nil }

// control gives the driver a command. A driver that does not know it is another
// than the one that belongs to this package.
func control(format string, args ...any) int64 {
	command := fmt.Sprintf(format, args...)
	if !Loaded() {
		panic("softcuda: " + command + ": the process's driver is not the software one: begin the test with Only")
	}
	c := C.CString(command)
	defer C.free(unsafe.Pointer(c))
	n := int64(C.softcuda_control(controller(), c))
	if n < 0 {
		panic("softcuda: the driver refuses " + command)
	}
	return n
}

// text asks the driver for lines of text.
func text(format string, args ...any) string {
	c := C.CString(fmt.Sprintf(format, args...))
	defer C.free(unsafe.Pointer(c))
	answer := C.softcuda_read(reader(), c)
	defer C.free(unsafe.Pointer(answer))
	return C.GoString(answer)
}

// environment reads a variable by way of C, since the house's rule keeps
// settings of the product out of packages, and this one is of the tests alone.
func environment(name string) string {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.GoString(C.getenv(c))
}
