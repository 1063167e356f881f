//go:build cuda

package softcuda_test

import (
	"encoding/binary"
	"math/bits"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

func selftest(t *testing.T) string {
	text, err := os.ReadFile("testdata/selftest.ptx")
	require.NoError(t, err)
	return string(text)
}

// text is a zero-terminated string outside of Go's memory.
func (r *rig) text(s string) uint64 {
	m, at := softcuda.Scratch(r, len(s)+1)
	copy(m, s)
	return at
}

// TestWarpOperations: shuffles, ballots and counting barriers, with the threads
// of a block going on in random order.
func TestWarpOperations(t *testing.T) {
	eachMode(t, func(r *rig) {
		const n = 128
		in, inAt := r.pinned(4 * n)
		out, outAt := r.pinned(16 * n)
		var vs [n]uint32
		odd := uint32(0)
		for i := range vs {
			vs[i] = uint32(i*i + i/3)
			odd += vs[i] & 1
			binary.NativeEndian.PutUint32(in[4*i:], vs[i])
		}
		d, o, s := r.alloc(4*n), r.alloc(16*n), r.stream()
		r.ok("cuMemcpyHtoDAsync_v2", d, inAt, 4*n, s)
		r.launch(s, "softcuda_warp", n, o, d, n)
		r.ok("cuMemcpyDtoHAsync_v2", outAt, o, 16*n, s)
		r.ok("cuStreamSynchronize", s)
		at := func(i int) uint32 { return binary.NativeEndian.Uint32(out[4*i:]) }
		for w := 0; w < n; w += 32 {
			var sum, ballot, prefix uint32
			for l := range 32 {
				sum += vs[w+l]
				ballot |= vs[w+l] & 1 << l
			}
			for l := range 32 {
				i := w + l
				require.Equal(r, []uint32{sum, prefix, ballot, odd}, []uint32{at(i), at(n + i), at(2*n + i), at(3*n + i)}, bits.OnesCount32(ballot))
				prefix += vs[i]
			}
		}
	})
}

// TestBarrierThatNotAllReach hangs a GPU. Here it is told, and loses the device.
func TestBarrierThatNotAllReach(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.alloc(256), r.stream()
		r.launch(s, "softcuda_hang", 64, d)
		r.fails(719, "cuStreamSynchronize", s)
		r.violates("softcuda_hang", "hangs", "40 threads wait at __syncthreads")
	})
}

// TestLaunchRefused: sizes that no device takes.
func TestLaunchRefused(t *testing.T) {
	eachMode(t, func(r *rig) {
		f, s := r.function("softcuda_hang"), r.stream()
		for _, dims := range [][6]uint64{{0, 1, 1, 1, 1, 1}, {1, 1, 1, 1025, 1, 1}, {1, 1, 1, 32, 33, 1}, {1, 65536, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 65}} {
			r.fails(1, "cuLaunchKernel", f, dims[0], dims[1], dims[2], dims[3], dims[4], dims[5], 0, s, r.outAt, 0)
		}
	})
}

// TestLoadRefused: PTX that is newer than the driver or the device, that is
// damaged, or whose signatures the sources do not have.
func TestLoadRefused(t *testing.T) {
	eachMode(t, func(r *rig) {
		ptx := selftest(r.T)
		load := func(s string) int { return softcuda.Call("cuModuleLoadData", r.outAt, r.text(s)) }
		softcuda.SetDriver(11080) // reads up to 7.8
		require.Equal(r, 222, load(strings.Replace(ptx, ".version 7.0", ".version 8.0", 1)))
		softcuda.SetDriver(12000)
		softcuda.SetCapability(75)
		require.Equal(r, 209, load(ptx))
		softcuda.SetCapability(90)
		require.Equal(r, 218, load("no PTX"))
		require.Equal(r, 218, load(ptx[:len(ptx)-5]))

		require.Zero(r, load(strings.ReplaceAll(ptx, ".param .u32 n", ".param .u64 n")))
		m := r.result()
		r.later("cuModuleUnload", m)
		r.fails(200, "cuModuleGetFunction", r.outAt, m, r.text("softcuda_increment"))
		r.violates("softcuda_increment", "different parameters")
		r.fails(500, "cuModuleGetFunction", r.outAt, m, r.text("nothing"))
		r.fails(500, "cuModuleGetFunction", r.outAt, m, r.text("softcuda_nowhere"))
		r.violates("softcuda_nowhere", "built without it")
	})
}

