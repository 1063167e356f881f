//go:build cuda

package softcuda_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestUnwrittenMemory: device memory that nobody wrote is not for reading, not
// even the last byte of a range.
func TestUnwrittenMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, to, s := r.alloc(page), r.alloc(page), r.stream()
		_, h := r.pinned(page)
		r.ok("cuMemsetD8_v2", d, 1, 1000)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, 1000, s)
		r.ok("cuStreamSynchronize", s)
		r.clean()
		r.ok("cuMemcpyDtoHAsync_v2", h, d, 1001, s)
		r.ok("cuStreamSynchronize", s)
		r.violates("cuMemcpyDtoHAsync (call ", "which nobody wrote", "by cuMemAlloc (call ")
		r.ok("cuMemcpyDtoDAsync_v2", to, d+2000, 64, s)
		r.ok("cuStreamSynchronize", s)
		r.violates("cuMemcpyDtoDAsync", "which nobody wrote")
		r.launch(s, "softcuda_increment", 1, to+2048, d+3000, 1)
		r.ok("cuStreamSynchronize", s)
		r.violates("softcuda_increment", "which nobody wrote")
		r.launch(s, "softcuda_increment", 1, to+2048, d, 1)
		r.ok("cuMemcpyDtoHAsync_v2", h, to+2048, 4, s) // what a kernel wrote is written
		r.ok("cuStreamSynchronize", s)
	})
}

// TestFreedMemory: a copy into it, a second free, a free of what never was.
func TestFreedMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		s, d := r.stream(), r.bare(page)
		r.ok("cuMemFree_v2", d)
		r.fails(1, "cuMemsetD8Async", d, 1, page, s)
		r.violates("cuMemsetD8Async (call ", "by cuMemAlloc (call ", "freed by cuMemFree (call ")
		r.fails(1, "cuMemFree_v2", d)
		r.violates("cuMemFree (call ", "freed by cuMemFree (call ")
		r.fails(1, "cuMemFree_v2", d+1<<20)
		r.violates("never allocated")
		r.ok("cuMemFree_v2", 0)
		p := r.bare(page)
		r.fails(1, "cuMemFree_v2", p+256) // inside
		r.violates("cuMemFree")
		r.ok("cuMemFree_v2", p)
		_, h := r.barePinned(page)
		r.ok("cuMemFreeHost", h)
		r.fails(1, "cuMemFreeHost", h)
		r.violates("cuMemFreeHost (call ", "freed by cuMemFreeHost")
	})
}

// TestFreedInFlight: memory that queued work may still use, of each kind, and
// whether or not the work has run.
func TestFreedInFlight(t *testing.T) {
	eachMode(t, func(r *rig) {
		keep, s := r.filled(page), r.stream()
		_, pinned := r.pinned(page)

		d := r.bare(page)
		r.ok("cuMemsetD8Async", d, 1, page, s)
		r.ok("cuMemFree_v2", d)
		r.violates("cuMemFree (call ", "cuMemsetD8Async (call ", "may still use")

		d = r.bare(page)
		r.launch(s, "softcuda_increment", 1, d, keep, 1)
		r.ok("cuMemFree_v2", d)
		r.violates("cuMemFree (call ", "cuLaunchKernel of softcuda_increment", "may still use")

		_, h := r.barePinned(page)
		r.ok("cuMemcpyDtoHAsync_v2", h, keep, page, s)
		r.ok("cuMemFreeHost", h)
		r.violates("cuMemFreeHost (call ", "cuMemcpyDtoHAsync (call ", "may still use")

		d = r.bare(page)
		r.ok("cuMemsetD8Async", d, 1, page, s)
		r.ok("cuMemcpyDtoHAsync_v2", pinned, d, page, s)
		r.ok("cuStreamSynchronize", s)
		r.ok("cuMemFree_v2", d)
		r.clean()
	})
}

// TestOutOfBounds: copies, and kernels by a little, by much, and by an address
// that their footprint does not name.
func TestOutOfBounds(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(1000), r.stream()
		_, h := r.pinned(page)
		r.fails(1, "cuMemcpyDtoHAsync_v2", h, d+1, 1000, s)
		r.violates("cuMemcpyDtoHAsync", "outside of memory", "by cuMemAlloc (call ")
		r.fails(1, "cuMemcpyHtoDAsync_v2", d-1, h, 2, s)
		r.violates("outside of memory")
		r.fails(1, "cuMemcpyHtoDAsync_v2", h, h, 2, s)
		r.violates("outside of memory")
		r.fails(1, "cuMemsetD8Async", d, 1, 1001, s)
		r.violates("outside of memory")

		r.launch(s, "softcuda_overrun", 1, d, 1001, 1000)
		r.ok("cuStreamSynchronize", s)
		r.violates("softcuda_overrun", "outside of device memory", "by cuMemAlloc (call ")

		r.launch(s, "softcuda_overrun", 1, d, 1000, 1001)
		r.fails(700, "cuStreamSynchronize", s)
		r.violates("softcuda_overrun", "outside of device memory")
	})
}

// TestKernelFaults: far outside, the device is lost.
func TestKernelFaults(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(1000), r.stream()
		r.launch(s, "softcuda_overrun", 1, d, 3*page, 1000)
		r.fails(700, "cuStreamSynchronize", s)
		r.violates("softcuda_overrun", "touches", "by cuMemAlloc (call ")
	})
}

