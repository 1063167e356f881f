//go:build cuda

package softcuda_test

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

const page = 4096

// rig is a thread with the context of one device, and what a test makes there by
// calls of its own.
type rig struct {
	*testing.T
	out     []byte // for results
	outAt   uint64
	module  uint64
	context uint64
	gone    bool // and all that was made, with the device
}

// eachMode runs f in every mode, since what is watched does not depend on timing.
func eachMode(t *testing.T, f func(r *rig)) {
	softcuda.Only(t)
	for _, mode := range []string{"eager", "delayed", "lazy"} {
		t.Run(mode, func(t *testing.T) {
			softcuda.Set(t, mode)
			f(newRig(t))
		})
	}
}

func newRig(t *testing.T) *rig {
	softcuda.Only(t)
	softcuda.Reset(t)
	return attach(t, 0)
}

// attach makes a device's context current.
func attach(t *testing.T, device uint64) *rig {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r := &rig{T: t}
	r.out, r.outAt = softcuda.Scratch(t, 64)
	r.ok("cuInit", 0)
	r.ok("cuDevicePrimaryCtxRetain", r.outAt, device)
	r.context = r.result()
	r.ok("cuCtxPushCurrent_v2", r.context)
	t.Cleanup(func() {
		softcuda.Call("cuCtxPopCurrent_v2", 0)
		softcuda.Call("cuDevicePrimaryCtxRelease_v2", device)
	})
	return r
}

func (r *rig) result() uint64 { return binary.NativeEndian.Uint64(r.out) }

func (r *rig) ok(name string, arguments ...uint64) {
	r.Helper()
	require.Zero(r, softcuda.Call(name, arguments...), name)
}

func (r *rig) fails(code int, name string, arguments ...uint64) {
	r.Helper()
	require.Equal(r, code, softcuda.Call(name, arguments...), name)
}

// later ends an object at cleanup, when nothing uses it any more.
func (r *rig) later(name string, arguments ...uint64) {
	r.Cleanup(func() {
		if r.gone {
			return
		}
		softcuda.Call("cuCtxSynchronize")
		softcuda.Call(name, arguments...)
	})
}

// bare is device memory that the test frees itself.
func (r *rig) bare(bytes uint64) uint64 {
	r.Helper()
	r.ok("cuMemAlloc_v2", r.outAt, bytes)
	return r.result()
}

func (r *rig) alloc(bytes uint64) uint64 {
	r.Helper()
	p := r.bare(bytes)
	r.later("cuMemFree_v2", p)
	return p
}

// filled is device memory with known content.
func (r *rig) filled(bytes uint64) uint64 {
	r.Helper()
	p := r.alloc(bytes)
	r.ok("cuMemsetD8_v2", p, 7, bytes)
	return p
}

const mapped = 2

func (r *rig) barePinned(bytes uint64) ([]byte, uint64) {
	r.Helper()
	r.ok("cuMemHostAlloc", r.outAt, bytes, mapped)
	p := r.result()
	return memory(p, bytes), p
}

func (r *rig) pinned(bytes uint64) ([]byte, uint64) {
	r.Helper()
	m, p := r.barePinned(bytes)
	r.later("cuMemFreeHost", p)
	return m, p
}

// memory is host memory that is not Go's, at an address.
func memory(p, bytes uint64) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), bytes)
}

func (r *rig) stream() uint64 {
	r.Helper()
	r.ok("cuStreamCreate", r.outAt, 1)
	s := r.result()
	r.later("cuStreamDestroy_v2", s)
	return s
}

func (r *rig) event() uint64 {
	r.Helper()
	r.ok("cuEventCreate", r.outAt, 2)
	e := r.result()
	r.later("cuEventDestroy_v2", e)
	return e
}

// order lets what follows in to wait for what is in from.
func (r *rig) order(from, to uint64) {
	r.Helper()
	e := r.event()
	r.ok("cuEventRecord", e, from)
	r.ok("cuStreamWaitEvent", to, e, 0)
}

// load makes the module of the driver's own kernels.
func (r *rig) load() {
	r.Helper()
	text, err := os.ReadFile("testdata/selftest.ptx")
	require.NoError(r, err)
	image, at := softcuda.Scratch(r, len(text)+1)
	copy(image, text)
	r.ok("cuModuleLoadData", r.outAt, at)
	r.module = r.result()
	r.later("cuModuleUnload", r.module)
}

func (r *rig) function(name string) uint64 {
	r.Helper()
	if r.module == 0 {
		r.load()
	}
	text, at := softcuda.Scratch(r, len(name)+1)
	copy(text, name)
	r.ok("cuModuleGetFunction", r.outAt, r.module, at)
	return r.result()
}

// launch runs one block of a kernel. Parameters are 8 bytes each in memory, of
// which a kernel takes what it needs.
func (r *rig) launch(stream uint64, name string, threads uint64, parameters ...uint64) {
	r.Helper()
	f := r.function(name)
	values, valuesAt := softcuda.Scratch(r, 8*len(parameters))
	table, tableAt := softcuda.Scratch(r, 8*len(parameters))
	for i, p := range parameters {
		binary.NativeEndian.PutUint64(values[8*i:], p)
		binary.NativeEndian.PutUint64(table[8*i:], valuesAt+uint64(8*i))
	}
	r.ok("cuLaunchKernel", f, 1, 1, 1, threads, 1, 1, 0, stream, tableAt, 0)
}

// violates wants exactly one violation, which says all of texts.
func (r *rig) violates(texts ...string) string {
	r.Helper()
	return r.one(softcuda.Violations(), texts)
}

// violatesBeside is violates where one that says other may have come, too.
func (r *rig) violatesBeside(other string, texts ...string) string {
	r.Helper()
	return r.one(slices.DeleteFunc(softcuda.Violations(), func(v string) bool { return strings.Contains(v, other) }), texts)
}

func (r *rig) one(vs, texts []string) string {
	r.Helper()
	require.Len(r, vs, 1, strings.Join(texts, ", "))
	for _, text := range texts {
		require.Contains(r, vs[0], text)
	}
	return vs[0]
}

func (r *rig) clean() {
	r.Helper()
	require.Empty(r, softcuda.Violations())
}