// TestModuleInUse: unloaded while a launch is queued, and used after its end.
func TestModuleInUse(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(64), r.stream()
		r.ok("cuModuleLoadData", r.outAt, r.text(selftest(r.T)))
		r.module = r.result()
		f := r.function("softcuda_increment")
		softcuda.Hold()
		r.launch(s, "softcuda_increment", 1, d, d, 1)
		r.ok("cuModuleUnload", r.module)
		r.violates("cuModuleUnload (call ", "softcuda_increment", "still queued")
		softcuda.Release()
		r.ok("cuStreamSynchronize", s)
		r.fails(400, "cuLaunchKernel", f, 1, 1, 1, 1, 1, 1, 0, s, r.outAt, 0)
		r.violates("cuLaunchKernel (call ", "cuModuleUnload (call ")
		r.fails(400, "cuModuleUnload", r.module)
		r.violates("cuModuleUnload")
	})
}

// TestLink makes an image that loads on a device and driver of its kind, and logs.
func TestLink(t *testing.T) {
	eachMode(t, func(r *rig) {
		image, logs := r.link(selftest(r.T))
		require.Contains(r, logs, "softcuda_warp")
		_, at := r.copied(image)
		r.ok("cuModuleLoadData", r.outAt, at)
		r.ok("cuModuleUnload", r.result())
		softcuda.SetCapability(80)
		r.fails(209, "cuModuleLoadData", r.outAt, at)
		softcuda.SetCapability(90)
		damaged, at := r.copied(image)
		damaged[len(damaged)-20] ^= 1
		r.fails(200, "cuModuleLoadData", r.outAt, at)
		_, logs = r.link(strings.Replace(selftest(r.T), ".version 7.0", ".version 9.9", 1))
		require.Contains(r, logs, "Unsupported .version 9.9; current version is '9.0'")
	})
}

func (r *rig) copied(b []byte) ([]byte, uint64) {
	m, at := softcuda.Scratch(r, len(b)+1)
	copy(m, b)
	return m[:len(b)], at
}

// link returns the image, nil if it fails, and both logs.
func (r *rig) link(ptx string) (image []byte, logs string) {
	const logBytes = 2048
	info, infoAt := softcuda.Scratch(r, logBytes)
	bad, badAt := softcuda.Scratch(r, logBytes)
	keys, keysAt := softcuda.Scratch(r, 16)
	values, valuesAt := softcuda.Scratch(r, 32)
	for i, v := range []uint64{infoAt, logBytes, badAt, logBytes} {
		binary.NativeEndian.PutUint32(keys[4*i:], uint32(3+i))
		binary.NativeEndian.PutUint64(values[8*i:], v)
	}
	r.ok("cuLinkCreate_v2", 4, keysAt, valuesAt, r.outAt)
	l := r.result()
	if softcuda.Call("cuLinkAddData_v2", l, 1, r.text(ptx), uint64(len(ptx)+1), r.text("x"), 0, 0, 0) == 0 {
		r.ok("cuLinkComplete", l, r.outAt, r.outAt+8)
		n := binary.NativeEndian.Uint64(r.out[8:])
		image = append(image, memory(r.result(), n)...)
	}
	r.ok("cuLinkDestroy", l)
	cut := func(b []byte, i int) string { return string(b[:binary.NativeEndian.Uint64(values[8*i:])]) }
	return image, cut(info, 1) + cut(bad, 3)
}

// TestFindFunctions: the variant of a function that a toolkit's version gets.
func TestFindFunctions(t *testing.T) {
	eachMode(t, func(r *rig) {
		find := func(name string, version uint64) uint64 {
			r.ok("cuGetProcAddress_v2", r.text(name), r.outAt, version, 0, r.outAt+8)
			return r.result()
		}
		first, second := find("cuMemcpyBatchAsync", 12080), find("cuMemcpyBatchAsync", 13000)
		require.NotZero(r, first)
		require.NotZero(r, second)
		require.NotEqual(r, first, second)
		require.Equal(r, first, uint64(uintptr(softcuda.Find("cuMemcpyBatchAsync"))))
		softcuda.SetDriver(12040)
		require.Zero(r, find("cuMemcpyBatchAsync", 13000))
		require.NotZero(r, find("cuMemAlloc", 12040))
		require.Zero(r, find("cuNothing", 12040))
	})
}