// TestFootprintsAreTrue: what a kernel changes and did not name is told, as is
// what it named and left alone; what others write meanwhile is theirs.
func TestFootprintsAreTrue(t *testing.T) {
	eachMode(t, func(r *rig) {
		s, other := r.stream(), r.stream()
		for _, bytes := range []uint64{3 * page, 6 << 20} { // of the second, the ends of gaps are looked at
			d := r.filled(bytes)
			r.launch(s, "softcuda_overrun", 1, d+page, 101, 100)
			r.ok("cuStreamSynchronize", s)
			r.violates("softcuda_overrun", fmt.Sprintf("changed %#x", d+page+100), "by cuMemAlloc (call ")
			r.launch(s, "softcuda_overrun", 1, d+page, 100, 108)
			r.ok("cuStreamSynchronize", s)
			_, from, _ := strings.Cut(r.violates("softcuda_overrun", "did not write 0x"), "did not write ")
			var at uint64
			_, err := fmt.Sscan(strings.TrimSuffix(strings.Fields(from)[0], ","), &at)
			require.NoError(r, err)
			require.LessOrEqual(r, at, d+page+100)
			require.Greater(r, at+4, d+page+100, "a byte or two before may be the pattern's by chance")
			r.launch(s, "softcuda_overrun", 1, d+page, 100, 100)
			r.launch(s, "softcuda_increment", 4, d, d, 4)
			for i := range uint64(8) {
				r.ok("cuMemsetD8Async", d+2*page+i*64, 9, 64, other)
				r.launch(s, "softcuda_overrun", 1, d+page, 100, 100)
			}
			r.ok("cuCtxSynchronize")
			r.clean()
		}
	})
}

// TestKernelLeavesItsFootprint, by an address out of a table.
func TestKernelLeavesItsFootprint(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, table, s := r.filled(page), r.alloc(16), r.stream()
		host, h := r.pinned(64)
		binary.NativeEndian.PutUint64(host, d)
		binary.NativeEndian.PutUint64(host[8:], d+8)
		r.ok("cuMemcpyHtoDAsync_v2", table, h, 16, s)
		r.launch(s, "softcuda_scatter", 1, table, 2, 2, 42)
		r.ok("cuStreamSynchronize", s)
		r.clean()
		r.launch(s, "softcuda_scatter", 1, table, 2, 1, 42)
		r.fails(700, "cuStreamSynchronize", s)
		r.violates("softcuda_scatter", "which its footprint does not name")
	})
}

// TestKernelAndHostMemory: mapped pinned memory may be touched, other may not.
func TestKernelAndHostMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		in, s := r.filled(64), r.stream()
		host, h := r.pinned(64)
		r.ok("cuMemHostGetDevicePointer_v2", r.outAt, h, 0)
		r.launch(s, "softcuda_increment", 1, r.result(), in, 1)
		r.ok("cuStreamSynchronize", s)
		require.Equal(r, []byte{8, 7, 7, 7}, host[:4])
		toHost, _ := softcuda.BytesOverLink()
		require.EqualValues(r, 4, toHost)
		r.ok("cuMemHostAlloc", r.outAt, 64, 0)
		unmapped := r.result()
		r.later("cuMemFreeHost", unmapped)
		r.fails(1, "cuMemHostGetDevicePointer_v2", r.outAt, unmapped, 0)
		r.launch(s, "softcuda_increment", 1, unmapped, in, 1)
		r.fails(700, "cuStreamSynchronize", s)
		r.violates("softcuda_increment", "not in mapped pinned memory")
	})
}

// TestLeaks: each kind of object is told, with where it was made.
func TestLeaks(t *testing.T) {
	eachMode(t, func(r *rig) {
		before := len(softcuda.Leaks())
		d := r.bare(64)
		_, h := r.barePinned(64)
		r.ok("cuStreamCreate", r.outAt, 1)
		s := r.result()
		r.ok("cuEventCreate", r.outAt, 0)
		e := r.result()
		r.ok("cuLinkCreate_v2", 0, 0, 0, r.outAt)
		l := r.result()
		leaks := softcuda.Leaks()[before:]
		require.Len(r, leaks, 5)
		for i, name := range []string{"device memory by cuMemAlloc", "pinned memory by cuMemHostAlloc", "stream by cuStreamCreateWithPriority", "event by cuEventCreate", "link by cuLinkCreate"} {
			require.Contains(r, leaks[i], name+" (call ")
		}
		r.ok("cuMemFree_v2", d)
		r.ok("cuMemFreeHost", h)
		r.ok("cuStreamDestroy_v2", s)
		r.ok("cuEventDestroy_v2", e)
		r.ok("cuLinkDestroy", l)
		require.Len(r, softcuda.Leaks(), before)
	})
}

// TestImportedMemory: what a handle opens is the same memory, with an address of
// its own.
func TestImportedMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s, other := r.bare(page), r.stream(), r.stream()
		r.ok("cuMemsetD8_v2", d, 5, page)
		host, h := r.pinned(page)
		_, handle := softcuda.Scratch(r, 64)
		r.ok("cuIpcGetMemHandle", handle, d+100)
		require.Zero(r, softcuda.OpenHandle(r.outAt, handle, 1))
		p := r.result()
		require.NotEqual(r, d, p)
		r.ok("cuMemsetD8Async", p+8, 6, 8, s)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, s)
		r.ok("cuStreamSynchronize", s)
		require.Equal(r, []byte{5, 6, 6, 6, 6, 6, 6, 6, 6, 5}, host[7:17])
		r.clean()
		r.ok("cuMemsetD8Async", p, 1, 8, s)
		r.ok("cuMemsetD8Async", d, 2, 8, other) // the same bytes
		r.violates("no order between them")
		r.ok("cuCtxSynchronize")
		r.fails(1, "cuMemFree_v2", p)
		r.violates("imported")
		r.ok("cuMemFree_v2", d)
		r.violates("still imported")
		r.ok("cuIpcCloseMemHandle", p)
		require.NotZero(r, softcuda.OpenHandle(r.outAt, handle, 1)) // it is gone
	})
}
